/* SPDX-License-Identifier: GPL-2.0-only */
/* Adding to the counters of one owner. Pure: the caller finds them.
 *
 * Each CPU has its own counters, which the hooks share. On one CPU one hook may interrupt another, so every addition
 * is one instruction.
 */
#ifndef TRAFFIC_FOOTPRINT_COUNTING_H
#define TRAFFIC_FOOTPRINT_COUNTING_H

#include "histogram.h"
#include "state.h"

helper void add(u64 *to, u64 value)
{
	__sync_fetch_and_add(to, value);
}

/* `received`: as the owner of the counters sees it. */
helper void count_bytes(struct counters *counters, const struct flow *flow, u32 received, u64 packets, u64 bytes)
{
	if (flow->flags & FLOW_LOCAL) {
		add(&counters->local_bytes, bytes);
	} else if (received) {
		add(&counters->rx_bytes, bytes);
		add(&counters->rx_packets, packets);
		if (flow->elephant)
			add(&counters->rx_elephant_bytes, bytes);
	} else {
		add(&counters->tx_bytes, bytes);
		add(&counters->tx_packets, packets);
		if (flow->elephant)
			add(&counters->tx_elephant_bytes, bytes);
	}
}

helper void count_traffic(struct counters *counters, const struct flow *flow, u32 direction, u64 packets, u64 bytes)
{
	count_bytes(counters, flow, direction ^ (flow->flags & FLOW_FLIPPED ? 1 : 0), packets, bytes);
}

helper void count_end(struct histograms *histograms, u64 size, u64 lifetime_ns)
{
	add(&histograms->sizes[bucket_of(size)], 1);
	add(&histograms->lifetimes[bucket_of(lifetime_ns / 1000000)], 1);
}

#endif
