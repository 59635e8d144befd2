/* SPDX-License-Identifier: GPL-2.0-only */
/* A flow's life at one of its ends: every packet that a local socket sends or takes, and the connection's end.
 *
 * Egress is what the end sends, ingress what it takes. As elsewhere, ORIGINAL is the direction of whoever began, so
 * FLOW_FLIPPED says that the remote end did.
 *
 * A TCP connection is entered once a socket of its own exists. What a listening socket sees is charged by its
 * addresses and leaves no entry, so a flood of SYNs cannot push out the flows that are. An end that calls is entered
 * at its SYN, and settled at the packet after it: by then the answer has shown whether it comes from this node.
 */
#ifndef TRAFFIC_FOOTPRINT_SOCKETS_H
#define TRAFFIC_FOOTPRINT_SOCKETS_H

#include "charging.h"
#include "elephant.h"
#include "endpoints.h"

#define MAP_NOTES 13
#define MAP_GROUPS 15

#define DEEPEST_GROUP 9 /* of a pod's cgroup; kubelets have them 2 to 5 below the root */

#define LOOPBACK_INDEX 1
#define LISTENING 10 /* TCP_LISTEN */
#define RAW_SOCKET 3 /* SOCK_RAW */
#define TCP_SYN (1 << 1)
#define TCP_ACK (1 << 4)
#define TCP_FLAGS_AT 13

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ON_THE_WIRE_16(value) __builtin_bswap16(value)
#else
#define ON_THE_WIRE_16(value) (value)
#endif
#define IPV4 ON_THE_WIRE_16(0x0800)
#define IPV6 ON_THE_WIRE_16(0x86dd)
#define FRAGMENT_OFFSET ON_THE_WIRE_16(0x1fff)

/* IPv6 headers that may stand before the transport's, and how many are looked behind. */
#define HOP_BY_HOP 0
#define ROUTING 43
#define DESTINATION 60
#define FRAGMENT 44
#define MOST_EXTENSIONS 2

static struct bpf_sock *(*full_socket)(struct bpf_sock *sk) = (void *)BPF_FUNC_sk_fullsock;
static struct bpf_tcp_sock *(*tcp_socket)(struct bpf_sock *sk) = (void *)BPF_FUNC_tcp_sock;

static u64 (*group_above)(struct __sk_buff *skb, int level) = (void *)BPF_FUNC_skb_ancestor_cgroup_id;

/* Neighbour and group messages, which keep a link going: conntrack does not track them either. */
#define FIRST_OF_LINK 130
#define LAST_OF_LINK 137
#define GROUP_REPORT 143

/* Outcomes of reading a packet. */
#define READ 0
#define LEFT_OUT 1
#define CUT_SHORT (-1)

/* What a packet says of its flow. */
struct packet {
	u64 key;
	u32 received; /* 0: sent */
	u16 local_port;
	u16 remote_port;
	u8 protocol;
	u8 tcp_flags;
};

/* Ports and flags of the transport header at `at`. */
helper int read_transport(struct packet *packet, u8 *at, const u8 *end)
{
	u16 source;
	u16 destination;

	if (packet->protocol == ICMPV6_PROTOCOL) {
		if (at + 1 > end)
			return CUT_SHORT;
		return (at[0] >= FIRST_OF_LINK && at[0] <= LAST_OF_LINK) || at[0] == GROUP_REPORT ? LEFT_OUT : READ;
	}
	if (!has_ports(packet->protocol))
		return READ;
	if (packet->protocol == TCP_PROTOCOL) {
		if (at + TCP_FLAGS_AT + 1 > end)
			return CUT_SHORT;
		packet->tcp_flags = at[TCP_FLAGS_AT];
	} else if (at + 4 > end) {
		return CUT_SHORT;
	}
	source = *(u16 *)at;
	destination = *(u16 *)(at + 2);
	packet->local_port = packet->received ? destination : source;
	packet->remote_port = packet->received ? source : destination;
	return READ;
}

helper int read_v4(struct packet *packet, u64 salt, u8 *data, const u8 *end)
{
	u32 source;
	u32 destination;
	u64 last;

	if (data + 20 > end)
		return CUT_SHORT;
	packet->protocol = data[9];
	source = *(u32 *)(data + 12);
	destination = *(u32 *)(data + 16);
	/* A later fragment has no ports: such a packet is of the flow of its addresses. */
	if (!(*(u16 *)(data + 6) & FRAGMENT_OFFSET)) {
		int outcome = read_transport(packet, data + (data[0] & 15) * 4, end);

		if (outcome != READ)
			return outcome;
	}
	last = last_word(packet->local_port, packet->remote_port, packet->protocol);
	packet->key = packet->received ? key_v4(salt, destination, source, last)
				       : key_v4(salt, source, destination, last);
	return READ;
}

helper int is_extension(u8 protocol)
{
	return protocol == HOP_BY_HOP || protocol == ROUTING || protocol == DESTINATION || protocol == FRAGMENT;
}

helper int read_v6(struct packet *packet, u64 salt, u8 *data, const u8 *end)
{
	u8 *at = data + 40;
	struct address *source = (struct address *)(data + 8);
	struct address *destination = (struct address *)(data + 24);
	int later_fragment = 0;
	u64 last;

	if (at > end)
		return CUT_SHORT;
	packet->protocol = data[6];
#pragma unroll
	for (int i = 0; i < MOST_EXTENSIONS; i++) {
		if (is_extension(packet->protocol)) {
			u32 length = 8;

			if (at + 8 > end)
				return CUT_SHORT;
			if (packet->protocol == FRAGMENT)
				later_fragment |= *(u16 *)(at + 2) & ON_THE_WIRE_16(0xfff8);
			else
				length += at[1] * 8;
			packet->protocol = at[0];
			at += length;
		}
	}
	if (!later_fragment) {
		int outcome = read_transport(packet, at, end);

		if (outcome != READ)
			return outcome;
	}
	last = last_word(packet->local_port, packet->remote_port, packet->protocol);
	packet->key = packet->received ? key_v6(salt, destination, source, last)
				       : key_v6(salt, source, destination, last);
	return READ;
}

helper int read_packet(struct packet *packet, struct __sk_buff *skb, u64 salt)
{
	u8 *data = (u8 *)(long)skb->data;
	const u8 *end = (const u8 *)(long)skb->data_end;

	if (skb->protocol == IPV4)
		return read_v4(packet, salt, data, end);
	if (skb->protocol == IPV6)
		return read_v6(packet, salt, data, end);
	return LEFT_OUT;
}

/* The packet's endpoints, for the few packets that need more than the key. */
helper int read_endpoints(struct endpoints *ends, const struct packet *packet, struct __sk_buff *skb)
{
	const u8 *data = (const u8 *)(long)skb->data;
	const u8 *end = (const u8 *)(long)skb->data_end;
	struct address *source = packet->received ? &ends->remote : &ends->local;
	struct address *destination = packet->received ? &ends->local : &ends->remote;

	ends->local_port = packet->local_port;
	ends->remote_port = packet->remote_port;
	ends->protocol = packet->protocol;
	if (skb->protocol == IPV4) {
		if (data + 20 > end)
			return -1;
		set_v4(source, *(const u32 *)(data + 12));
		set_v4(destination, *(const u32 *)(data + 16));
		return 0;
	}
	if (data + 40 > end)
		return -1;
	__builtin_memcpy(source, data + 8, sizeof(*source));
	__builtin_memcpy(destination, data + 24, sizeof(*destination));
	return 0;
}

/* Who lives at the local end. The node's own address is that of every pod on the node's network: there the socket's
 * cgroup tells which. Asked when a flow gets its owner, never per packet.
 */
helper u32 owner_here(struct __sk_buff *skb, const struct address *local)
{
	u32 tag = owner_of(local);

	if (tag != HOST)
		return tag;
#pragma clang loop unroll(disable)
	for (int level = 1; level <= DEEPEST_GROUP; level++) {
		u64 group = group_above(skb, level);
		const u32 *pod;

		if (!group)
			break; /* below the socket's own */
		pod = map_lookup(MAP(MAP_GROUPS), &group);
		if (pod)
			return *pod;
	}
	return HOST;
}

helper u32 is_carrier_by(const struct endpoints *ends, int here, int any)
{
	struct carrier key;

	key.remote = ends->remote;
	if (any)
		key.remote = (struct address){};
	key.port = here ? ends->local_port : ends->remote_port;
	key.protocol = ends->protocol;
	key.here = here;
	return map_lookup(MAP(MAP_CARRIERS), &key) != 0;
}

/* Whether a socket of the node itself carries a tunnel. The kernel's own tunnels pass no socket; programs' do. */
helper u32 is_carrier_end(const struct endpoints *ends, u32 other)
{
	if (other || owner_of(&ends->local) != HOST)
		return 0;
	return is_carrier_by(ends, 1, 1) || is_carrier_by(ends, 0, 1) || is_carrier_by(ends, 1, 0) ||
	       is_carrier_by(ends, 0, 0);
}

/* Both ends live here, and this one was called: tell the other, which may have called a service's address. */
helper void leave_note(const struct endpoints *ends, u64 salt)
{
	u64 key = note_key(salt, &ends->remote, ends->remote_port, ends->protocol);
	u64 now = bpf_ktime_get_ns();

	map_update(MAP(MAP_NOTES), &key, &now, BPF_ANY);
}

/* Whether the end that answers lives here: it was called after this flow began. The note serves once. */
helper u32 find_note(const struct endpoints *ends, u64 salt, u64 born_ns)
{
	u64 key = note_key(salt, &ends->local, ends->local_port, ends->protocol);
	const u64 *left = map_lookup(MAP(MAP_NOTES), &key);

	if (!left || *left < born_ns)
		return NOTE_ABSENT;
	map_delete(MAP(MAP_NOTES), &key);
	return NOTE_FOUND;
}

/* The flow's owner is the end whose packet it is. */
helper void charge_end_of(const struct flow *flow, u32 received, u64 packets, u64 bytes)
{
	struct counters *counters;

	if (flow->flags & FLOW_LOCAL && flow->charge[0] == HOST)
		return;
	counters = counters_of(flow->charge[0]);
	if (counters)
		count_bytes(counters, flow, received, packets, bytes);
}

/* A packet without an entry: its bytes are its owner's, and that is all. */
helper void charge_passing(struct __sk_buff *skb, const struct endpoints *ends, const struct packet *packet,
			   u32 packets, u64 salt)
{
	struct flow passing = {};
	u32 other = owner_of(&ends->remote);

	attribute_end(&passing, owner_here(skb, &ends->local), other, 0);
	if (passing.flags & FLOW_LOCAL && packet->received && packet->tcp_flags & TCP_SYN)
		leave_note(ends, salt);
	charge_end_of(&passing, packet->received, packets, skb->len);
}

/* The elephant is none any more. */
helper void cease(u64 key)
{
	const struct event *standing = map_lookup(MAP(MAP_ELEPHANTS), &key);
	struct event event;

	if (!standing)
		return;
	event = *standing;
	event.kind = EVENT_CEASED;
	event.time_ns = bpf_ktime_get_ns();
	if (!map_delete(MAP(MAP_ELEPHANTS), &key))
		signal(&event);
}

helper void begin(u64 key, const struct flow *flow, const struct endpoints *ends)
{
	struct event event = {};
	int flipped = flow->flags & FLOW_FLIPPED;

	event.flow = key;
	event.time_ns = bpf_ktime_get_ns();
	event.bytes[ORIGINAL] = flow->bytes[ORIGINAL];
	event.bytes[REPLY] = flow->bytes[REPLY];
	event.initiator = flipped ? ends->remote : ends->local;
	event.responder = flipped ? ends->local : ends->remote;
	event.initiator_port = flipped ? ends->remote_port : ends->local_port;
	event.responder_port = flipped ? ends->local_port : ends->remote_port;
	event.protocol = ends->protocol;
	event.kind = EVENT_BECAME;
	if (enter(&event, flow))
		signal(&event);
}

/* Look up who lives at both ends, now. */
helper void look_up_ends(struct flow *flow, struct __sk_buff *skb, const struct endpoints *ends,
			 const struct config *config, u32 received)
{
	/* Read before the addresses: one that appears in between is looked up at the next packet. */
	u32 generation = SHARED(config->generation);
	u32 mine = owner_here(skb, &ends->local);
	u32 other = owner_of(&ends->remote);

	if (received && !flow->stamp[1])
		SHARED(flow->stamp[1]) = mine && !other && !(flow->flags & FLOW_FLIPPED)
						 ? find_note(ends, config->salt, flow->born_ns)
						 : NOTE_ABSENT;
	attribute_end(flow, mine, other, is_carrier_end(ends, other));
	SHARED(flow->generation) = generation;
}

/* The flow has its owner: charge what it carried until now. */
helper void settle_end(struct flow *flow)
{
	flow->flags |= FLOW_SETTLED;
	charge_birth(flow);
	if (flow->packets[ORIGINAL])
		charge_end_of(flow, flow->flags & FLOW_FLIPPED ? 1 : 0, flow->packets[ORIGINAL],
			      flow->bytes[ORIGINAL]);
}

/* The flow has ended, or is idle for so long that it counts as ended. */
helper void part(struct flow *flow, u64 key, const struct config *config)
{
	if (!(flow->flags & FLOW_SETTLED))
		settle_end(flow); /* its first packet was its last; it has been looked up */
	charge_end(flow, config);
	if (flow->elephant)
		cease(key);
	map_delete(MAP(MAP_FLOWS), &key);
	count_stat(STAT_FLOWS_BURIED);
}

/* As Linux opens connections over IPv4, options included; IPv6 headers are longer. */
#define SYN_BYTES 60
#define ACK_BYTES 52
#define V6_LONGER 20

/* What a TCP connection carried before it was first seen. What was acknowledged includes the SYN. */
helper void recall_tcp(struct flow *flow, struct bpf_sock *sk, const struct packet *packet, u32 longer)
{
	struct bpf_tcp_sock *tcp = tcp_socket(sk);
	u64 received;
	u64 sent;

	if (!tcp) {
		flow->flags |= FLOW_OLD | FLOW_UNSIZED;
		return;
	}
	received = tcp->bytes_received;
	sent = tcp->bytes_acked;
	if (received + sent <= 1) {
		/* Accepted: its handshake was the listening socket's. Its size is as if all of it had been seen. */
		flow->flags |= FLOW_FLIPPED;
		flow->bytes[ORIGINAL] = flow->base[ORIGINAL] = SYN_BYTES + ACK_BYTES + 2 * longer;
		flow->bytes[REPLY] = flow->base[REPLY] = SYN_BYTES + longer;
		return;
	}
	flow->flags |= FLOW_OLD;
	if (called_from_afar(packet->local_port, packet->remote_port)) {
		flow->flags |= FLOW_FLIPPED;
		flow->bytes[ORIGINAL] = flow->base[ORIGINAL] = received;
		flow->bytes[REPLY] = flow->base[REPLY] = sent;
	} else {
		flow->bytes[ORIGINAL] = flow->base[ORIGINAL] = sent;
		flow->bytes[REPLY] = flow->base[REPLY] = received;
	}
}

/* Enter a flow. 0: the packet makes none, or the map has no room; then it has been charged. */
helper struct flow *meet_end(struct __sk_buff *skb, const struct packet *packet, const struct endpoints *ends,
			     const struct config *config, u32 packets)
{
	struct bpf_sock *sk = skb->sk;
	struct flow fresh = {};
	struct flow *met;
	u64 key = packet->key;

	if (sk)
		sk = full_socket(sk);
	if (sk && has_ports(packet->protocol) && sk->type == RAW_SOCKET) {
		/* Whoever writes such headers by hand can name any sender. */
		charge_end_of(&fresh, packet->received, packets, skb->len);
		return 0;
	}
	fresh.born_ns = bpf_ktime_get_ns();
	fresh.window = bpf_jiffies64();
	fresh.protocol = packet->protocol;
	if (packet->protocol == TCP_PROTOCOL) {
		if (!sk || sk->state == LISTENING) {
			charge_passing(skb, ends, packet, packets, config->salt);
			return 0;
		}
		if (packet->received || (packet->tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN)
			recall_tcp(&fresh, sk, packet, skb->protocol == IPV6 ? V6_LONGER : 0);
	} else if (packet->received) {
		fresh.flags |= FLOW_FLIPPED;
	}
	look_up_ends(&fresh, skb, ends, config, packet->received);
	/* Before others can find it, so that none counts for a flow that nobody settles. */
	if (packet->protocol != TCP_PROTOCOL || packet->received || !(packet->tcp_flags & TCP_SYN))
		fresh.flags |= FLOW_SETTLED;
	if (map_update(MAP(MAP_FLOWS), &key, &fresh, BPF_NOEXIST)) {
		/* Another CPU entered it meanwhile, with the same values. */
		met = map_lookup(MAP(MAP_FLOWS), &key);
		if (!met) {
			count_stat(STAT_LOST_FLOW_REFUSED);
			charge_passing(skb, ends, packet, packets, config->salt);
		}
		return met;
	}
	count_stat(STAT_FLOWS_MET);
	met = map_lookup(MAP(MAP_FLOWS), &key);
	if (!met)
		return 0;
	if (packet->received && met->flags & FLOW_LOCAL && packet->protocol != TCP_PROTOCOL)
		leave_note(ends, config->salt);
	if (met->flags & FLOW_SETTLED)
		charge_birth(met);
	return met;
}

/* The flow again at a packet that may change what is known of it; 0 when it was another's, and has been buried. */
helper struct flow *review(struct flow *flow, struct __sk_buff *skb, const struct packet *packet,
			   const struct endpoints *ends, const struct config *config)
{
	u64 key = packet->key;

	if ((packet->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && flow->bytes[REPLY]) {
		count_stat(STAT_LOST_END); /* the connection before had the same ports */
		part(flow, key, config);
		return 0;
	}
	if (has_changed_hands(flow, owner_here(skb, &ends->local))) {
		part(flow, key, config);
		return 0;
	}
	look_up_ends(flow, skb, ends, config, packet->received);
	if (flow->charge[0] == CARRIER && flow->elephant) {
		SHARED(flow->elephant) = 0; /* its tunnel was not known until now */
		cease(key);
	}
	if (!(flow->flags & FLOW_SETTLED))
		settle_end(flow);
	return flow;
}

helper int needs_review(const struct flow *flow, u32 received, u8 tcp_flags, const struct config *config)
{
	return !(flow->flags & FLOW_SETTLED) || flow->generation != config->generation ||
	       (received && !flow->stamp[1]) || tcp_flags & TCP_SYN;
}

/* The packet's flow, where that takes more than finding it: `flow` is to be reviewed, or 0. The packet is read again,
 * so that what only this needs is not kept for every packet. 0: nothing is left to count.
 */
helper struct flow *find_otherwise(struct flow *flow, struct __sk_buff *skb, u32 received,
				   const struct config *config, u32 packets)
{
	struct packet packet = { .received = received };
	struct endpoints ends;

	if (read_packet(&packet, skb, config->salt) != READ || read_endpoints(&ends, &packet, skb)) {
		count_stat(STAT_LOST_READ);
		return 0;
	}
	if (flow)
		flow = review(flow, skb, &packet, &ends, config);
	if (!flow)
		flow = meet_end(skb, &packet, &ends, config, packets);
	return flow;
}

helper void begin_end(u64 key, const struct flow *flow, struct __sk_buff *skb, u32 received, u64 salt)
{
	struct packet packet = { .received = received };
	struct endpoints ends;

	if (read_packet(&packet, skb, salt) == READ && !read_endpoints(&ends, &packet, skb))
		begin(key, flow, &ends);
}

/* One packet, or one run of packets that the kernel keeps together, at a socket. */
helper void count_packet(struct __sk_buff *skb, u32 received)
{
	const struct config *config = the_config();
	struct packet packet = { .received = received };
	u32 packets;
	u32 direction;
	u64 key; /* by itself, so that the rest of `packet` needs no memory */
	int outcome;
	struct flow *flow;

	if (!config->window || skb->ifindex == LOOPBACK_INDEX)
		return;
	outcome = read_packet(&packet, skb, config->salt);
	if (outcome != READ) {
		if (outcome == CUT_SHORT)
			count_stat(STAT_LOST_READ);
		return;
	}
	key = packet.key;
	packets = skb->gso_segs ? skb->gso_segs : 1;
	flow = map_lookup(MAP(MAP_FLOWS), &key);
	if (!flow || needs_review(flow, received, packet.tcp_flags, config)) {
		flow = find_otherwise(flow, skb, received, config, packets);
		if (!flow)
			return;
	}
	if (open_window(flow, bpf_jiffies64(), config) == TURN_CEASED)
		cease(key);
	direction = received ^ (flow->flags & FLOW_FLIPPED ? 1 : 0);
	add(&flow->bytes[direction], skb->len);
	if (flow->charge[0] != CARRIER && judge(flow, config) == TURN_BECAME)
		begin_end(key, flow, skb, received, config->salt);
	if (flow->flags & FLOW_SETTLED)
		charge_end_of(flow, received, packets, skb->len);
	else
		flow->packets[direction] += packets;
}

#endif
