/* A flow's life: met at its first packet, settled once its tuples are final, counted per packet, buried.
 *
 * The key is the address of the kernel's entry. An address is reused only after nf_conntrack_free(), where the
 * flow is buried.
 */
#ifndef TRAFFIC_FOOTPRINT_FLOWS_H
#define TRAFFIC_FOOTPRINT_FLOWS_H

#include "counting.h"
#include "elephant.h"
#include "kernel.h"
#include "maps.h"

helper void tell(u8 kind, u64 key, const struct flow *flow, const struct tuples *tuples)
{
	struct event event = {};

	event.flow = key;
	event.time_ns = bpf_ktime_get_ns();
	event.bytes[ORIGINAL] = flow->bytes[ORIGINAL];
	event.bytes[REPLY] = flow->bytes[REPLY];
	event.initiator = tuples->source;
	event.responder = tuples->reply_source;
	event.initiator_port = tuples->source_port;
	event.responder_port = tuples->reply_source_port;
	event.protocol = tuples->protocol;
	event.kind = kind;
	if (kind == EVENT_CEASED)
		map_delete(MAP(MAP_ELEPHANTS), &key);
	else if (map_update(MAP(MAP_ELEPHANTS), &key, &event, BPF_ANY))
		count_stat(STAT_LOST_ELEPHANT);
	if (bpf_ringbuf_output(MAP(MAP_EVENTS), &event, sizeof(event), 0))
		count_stat(STAT_LOST_EVENT);
}

helper void turn(enum turn turn, u64 key, const struct flow *flow, const void *ct)
{
	struct tuples tuples;

	if (turn == TURN_NONE)
		return;
	if (read_tuples(&tuples, ct)) {
		count_stat(STAT_LOST_READ);
		return;
	}
	tell(turn == TURN_BECAME ? EVENT_BECAME : EVENT_CEASED, key, flow, &tuples);
}

/* Charge bytes of one direction to the flow's owner, or owners. */
helper void charge(const struct flow *flow, u32 direction, u64 packets, u64 bytes)
{
	struct counters *counters = counters_of(flow->charge[0]);

	if (counters)
		count_traffic(counters, flow->flags, direction, packets, bytes);
	if (!flow->charge[1])
		return;
	counters = counters_of(flow->charge[1]);
	if (counters)
		count_traffic(counters, flow->flags, direction, packets, bytes);
}

helper void charge_birth(struct flow *flow)
{
	struct counters *counters;

	if (flow->flags & (FLOW_LOCAL | FLOW_COUNTED | FLOW_OLD) || !is_conversation(flow->protocol))
		return;
	counters = counters_of(flow->charge[0]);
	if (!counters)
		return;
	counters->flows_born += 1;
	flow->flags |= FLOW_COUNTED;
}

/* Look up who lives at the flow's ends, now. Returns -1 when the tuples could not be read. */
helper int look_up_owners(struct flow *flow, const void *ct, const struct config *config)
{
	struct tuples tuples;
	struct ends ends;

	if (read_tuples(&tuples, ct)) {
		count_stat(STAT_LOST_READ);
		return -1;
	}
	ends.source = owner_of(&tuples.source);
	ends.destination = owner_of(&tuples.destination);
	ends.reply_source = owner_of(&tuples.reply_source);
	ends.reply_destination = owner_of(&tuples.reply_destination);
	flow->protocol = tuples.protocol;
	flow->generation = config->generation;
	attribute(flow, &ends);
	return 0;
}

/* The tuples are final: give the flow its owners, and them what it carried until now. */
helper int settle(struct flow *flow, const void *ct, const struct config *config)
{
	if (look_up_owners(flow, ct, config))
		return -1;
	flow->flags |= FLOW_SETTLED;
	charge_birth(flow);
	if (flow->flags & FLOW_OLD)
		return 0; /* what it carried before belongs to no epoch */
	if (flow->packets[ORIGINAL])
		charge(flow, ORIGINAL, flow->packets[ORIGINAL], flow->bytes[ORIGINAL]);
	if (flow->packets[REPLY])
		charge(flow, REPLY, flow->packets[REPLY], flow->bytes[REPLY]);
	return 0;
}

/* What a connection carried before it was first seen, if user space knew it. Returns 0 when it did. */
helper int take_seed(struct seed *seed, const void *ct)
{
	struct tuples tuples;
	struct seed_key key = {};
	const struct seed *found;

	if (read_tuples(&tuples, ct))
		return -1;
	key.source = tuples.source;
	key.destination = tuples.destination;
	key.source_port = tuples.source_port;
	key.destination_port = tuples.destination_port;
	key.protocol = tuples.protocol;
	found = map_lookup(MAP(MAP_SEEDS), &key);
	if (!found)
		return -1;
	*seed = *found;
	map_delete(MAP(MAP_SEEDS), &key);
	return 0;
}

/* A packet of an entry that is not in `flows`: it is new, or from before. */
helper struct flow *meet(const void *ct, u64 key, const struct config *config)
{
	struct flow flow = {};
	struct seed seed;

	flow.born_ns = bpf_ktime_get_ns();
	flow.window = bpf_jiffies64();
	if (status_of(ct) & STATUS_CONFIRMED) {
		flow.flags = FLOW_OLD;
		if (!take_seed(&seed, ct)) {
			flow.bytes[ORIGINAL] = flow.base[ORIGINAL] = seed.bytes[ORIGINAL];
			flow.bytes[REPLY] = flow.base[REPLY] = seed.bytes[REPLY];
			flow.born_ns = seed.born_ns;
		} else if (config->seeded) {
			count_stat(STAT_LOST_FLOW_EVICTED);
		}
	}
	if (map_update(MAP(MAP_FLOWS), &key, &flow, BPF_NOEXIST)) {
		count_stat(STAT_LOST_FLOW_REFUSED);
		return 0;
	}
	count_stat(STAT_FLOWS_MET);
	return map_lookup(MAP(MAP_FLOWS), &key);
}

/* One packet, or one merged run of packets, as conntrack counts it. */
helper void account(const void *ct, u32 direction, u32 packets, u32 bytes)
{
	u64 key = (u64)ct;
	const struct config *config = the_config();
	struct flow *flow;
	enum turn ceased;

	if (!config || !is_ours(ct, config))
		return;
	flow = map_lookup(MAP(MAP_FLOWS), &key);
	if (!flow) {
		flow = meet(ct, key, config);
		if (!flow)
			return;
	}
	direction &= 1;
	if (flow->flags & FLOW_SETTLED) {
		if (flow->generation != config->generation)
			look_up_owners(flow, ct, config);
	} else if (status_of(ct) & STATUS_CONFIRMED) {
		settle(flow, ct, config);
	}
	ceased = open_window(flow, bpf_jiffies64(), config);
	turn(ceased, key, flow, ct);
	/* Both directions may be counted at once, on two CPUs. */
	__sync_fetch_and_add(&flow->bytes[direction], bytes);
	turn(judge(flow, config), key, flow, ct);
	if (flow->flags & FLOW_SETTLED)
		charge(flow, direction, packets, bytes);
	else
		flow->packets[direction] += packets;
}

/* The entry enters the table: NAT is done, and no other packet can find it yet. */
helper void settle_born(const void *ct)
{
	u64 key = (u64)ct;
	const struct config *config = the_config();
	struct flow *flow;

	if (!config || !is_ours(ct, config))
		return;
	flow = map_lookup(MAP(MAP_FLOWS), &key);
	if (!flow) {
		flow = meet(ct, key, config); /* put there by a program, before any packet */
		if (!flow)
			return;
	}
	count_stat(STAT_BIRTHS);
	if (!(flow->flags & FLOW_SETTLED))
		settle(flow, ct, config);
}

helper void charge_end(const struct flow *flow, const struct config *config)
{
	u64 size = flow->bytes[ORIGINAL] + flow->bytes[REPLY];
	u32 slot = flow->charge[0] & SLOT_MASK;
	struct counters *counters;
	struct histograms *histograms;

	if (flow->flags & FLOW_LOCAL || !is_conversation(flow->protocol))
		return;
	counters = counters_of(flow->charge[0]);
	if (!counters)
		return;
	if (counters->tag != flow->charge[0])
		slot = UNATTRIBUTED;
	/* Before the counters: who reads them first finds no end that the histograms lack. */
	histograms = map_lookup(MAP(MAP_HISTOGRAMS), &slot);
	if (histograms)
		count_end(histograms, size, bpf_ktime_get_ns() - flow->born_ns);
	counters->flows_ended += 1;
	if (size < config->mouse_bytes)
		counters->mice_ended += 1;
}

/* An entry that ends without having been in `flows`: idle since before we came, or evicted. */
helper void bury_unmet(const void *ct, const struct config *config)
{
	struct flow flow = {};
	struct seed seed;

	if (!config->seeded || !is_ours(ct, config) || !(status_of(ct) & STATUS_CONFIRMED))
		return;
	flow.flags = FLOW_OLD;
	if (take_seed(&seed, ct)) {
		count_stat(STAT_LOST_FLOW_EVICTED);
		return;
	}
	if (look_up_owners(&flow, ct, config))
		return;
	flow.bytes[ORIGINAL] = seed.bytes[ORIGINAL];
	flow.bytes[REPLY] = seed.bytes[REPLY];
	flow.born_ns = seed.born_ns;
	charge_end(&flow, config);
}

/* The entry is freed. */
helper void bury(const void *ct)
{
	u64 key = (u64)ct;
	const struct config *config = the_config();
	struct flow *flow;

	if (!config)
		return;
	flow = map_lookup(MAP(MAP_FLOWS), &key);
	if (!flow) {
		bury_unmet(ct, config);
		return;
	}
	if (!(flow->flags & FLOW_SETTLED) && status_of(ct) & STATUS_CONFIRMED)
		settle(flow, ct, config); /* one packet, and no birth hook on this kernel */
	if (flow->flags & FLOW_SETTLED)
		charge_end(flow, config);
	else
		count_stat(STAT_UNCONFIRMED);
	if (flow->flags & FLOW_ELEPHANT)
		turn(TURN_CEASED, key, flow, ct);
	map_delete(MAP(MAP_FLOWS), &key);
	count_stat(STAT_FLOWS_BURIED);
}

#endif
