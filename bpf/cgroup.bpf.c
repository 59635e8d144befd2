// SPDX-License-Identifier: GPL-2.0-only
/* The hooks at the sockets of a cgroup: each passes on what the kernel gives it, and changes no verdict.
 *
 *   cgroup_egress, cgroup_ingress   every packet of every socket below the cgroup (cgroup_skb)
 *   cgroup_end                      a TCP socket changes its state (raw tracepoint inet_sock_set_state)
 *   cgroup_sweep                    run by user space: flows that have been idle for too long
 *
 * Offsets come from the running kernel's BTF, by -D:
 *   SOCK_FAMILY SOCK_PROTOCOL SOCK_LOCAL SOCK_REMOTE SOCK_LOCAL_V6 SOCK_REMOTE_V6 SOCK_LOCAL_PORT SOCK_REMOTE_PORT
 */
#include "sockets.h"

#define PASS 1 /* what every cgroup_skb program here answers */
#define CLOSED 7 /* TCP_CLOSE */
#define INET6_FAMILY 10

int cgroup_egress(struct __sk_buff *skb)
{
	count_packet(skb, 0);
	return PASS;
}

int cgroup_ingress(struct __sk_buff *skb)
{
	count_packet(skb, 1);
	return PASS;
}

#define READ_SOCKET(to, socket, offset) read_kernel(&(to), sizeof(to), (const char *)(socket) + (offset))

/* arguments: the socket, its old state, its new one */
int cgroup_end(const u64 *arguments)
{
	const void *socket = (const void *)arguments[0];
	const struct config *config = the_config();
	struct endpoints ends = { .protocol = TCP_PROTOCOL };
	u16 family = 0;
	u16 protocol = 0;
	u32 word = 0;
	u64 key;
	struct flow *flow;

	if ((int)arguments[2] != CLOSED)
		return 0;
	READ_SOCKET(protocol, socket, SOCK_PROTOCOL);
	READ_SOCKET(family, socket, SOCK_FAMILY);
	if (protocol != TCP_PROTOCOL)
		return 0;
	if (family == AF_INET_FAMILY) {
		READ_SOCKET(word, socket, SOCK_LOCAL);
		set_v4(&ends.local, word);
		READ_SOCKET(word, socket, SOCK_REMOTE);
		set_v4(&ends.remote, word);
	} else if (family == INET6_FAMILY) {
		READ_SOCKET(ends.local, socket, SOCK_LOCAL_V6);
		READ_SOCKET(ends.remote, socket, SOCK_REMOTE_V6);
	} else {
		return 0;
	}
	READ_SOCKET(ends.local_port, socket, SOCK_LOCAL_PORT);
	READ_SOCKET(ends.remote_port, socket, SOCK_REMOTE_PORT);
	key = key_of(config->salt, &ends);
	flow = map_lookup(MAP(MAP_FLOWS), &key);
	if (flow)
		part(flow, key, config);
	return 0;
}

/* As nodeagent/sources/cgroup/idle.py packs them, behind what stands for an Ethernet header. */
struct idle {
	u64 key;
	u32 limit;   /* jiffies */
	u32 forgets; /* 1: it goes without counting as ended, for its socket may still be there */
};
#define SWEPT_AT 16
#define SWEPT_AT_ONCE 64

/* Returns the clock by which flows age, in jiffies. */
int cgroup_sweep(struct __sk_buff *skb)
{
	const struct config *config = the_config();
	u8 *data = (u8 *)(long)skb->data;
	const u8 *end = (const u8 *)(long)skb->data_end;
	u32 now = bpf_jiffies64();

	for (int i = 0; i < SWEPT_AT_ONCE; i++) {
		struct idle *idle = (struct idle *)(data + SWEPT_AT) + i;
		struct flow *flow;
		u64 key;

		if ((const u8 *)(idle + 1) > end)
			break;
		key = idle->key;
		flow = map_lookup(MAP(MAP_FLOWS), &key);
		if (!flow || now - SHARED(flow->window) < idle->limit)
			continue;
		if (!idle->forgets) {
			part(flow, key, config);
			continue;
		}
		if (flow->elephant)
			cease(key);
		map_delete(MAP(MAP_FLOWS), &key);
		count_stat(STAT_FLOWS_BURIED);
	}
	return now;
}
