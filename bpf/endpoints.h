/* SPDX-License-Identifier: GPL-2.0-only */
/* A flow as one of its ends sees it: the address that is local, and the one that is remote. Pure.
 *
 * Each end on this node has an entry of its own, under a hash of its endpoints. The hash is salted, because somebody
 * who could choose two flows of one hash would have one charged with the other's bytes.
 */
#ifndef TRAFFIC_FOOTPRINT_ENDPOINTS_H
#define TRAFFIC_FOOTPRINT_ENDPOINTS_H

#include "attribution.h"

#define TCP_PROTOCOL 6
#define UDP_PROTOCOL 17
#define SCTP_PROTOCOL 132

/* Ports in network byte order; 0 for protocols without any. */
struct endpoints {
	struct address local;
	struct address remote;
	u16 local_port;
	u16 remote_port;
	u8 protocol;
};

/* Values of flow.stamp[1], which has no tag here: each end stamps itself only. */
#define NOTE_ABSENT 1u /* whoever answers lives elsewhere, or left no note */
#define NOTE_FOUND 2u  /* the end that answers lives here, behind the service address that this one called */

helper int has_ports(u8 protocol)
{
	return protocol == TCP_PROTOCOL || protocol == UDP_PROTOCOL || protocol == SCTP_PROTOCOL;
}

helper u64 folded(u64 hash, u64 word)
{
	hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
	return hash ^ hash >> 32;
}

/* The last word of every hash: both ports as they lie in memory, the local one first, and the protocol. */
helper u64 last_word(u16 local_port, u16 remote_port, u8 protocol)
{
	return (u64)protocol << 32 | (u32)remote_port << 16 | local_port;
}

/* Never 0, which means no flow in the messages of user space. */
helper u64 finished(u64 hash)
{
	return hash | 1;
}

helper u64 key_v4(u64 salt, u32 local, u32 remote, u64 last)
{
	return finished(folded(folded(salt, (u64)remote << 32 | local), last));
}

helper u64 key_v6(u64 salt, const struct address *local, const struct address *remote, u64 last)
{
	salt = folded(salt, (u64)local->word[1] << 32 | local->word[0]);
	salt = folded(salt, (u64)local->word[3] << 32 | local->word[2]);
	salt = folded(salt, (u64)remote->word[1] << 32 | remote->word[0]);
	salt = folded(salt, (u64)remote->word[3] << 32 | remote->word[2]);
	return finished(folded(salt, last));
}

helper int is_v4(const struct address *address)
{
	return !address->word[0] && !address->word[1] && address->word[2] == V4_MAPPED;
}

/* The key of an end, as its packets give it. An IPv6 socket that speaks IPv4 has mapped addresses. */
helper u64 key_of(u64 salt, const struct endpoints *ends)
{
	u64 last = last_word(ends->local_port, ends->remote_port, ends->protocol);

	if (is_v4(&ends->local) && is_v4(&ends->remote))
		return key_v4(salt, ends->local.word[3], ends->remote.word[3], last);
	return key_v6(salt, &ends->local, &ends->remote, last);
}

/* The key of a note for the end at `address`: it names that end alone, whatever address it calls. */
helper u64 note_key(u64 salt, const struct address *address, u16 port, u8 protocol)
{
	const struct address nobody = {};

	return key_v6(salt, address, &nobody, last_word(port, 0, protocol));
}

/* Which end began a connection whose beginning was not seen. Servers have the lower port, most of them. */
helper int called_from_afar(u16 local_port, u16 remote_port)
{
	return __builtin_bswap16(local_port) < __builtin_bswap16(remote_port);
}

/* Give the flow its owner: the local end's, whose tag is `mine`; `other` is the remote end's. A stamp, once set,
 * stays. Traffic of the node itself with its own pods is the pods' alone. `carrier`: it is a tunnel's outer flow.
 */
helper void attribute_end(struct flow *flow, u32 mine, u32 other, u32 carrier)
{
	u32 pod = flow->stamp[0] ? flow->stamp[0] : pod_in(mine);
	u32 owner = carrier ? CARRIER : pod ? pod : mine;
	u8 flags = flow->flags & ~FLOW_LOCAL;

	if (owner && (other || flow->stamp[1] == NOTE_FOUND))
		flags |= FLOW_LOCAL;
	if (flow->stamp[0] != pod)
		SHARED(flow->stamp[0]) = pod;
	if (flow->flags != flags)
		SHARED(flow->flags) = flags;
	if (flow->charge[0] != owner)
		SHARED(flow->charge[0]) = owner;
}

/* Whether the address at the local end has been given to another pod than the flow's. The packets are that one's:
 * they have passed its own socket.
 */
helper int has_changed_hands(const struct flow *flow, u32 mine)
{
	return flow->stamp[0] && pod_in(mine) && pod_in(mine) != flow->stamp[0];
}

#endif
