/* Adding to the counters of one owner. Pure: the caller finds them. */
#ifndef TRAFFIC_FOOTPRINT_COUNTING_H
#define TRAFFIC_FOOTPRINT_COUNTING_H

#include "histogram.h"
#include "state.h"

helper void count_traffic(struct counters *counters, u16 flags, u32 direction, u64 packets, u64 bytes)
{
	u32 received = direction ^ (flags & FLOW_FLIPPED ? 1 : 0);

	if (flags & FLOW_LOCAL) {
		counters->local_bytes += bytes;
	} else if (received) {
		counters->rx_bytes += bytes;
		counters->rx_packets += packets;
		if (flags & FLOW_ELEPHANT)
			counters->rx_elephant_bytes += bytes;
	} else {
		counters->tx_bytes += bytes;
		counters->tx_packets += packets;
		if (flags & FLOW_ELEPHANT)
			counters->tx_elephant_bytes += bytes;
	}
}

helper void count_end(struct histograms *histograms, u64 size, u64 lifetime_ns)
{
	__sync_fetch_and_add(&histograms->sizes[bucket_of(size)], 1);
	__sync_fetch_and_add(&histograms->lifetimes[bucket_of(lifetime_ns / 1000000)], 1);
}

#endif
