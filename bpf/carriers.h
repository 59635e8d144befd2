/* SPDX-License-Identifier: GPL-2.0-only */
/* Which of the node's own flows are a tunnel's outer ones. User space says so (nodeagent/node/tunnels.py). */
#ifndef TRAFFIC_FOOTPRINT_CARRIERS_H
#define TRAFFIC_FOOTPRINT_CARRIERS_H

#include "attribution.h"
#include "maps.h"

/* Asked when a flow gets its owners, never per packet. */
helper u32 is_carrier(const struct tuples *tuples, const struct ends *ends)
{
	struct carrier key;

	if (!may_be_carrier(ends))
		return 0;
	carrier_of(&key, tuples, ends, 1, 1);
	if (map_lookup(MAP(MAP_CARRIERS), &key))
		return 1;
	carrier_of(&key, tuples, ends, 0, 1);
	if (map_lookup(MAP(MAP_CARRIERS), &key))
		return 1;
	carrier_of(&key, tuples, ends, 1, 0);
	if (map_lookup(MAP(MAP_CARRIERS), &key))
		return 1;
	carrier_of(&key, tuples, ends, 0, 0);
	return map_lookup(MAP(MAP_CARRIERS), &key) ? 1 : 0;
}

#endif
