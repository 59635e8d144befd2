/* SPDX-License-Identifier: GPL-2.0-only */
/* Who owns a flow, and which way its bytes go: the same rules as nodeagent/sources/ctnetlink/attribution.py. Pure. */
#ifndef TRAFFIC_FOOTPRINT_ATTRIBUTION_H
#define TRAFFIC_FOOTPRINT_ATTRIBUTION_H

#include "state.h"

#define AF_INET_FAMILY 2 /* AF_INET; its header does not exist here */
#define ICMP_PROTOCOL 1
#define ICMPV6_PROTOCOL 58

/* Both tuples of a connection, as the kernel names their parts. */
struct tuples {
	struct address source;            /* ORIG.src: the initiator, whatever NAT lies between */
	struct address destination;       /* ORIG.dst: perhaps a service address */
	struct address reply_source;      /* REPLY.src: the responder */
	struct address reply_destination; /* REPLY.dst: perhaps a masquerade address */
	u16 source_port;
	u16 destination_port;
	u16 reply_source_port;
	u16 reply_destination_port;
	u8 protocol;
	u8 reserved[3];
};

/* What `addresses` says of each: 0 nobody here, HOST the node itself, else a pod's tag. */
struct ends {
	u32 source;
	u32 destination;
	u32 reply_source;
	u32 reply_destination;
	u32 carrier; /* 1: `carriers` has this flow of the node */
};

/* ::ffff:0:0/96 in network byte order on either kind of machine. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define V4_MAPPED 0xffff0000u
#define FIRST_OCTET(word) ((word) & 0xff)
#else
#define V4_MAPPED 0x0000ffffu
#define FIRST_OCTET(word) ((word) >> 24)
#endif

helper void set_v4(struct address *address, u32 word)
{
	address->word[0] = 0;
	address->word[1] = 0;
	address->word[2] = V4_MAPPED;
	address->word[3] = word;
}

/* All of 127.0.0.0/8 is the node's, though it is not listed among its addresses. */
helper int is_v4_loopback(const struct address *address)
{
	return !address->word[0] && !address->word[1] && address->word[2] == V4_MAPPED &&
	       FIRST_OCTET(address->word[3]) == 127;
}

helper int is_conversation(u8 protocol)
{
	return protocol != ICMP_PROTOCOL && protocol != ICMPV6_PROTOCOL;
}

helper u32 pod_in(u32 end)
{
	return end == HOST ? 0 : end;
}

helper int is_less(const struct address *one, const struct address *other)
{
	for (int i = 0; i < 3; i++) {
		if (one->word[i] != other->word[i])
			return one->word[i] < other->word[i];
	}
	return one->word[3] < other->word[3];
}

helper int is_same(const struct address *one, const struct address *other)
{
	return one->word[0] == other->word[0] && one->word[1] == other->word[1] && one->word[2] == other->word[2] &&
	       one->word[3] == other->word[3];
}

/* A connection's two ends without a direction. */
helper void name_ends(struct seed_key *name, const struct address *one, u16 port, const struct address *other,
		      u16 other_port, u8 protocol)
{
	int turned = is_same(one, other) ? other_port < port : is_less(other, one);

	name->source = turned ? *other : *one;
	name->destination = turned ? *one : *other;
	name->source_port = turned ? other_port : port;
	name->destination_port = turned ? port : other_port;
	name->protocol = protocol;
	name->reserved = 0;
	name->zone = 0;
}

/* As a packet enters the zone. */
helper void name_entered(struct seed_key *name, const struct tuples *tuples)
{
	name_ends(name, &tuples->source, tuples->source_port, &tuples->destination, tuples->destination_port,
		  tuples->protocol);
}

/* As it leaves: translated. */
helper void name_left(struct seed_key *name, const struct tuples *tuples)
{
	name_ends(name, &tuples->reply_destination, tuples->reply_destination_port, &tuples->reply_source,
		  tuples->reply_source_port, tuples->protocol);
}

/* Only what the node itself exchanges with another machine can be a tunnel's. */
helper int may_be_carrier(const struct ends *ends)
{
	return (ends->source == HOST && !ends->reply_source) || (!ends->source && ends->reply_source == HOST);
}

/* What `carriers` is asked for: by the port of this node's end (`here`) or of the other end, and for the other
 * end's address or for whoever it is (`any`). Both ends are as they see themselves, whatever NAT lies between.
 */
helper void carrier_of(struct carrier *key, const struct tuples *tuples, const struct ends *ends, u8 here, int any)
{
	int from_here = ends->source == HOST;

	key->remote = from_here ? tuples->reply_source : tuples->source;
	if (any)
		key->remote = (struct address){};
	key->port = from_here == here ? tuples->source_port : tuples->reply_source_port;
	key->protocol = tuples->protocol;
	key->here = here;
}

/* Give the flow its owners. A stamp, once set, stays, so that a reused address adds nothing to another pod. Other
 * CPUs may charge by these words meanwhile: only what changes is written, each word once.
 */
helper void attribute(struct flow *flow, const struct ends *ends)
{
	u32 initiator = flow->stamp[0] ? flow->stamp[0] : pod_in(ends->source);
	u32 responder = flow->stamp[1] ? flow->stamp[1] : pod_in(ends->reply_source);
	int from_here = initiator || ends->source == HOST;
	int to_here = responder || ends->reply_source == HOST;
	u8 flags = flow->flags & ~(FLOW_LOCAL | FLOW_FLIPPED);
	u32 owner = UNATTRIBUTED;
	u32 other = 0;

	if (from_here && to_here)
		flags |= FLOW_LOCAL;
	if (initiator || responder) {
		owner = initiator ? initiator : responder;
		if (initiator && responder && initiator != responder)
			other = responder;
		if (!initiator)
			flags |= FLOW_FLIPPED;
	} else if (from_here || to_here) {
		owner = ends->carrier && from_here != to_here ? CARRIER : HOST;
		if (!from_here)
			flags |= FLOW_FLIPPED;
	} else if (ends->reply_destination == HOST) {
		owner = HOST; /* it leaves under the node's address: masquerade */
	} else if (ends->destination == HOST) {
		owner = HOST; /* it came to the node's address and is answered elsewhere: node port */
		flags |= FLOW_FLIPPED;
	}
	if (flow->stamp[0] != initiator)
		SHARED(flow->stamp[0]) = initiator;
	if (flow->stamp[1] != responder)
		SHARED(flow->stamp[1]) = responder;
	if (flow->flags != flags)
		SHARED(flow->flags) = flags;
	if (flow->charge[0] != owner)
		SHARED(flow->charge[0]) = owner;
	if (flow->charge[1] != other)
		SHARED(flow->charge[1]) = other;
}

#endif
