/* SPDX-License-Identifier: GPL-2.0-only */
/* What a flow's owners are charged with: its birth, its bytes, its end; and who hears of elephants. Whatever hooks
 * see the packets.
 */
#ifndef TRAFFIC_FOOTPRINT_CHARGING_H
#define TRAFFIC_FOOTPRINT_CHARGING_H

#include "counting.h"
#include "maps.h"

#define ALREADY_THERE (-17) /* EEXIST */

helper void signal(const struct event *event)
{
	if (bpf_ringbuf_output(MAP(MAP_EVENTS), (void *)event, sizeof(*event), 0))
		count_stat(STAT_LOST_EVENT);
}

/* Enter an elephant that has begun. 0: another CPU has entered it. An older entry than the flow itself belongs to a
 * flow whose end was missed, and is replaced.
 */
helper int enter(const struct event *event, const struct flow *flow)
{
	long refused = map_update(MAP(MAP_ELEPHANTS), &event->flow, event, BPF_NOEXIST);

	if (refused == ALREADY_THERE) {
		const struct event *standing = map_lookup(MAP(MAP_ELEPHANTS), &event->flow);

		if (standing && standing->time_ns >= flow->born_ns)
			return 0;
		refused = map_update(MAP(MAP_ELEPHANTS), &event->flow, event, BPF_ANY);
	}
	if (refused)
		count_stat(STAT_LOST_ELEPHANT);
	return 1;
}

/* Charge bytes of one direction to the flow's owner, or owners. */
helper void charge(const struct flow *flow, u32 direction, u64 packets, u64 bytes)
{
	struct counters *counters = counters_of(flow->charge[0]);

	if (counters)
		count_traffic(counters, flow, direction, packets, bytes);
	if (!flow->charge[1])
		return;
	counters = counters_of(flow->charge[1]);
	if (counters)
		count_traffic(counters, flow, direction, packets, bytes);
}

helper void charge_birth(struct flow *flow)
{
	struct counters *counters;

	if (flow->flags & (FLOW_LOCAL | FLOW_COUNTED | FLOW_OLD) || !is_conversation(flow->protocol))
		return;
	if (flow->charge[0] == CARRIER)
		return;
	counters = counters_of(flow->charge[0]);
	if (!counters)
		return;
	add(&counters->flows_born, 1);
	flow->flags |= FLOW_COUNTED;
}

helper void charge_end(const struct flow *flow, const struct config *config)
{
	u64 size = flow->bytes[ORIGINAL] + flow->bytes[REPLY];
	u32 slot = flow->charge[0] & SLOT_MASK;
	struct counters *counters;
	struct histograms *histograms;

	if (flow->flags & FLOW_LOCAL || flow->charge[0] == CARRIER || !is_conversation(flow->protocol))
		return;
	counters = counters_of(flow->charge[0]);
	if (!counters)
		return;
	if (flow->flags & FLOW_UNSIZED) {
		add(&counters->flows_ended, 1); /* whether it was a mouse is not known */
		return;
	}
	if (counters->tag != flow->charge[0])
		slot = UNATTRIBUTED;
	/* Before the counters, so that no reader finds an end that the histograms lack. */
	histograms = map_lookup(MAP(MAP_HISTOGRAMS), &slot);
	if (histograms)
		count_end(histograms, size, bpf_ktime_get_ns() - flow->born_ns);
	add(&counters->flows_ended, 1);
	if (size < config->mouse_bytes)
		add(&counters->mice_ended, 1);
}

#endif
