/* SPDX-License-Identifier: GPL-2.0-only */
/* The maps, by number. The loader creates them and replaces the numbers by descriptors
 * (nodeagent/sources/ebpf/kernel/maps.py lists the same numbers). So the compiler needs no privileges.
 */
#ifndef TRAFFIC_FOOTPRINT_MAPS_H
#define TRAFFIC_FOOTPRINT_MAPS_H

#include "attribution.h"
#include "counting.h"

#define MAP_CONFIG 1
#define MAP_FLOWS 2
#define MAP_ADDRESSES 3
#define MAP_COUNTERS 4
#define MAP_HISTOGRAMS 5
#define MAP_SEEDS 6
#define MAP_EVENTS 7
#define MAP_STATS 8
#define MAP_ELEPHANTS 9
#define MAP_NAMESPACE 10
/* 11: owners */
#define MAP_CARRIERS 12
/* 13: notes */
#define MAP_ZONES 14
/* 15: groups */

/* bpf_pseudo_fd is bcc's name for the compiler's map reference: 1 is the map, 2 the value of an array's only entry. */
#define MAP(number) ((void *)bpf_pseudo_fd(1, number))
#define ONLY_ENTRY(number) ((void *)bpf_pseudo_fd(2, number))

/* Kernel helpers by number: bcc's own names for them take its own map types. */
static void *(*map_lookup)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*map_update)(void *map, const void *key, const void *value, u64 flags) =
	(void *)BPF_FUNC_map_update_elem;
static long (*map_delete)(void *map, const void *key) = (void *)BPF_FUNC_map_delete_elem;
/* bcc replaces the helper it knows by name where the compiling process may not read /proc/kallsyms. */
static long (*read_kernel)(void *to, u32 size, const void *from) = (void *)BPF_FUNC_probe_read_kernel;

helper const struct config *the_config(void)
{
	return ONLY_ENTRY(MAP_CONFIG);
}

helper void count_stat(u32 stat)
{
	u64 *value = map_lookup(MAP(MAP_STATS), &stat);

	if (value)
		add(value, 1);
}

/* Counters of the owner, or of nobody when its slot has been given to another pod since. */
helper struct counters *counters_of(u32 tag)
{
	u32 slot = tag & SLOT_MASK;
	struct counters *counters = map_lookup(MAP(MAP_COUNTERS), &slot);

	if (counters && counters->tag == tag)
		return counters;
	count_stat(STAT_LOST_OWNER);
	slot = UNATTRIBUTED;
	return map_lookup(MAP(MAP_COUNTERS), &slot);
}

helper u32 owner_of(const struct address *address)
{
	const u32 *tag = map_lookup(MAP(MAP_ADDRESSES), address);

	if (tag)
		return *tag;
	return is_v4_loopback(address) ? HOST : 0;
}

#endif
