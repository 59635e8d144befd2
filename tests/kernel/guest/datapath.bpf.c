// SPDX-License-Identifier: GPL-2.0-only
/* What eBPF datapaths do with IPv4: packets leave the pods' devices, and reach them, without the node's stack. */
#include "types.h"

#define MAP_DEVICES 1 /* IPv4 address of a pod -> index of its device on the node; 0.0.0.0 -> the uplink's */
#define MAP(number) ((void *)bpf_pseudo_fd(1, number))
#define PASS 0 /* TC_ACT_OK */

static void *(*map_lookup)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*redirect_neigh)(u32 device, void *parameters, int length, u64 flags) =
	(void *)BPF_FUNC_redirect_neigh;
static long (*redirect_peer)(u32 device, u64 flags) = (void *)BPF_FUNC_redirect_peer;

helper const u32 *pods_device(struct __sk_buff *skb)
{
	const u8 *data = (const u8 *)(long)skb->data;
	u32 target;

	if (skb->protocol != __builtin_bswap16(0x0800) || data + 34 > (const u8 *)(long)skb->data_end)
		return 0;
	target = *(const u32 *)(data + 30);
	return target ? map_lookup(MAP(MAP_DEVICES), &target) : 0;
}

int from_pod(struct __sk_buff *skb)
{
	const u32 *device = pods_device(skb);
	u32 nowhere = 0;

	if (device)
		return redirect_peer(*device, 0);
	device = map_lookup(MAP(MAP_DEVICES), &nowhere);
	if (!device || skb->protocol != __builtin_bswap16(0x0800))
		return PASS;
	return redirect_neigh(*device, 0, 0, 0);
}

int from_uplink(struct __sk_buff *skb)
{
	const u32 *device = pods_device(skb);

	return device ? redirect_peer(*device, 0) : PASS;
}
