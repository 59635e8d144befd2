/* SPDX-License-Identifier: GPL-2.0-only */
/* A flow's life: entered at its first packet, settled once its tuples are final, counted per packet, removed.
 *
 * The key is the address of the kernel's entry. The kernel reuses an address only after nf_conntrack_free(), where
 * the flow is removed. Where that call was missed, the flow is stale. The next connection's birth or first packet
 * shows it: the flow is settled already, but its connection is not yet in the kernel's table.
 */
#ifndef TRAFFIC_FOOTPRINT_FLOWS_H
#define TRAFFIC_FOOTPRINT_FLOWS_H

#include "carriers.h"
#include "charging.h"
#include "elephant.h"
#include "kernel.h"
#include "zones.h"

/* Whether an entry belongs to the namespace that counts. The address of its struct net is remembered once its
 * inode has been seen: from then on a foreign entry costs one comparison.
 */
helper int is_ours(const struct entry *entry, const struct config *config)
{
	u32 zero = 0;
	u64 *known = map_lookup(MAP(MAP_NAMESPACE), &zero);

	if (!known)
		return 0;
	if (*known)
		return entry->net == *known;
	if (!entry->net || inode_of(entry->net) != config->netns)
		return 0;
	*known = entry->net;
	return 1;
}

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
	if (kind == EVENT_BECAME ? enter(&event, flow) : !map_delete(MAP(MAP_ELEPHANTS), &key))
		signal(&event);
}

helper void turn(enum turn turn, const struct flow *flow, const struct entry *entry)
{
	struct tuples tuples;

	if (turn == TURN_NONE)
		return;
	if (read_tuples(&tuples, entry->ct)) {
		count_stat(STAT_LOST_READ);
		return;
	}
	tell(turn == TURN_BECAME ? EVENT_BECAME : EVENT_CEASED, (u64)entry->ct, flow, &tuples);
}

/* Look up who lives at the flow's ends, now. Returns -1 when the tuples could not be read. */
helper int look_up_owners(struct flow *flow, const struct entry *entry, const struct config *config)
{
	/* Read before the addresses: one that appears in between is looked up at the next packet. */
	u32 generation = SHARED(config->generation);
	struct tuples tuples;
	struct ends ends;

	if (read_tuples(&tuples, entry->ct)) {
		count_stat(STAT_LOST_READ);
		return -1;
	}
	ends.source = owner_of(&tuples.source);
	ends.destination = owner_of(&tuples.destination);
	ends.reply_source = owner_of(&tuples.reply_source);
	ends.reply_destination = owner_of(&tuples.reply_destination);
	ends.carrier = is_carrier(&tuples, &ends);
	flow->protocol = tuples.protocol;
	attribute(flow, &ends);
	if (flow->charge[0] == CARRIER && flow->elephant) {
		SHARED(flow->elephant) = 0; /* its tunnel was not known until now */
		tell(EVENT_CEASED, (u64)entry->ct, flow, &tuples);
	}
	SHARED(flow->generation) = generation;
	return 0;
}

/* The tuples are final: give the flow its owners, and charge them what it carried until now. */
helper int settle(struct flow *flow, const struct entry *entry, const struct config *config)
{
	if (look_up_owners(flow, entry, config))
		return -1;
	flow->flags |= FLOW_SETTLED;
	if (!enter_zone(flow, entry))
		return 0; /* another zone's entry counted it */
	charge_birth(flow);
	if (flow->flags & FLOW_OLD)
		return 0; /* it carried this before the epoch began */
	if (flow->packets[ORIGINAL])
		charge(flow, ORIGINAL, flow->packets[ORIGINAL], flow->bytes[ORIGINAL]);
	if (flow->packets[REPLY])
		charge(flow, REPLY, flow->packets[REPLY], flow->bytes[REPLY]);
	return 0;
}

enum history {
	HISTORY_NONE,      /* such connections are not seeded, or it could not be read */
	HISTORY_KNOWN,     /* there is a seed */
	HISTORY_FORGOTTEN, /* there should be a seed, or the flow itself */
};

/* The connection existed before this program first saw it: give `flow` what it carried, if there is a seed. `name`
 * is the seed's key.
 */
helper enum history recall(struct flow *flow, struct seed_key *name, const struct entry *entry)
{
	struct tuples tuples;
	const struct seed *seed;

	flow->flags = FLOW_OLD | FLOW_UNSIZED;
	if (read_tuples(&tuples, entry->ct)) {
		count_stat(STAT_LOST_READ);
		return HISTORY_NONE;
	}
	name->source = tuples.source;
	name->destination = tuples.destination;
	name->source_port = tuples.source_port;
	name->destination_port = tuples.destination_port;
	name->protocol = tuples.protocol;
	name->zone = zone_of(entry->ct);
	seed = map_lookup(MAP(MAP_SEEDS), name);
	if (!seed)
		return is_conversation(tuples.protocol) ? HISTORY_FORGOTTEN : HISTORY_NONE;
	flow->born_ns = seed->born_ns;
	if (seed->unsized)
		return HISTORY_KNOWN;
	flow->flags = FLOW_OLD;
	flow->bytes[ORIGINAL] = flow->base[ORIGINAL] = seed->bytes[ORIGINAL];
	flow->bytes[REPLY] = flow->base[REPLY] = seed->bytes[REPLY];
	return HISTORY_KNOWN;
}

/* Enter a connection that is not in `flows`; it is new unless `existed`. 0 when the map has no room. */
helper struct flow *meet(const struct entry *entry, const struct config *config, int existed)
{
	u64 key = (u64)entry->ct;
	enum history history = HISTORY_NONE;
	struct flow flow = {};
	struct seed_key name = {};
	struct flow *met;

	flow.born_ns = bpf_ktime_get_ns();
	flow.window = bpf_jiffies64();
	if (existed)
		history = recall(&flow, &name, entry);
	if (map_update(MAP(MAP_FLOWS), &key, &flow, BPF_NOEXIST)) {
		/* Another CPU entered it meanwhile, with the same values. */
		met = map_lookup(MAP(MAP_FLOWS), &key);
		if (!met)
			count_stat(STAT_LOST_FLOW_REFUSED);
		return met;
	}
	count_stat(STAT_FLOWS_MET);
	/* After the entry, so that a CPU that no longer finds the seed finds the flow. */
	if (history == HISTORY_KNOWN)
		map_delete(MAP(MAP_SEEDS), &name);
	else if (history == HISTORY_FORGOTTEN && config->seeded)
		count_stat(STAT_LOST_FLOW_EVICTED);
	return map_lookup(MAP(MAP_FLOWS), &key);
}

/* The flow's connection has ended, and another one has its address: it must inherit nothing. */
helper void drop_stale(const struct flow *flow, u64 key)
{
	if (flow->elephant)
		map_delete(MAP(MAP_ELEPHANTS), &key);
	map_delete(MAP(MAP_FLOWS), &key);
	count_stat(STAT_FLOWS_BURIED);
	count_stat(STAT_LOST_END);
}

/* One packet, or one merged run of packets, as conntrack counts it. */
helper void account(const struct entry *entry, u32 direction, u32 packets, u32 bytes)
{
	u64 key = (u64)entry->ct;
	const struct config *config = the_config();
	u32 confirmed = entry->status & STATUS_CONFIRMED;
	struct flow *flow;
	enum turn ceased;
	u32 now;

	if (!is_ours(entry, config))
		return;
	flow = map_lookup(MAP(MAP_FLOWS), &key);
	if (flow && !confirmed && flow->flags & FLOW_SETTLED) {
		drop_stale(flow, key);
		flow = 0;
	}
	if (!flow) {
		flow = meet(entry, config, confirmed);
		if (!flow)
			return;
	}
	direction &= 1;
	if (flow->flags & FLOW_SETTLED) {
		if (flow->generation != config->generation)
			look_up_owners(flow, entry, config);
	} else if (confirmed) {
		settle(flow, entry, config);
	}
	now = bpf_jiffies64();
	if (flow->flags & FLOW_SHADOW && now - flow->window >= config->window)
		go_on(flow, entry);
	ceased = open_window(flow, now, config);
	turn(ceased, flow, entry);
	/* Both directions may be counted at once, on two CPUs. */
	add(&flow->bytes[direction], bytes);
	if (flow->flags & FLOW_SHADOW)
		return;
	if (flow->charge[0] != CARRIER)
		turn(judge(flow, config), flow, entry);
	if (flow->flags & FLOW_SETTLED)
		charge(flow, direction, packets, bytes);
	else
		flow->packets[direction] += packets;
}

/* The entry enters the table: NAT is done, and no other packet can find it yet. */
helper void settle_born(const struct entry *entry)
{
	u64 key = (u64)entry->ct;
	const struct config *config = the_config();
	struct flow *flow;

	if (!is_ours(entry, config))
		return;
	count_stat(STAT_BIRTHS);
	flow = map_lookup(MAP(MAP_FLOWS), &key);
	if (flow && flow->flags & FLOW_SETTLED) {
		drop_stale(flow, key);
		flow = 0;
	}
	if (!flow) {
		count_stat(STAT_BIRTHS_UNHEARD);
		flow = meet(entry, config, 0); /* a program created it, without any packet */
		if (!flow)
			return;
	}
	settle(flow, entry, config);
}

/* A connection ends that is not in `flows`: it was idle since before the program was attached, or was evicted. */
helper void bury_unmet(const struct entry *entry, const struct config *config)
{
	struct flow flow = {};
	struct seed_key name = {};
	enum history history;

	if (!config->seeded || !is_ours(entry, config))
		return;
	if (!(entry->status & STATUS_CONFIRMED) || entry->status & STATUS_TEMPLATE)
		return;
	history = recall(&flow, &name, entry);
	if (history == HISTORY_FORGOTTEN)
		count_stat(STAT_LOST_FLOW_EVICTED);
	if (history != HISTORY_KNOWN)
		return;
	map_delete(MAP(MAP_SEEDS), &name);
	if (!look_up_owners(&flow, entry, config))
		charge_end(&flow, config);
}

/* The entry is freed. */
helper void bury(const struct entry *entry)
{
	u64 key = (u64)entry->ct;
	const struct config *config = the_config();
	struct flow *flow;

	flow = map_lookup(MAP(MAP_FLOWS), &key);
	leave_zone(entry);
	if (!flow) {
		bury_unmet(entry, config);
		return;
	}
	if (!(flow->flags & FLOW_SETTLED) && entry->status & STATUS_CONFIRMED)
		settle(flow, entry, config); /* one packet, and no birth hook on this kernel */
	if (!(flow->flags & FLOW_SETTLED))
		count_stat(STAT_UNCONFIRMED);
	else if (!(flow->flags & (FLOW_SHADOW | FLOW_HEIR)))
		charge_end(flow, config);
	if (flow->elephant)
		turn(TURN_CEASED, flow, entry);
	map_delete(MAP(MAP_FLOWS), &key);
	count_stat(STAT_FLOWS_BURIED);
}

#endif
