/* SPDX-License-Identifier: GPL-2.0-only */
/* One connection, several conntrack zones: which of its entries counts. The same rules as
 * nodeagent/sources/ctnetlink/zones.py. Until the first entry outside of zone 0 this costs one look-up per flow.
 */
#ifndef TRAFFIC_FOOTPRINT_ZONES_H
#define TRAFFIC_FOOTPRINT_ZONES_H

#include "kernel.h"
#include "maps.h"

#define ZONED 1u /* in the map `namespace`: whether there are several zones */

/* Without zones in the kernel there is no field. */
helper u16 zone_of(const void *ct)
{
	u16 zone = 0;

#ifdef CT_ZONE
	read_kernel(&zone, sizeof(zone), (const char *)ct + CT_ZONE);
#else
	(void)ct;
#endif
	return zone;
}

helper int there_are_zones(u16 zone)
{
	u32 slot = ZONED;
	u64 *zoned = map_lookup(MAP(MAP_NAMESPACE), &slot);

	if (!zoned)
		return 0;
	if (zone && !*zoned)
		*zoned = 1;
	return *zoned != 0;
}

/* The flow that counts for a name, while it lives. */
helper struct flow *living(const struct first *first)
{
	struct flow *flow = map_lookup(MAP(MAP_FLOWS), &first->flow);

	return flow && flow->born_ns == first->born_ns && !(flow->flags & FLOW_SHADOW) ? flow : 0;
}

/* The flow of another zone that counts for `name`; `found` becomes what the map says of it. */
helper struct flow *rival(const struct seed_key *name, u16 zone, struct first *found)
{
	const struct first *first = map_lookup(MAP(MAP_ZONES), name);

	if (!first || first->zone == zone)
		return 0;
	*found = *first;
	return living(first);
}

helper void put(const struct seed_key *name, const struct first *first)
{
	const struct first *standing = map_lookup(MAP(MAP_ZONES), name);

	if (standing && (first->lent || standing->flow != first->flow) && living(standing))
		return;
	if (map_update(MAP(MAP_ZONES), name, first, BPF_ANY))
		count_stat(STAT_LOST_ZONE);
}

helper void put_both(const struct tuples *tuples, const struct first *first)
{
	struct seed_key name;

	name_entered(&name, tuples);
	put(&name, first);
	name_left(&name, tuples);
	put(&name, first);
}

helper struct flow *rival_of(const struct tuples *tuples, u16 zone, struct first *found)
{
	struct seed_key name;
	struct flow *other;

	name_entered(&name, tuples);
	other = rival(&name, zone, found);
	if (other)
		return other;
	name_left(&name, tuples);
	return rival(&name, zone, found);
}

/* The flow's tuples are final. Returns whether what it carried until now is to be counted. */
helper int enter_zone(struct flow *flow, const struct entry *entry)
{
	u16 zone = zone_of(entry->ct);
	struct first first = {};
	struct tuples tuples;
	struct flow *other;

	if (!there_are_zones(zone))
		return 1;
	if (read_tuples(&tuples, entry->ct)) {
		count_stat(STAT_LOST_READ);
		return 1;
	}
	other = rival_of(&tuples, zone, &first);
	if (other && (other->stamp[0] || other->stamp[1] || !(flow->stamp[0] || flow->stamp[1]))) {
		flow->flags |= FLOW_SHADOW;
		first.lent = 1;
		put_both(&tuples, &first);
		return 0;
	}
	if (other) { /* it knew the connection under the node's address only */
		SHARED(other->flags) = other->flags | FLOW_SHADOW;
		flow->flags |= FLOW_COUNTED;
	}
	first.flow = (u64)entry->ct;
	first.born_ns = flow->born_ns;
	first.zone = zone;
	first.lent = 0;
	put_both(&tuples, &first);
	return !other;
}

/* Once a window: does the flow that counts in this one's place still live? If not, this one counts from now on. */
helper void go_on(struct flow *flow, const struct entry *entry)
{
	u16 zone = zone_of(entry->ct);
	struct first first = {};
	struct tuples tuples;

	if (read_tuples(&tuples, entry->ct)) {
		count_stat(STAT_LOST_READ);
		return;
	}
	if (rival_of(&tuples, zone, &first))
		return;
	SHARED(flow->flags) = (flow->flags & ~FLOW_SHADOW) | FLOW_HEIR;
	first.flow = (u64)entry->ct;
	first.born_ns = flow->born_ns;
	first.zone = zone;
	put_both(&tuples, &first);
}

helper void take_out(const struct seed_key *name, u64 key)
{
	const struct first *first = map_lookup(MAP(MAP_ZONES), name);

	if (first && (first->flow == key || first->lent || !living(first)))
		map_delete(MAP(MAP_ZONES), name);
}

/* The flow ends. */
helper void leave_zone(const struct entry *entry)
{
	struct seed_key name;
	struct tuples tuples;

	if (!there_are_zones(0) || read_tuples(&tuples, entry->ct))
		return;
	name_entered(&name, &tuples);
	take_out(&name, (u64)entry->ct);
	name_left(&name, &tuples);
	take_out(&name, (u64)entry->ct);
}

#endif
