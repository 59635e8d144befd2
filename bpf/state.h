/* SPDX-License-Identifier: GPL-2.0-only */
/* What the kernel keeps and user space reads. Each struct has one mirror, in nodeagent/sources/ebpf/kernel/layout.py,
 * and a test compares the two. No padding is left to the compiler: map keys and values must be whole.
 */
#ifndef TRAFFIC_FOOTPRINT_STATE_H
#define TRAFFIC_FOOTPRINT_STATE_H

#include "types.h"

#define ORIGINAL 0
#define REPLY 1

/* Network byte order; IPv4 as ::ffff:a.b.c.d. */
struct address {
	u32 word[4];
};

/* An owner is named by a tag: its slot in `counters` and `histograms` in the low bits, and above them the number
 * of owners that had the slot before. A flow keeps the tag of a pod that has left. Once another pod has the slot,
 * the tags differ, and it inherits no bytes.
 */
#define SLOT_BITS 12
#define SLOT_MASK ((1u << SLOT_BITS) - 1)
#define UNATTRIBUTED 0u
#define HOST 1u
#define CARRIER 2u /* tunnels' outer flows: what they carry has owners of its own */

/* Bits of flow.flags. */
#define FLOW_SETTLED (1u << 0) /* the tuples are final (after NAT), and the flow has owners */
#define FLOW_LOCAL (1u << 1)   /* both ends are on this node: the link is not used */
#define FLOW_FLIPPED (1u << 2) /* the owner is the responder: ORIGINAL is receive */
#define FLOW_COUNTED (1u << 3) /* its birth was counted; ICMP and flows that stay on the node have none */
#define FLOW_OLD (1u << 4)     /* it existed before it was first seen */
#define FLOW_UNSIZED (1u << 5) /* what it carried before is not known, so neither is its size */
#define FLOW_SHADOW (1u << 6)  /* another zone's entry of the same connection counts */
#define FLOW_HEIR (1u << 7)    /* that one ended, and was counted as a flow: this one's bytes go on */

/* Bits of flow.pace. */
#define PACE_FAST (1u << 0) /* the window before this one reached the elephants' rate */
#define PACE_SLOW (1u << 1) /* an elephant below the exit rate, since flow.slow_since */

/* `flows`: address of the kernel's nf_conn -> struct flow. Several CPUs may count one flow at once, so no two
 * stages write the same word: `flags`, `stamp` and `charge` belong to attribution, `pace`, `base`, `window` and
 * `slow_since` to the window's end, `elephant` to the elephant's two turns, and bytes are added atomically.
 */
struct flow {
	u64 bytes[2];   /* by direction, seeded history included */
	u64 base[2];    /* bytes when the window was opened */
	u64 born_ns;    /* monotonic */
	u32 packets[2]; /* by direction, until settled */
	u32 window;     /* jiffies when the window was opened */
	u32 slow_since; /* jiffies */
	u32 stamp[2];   /* tags of the pods that are initiator and responder; 0: none known */
	u32 charge[2];  /* tags that its bytes go to; [1] only where two pods of this node talk, else 0 */
	u32 generation; /* of the addresses, when they were last looked up */
	u8 flags;
	u8 pace;
	u8 elephant; /* 1 while it is one */
	u8 protocol;
};

/* `counters`: slot -> struct counters, one per CPU: cumulative since the slot got this tag. */
struct counters {
	u32 tag;
	u32 reserved;
	u64 tx_bytes;
	u64 rx_bytes;
	u64 tx_packets;
	u64 rx_packets;
	u64 tx_elephant_bytes;
	u64 rx_elephant_bytes;
	u64 local_bytes;
	u64 flows_born;
	u64 flows_ended;
	u64 mice_ended;
};

/* Bucket i counts values v with 2^(i-1) <= v < 2^i; bucket 0 is v = 0; the last takes everything larger. */
#define BUCKETS 40

/* `histograms`: slot -> struct histograms, shared by all CPUs (ends of flows are rare beside packets). */
struct histograms {
	u64 sizes[BUCKETS];     /* bytes of both directions */
	u64 lifetimes[BUCKETS]; /* milliseconds */
};

/* `config`: one entry, written by user space at any time. */
struct config {
	u64 elephant_bytes; /* both directions */
	u64 window_bytes;   /* what the elephants' rate carries in one window */
	u64 exit_bytes;     /* what the exit rate carries in one window */
	u64 mouse_bytes;
	u32 window;         /* jiffies, at least 1 */
	u32 exit_hold;      /* jiffies */
	u32 netns;          /* inode of the network namespace that counts */
	u32 generation;     /* changes whenever an address appears */
	u32 seeded;         /* connections that already existed have been written to `seeds` */
	u32 fingerprint;    /* of the program and its maps: another one cannot take them over */
	u64 salt;           /* of the keys, where those are hashes */
};

/* `seeds`: a connection's ORIGINAL tuple -> what it carried before it was first seen. */
struct seed_key {
	struct address source;
	struct address destination;
	u16 source_port; /* network byte order */
	u16 destination_port;
	u8 protocol;
	u8 reserved;
	u16 zone;
};

struct seed {
	u64 bytes[2];
	u64 born_ns; /* monotonic */
	u32 unsized; /* 1: the kernel did not count it, so `bytes` say nothing */
	u32 reserved;
};

/* `carriers`: which of the node's own flows are a tunnel's. The value says nothing. */
struct carrier {
	struct address remote; /* the other end; all zero: whoever it is */
	u16 port;              /* network byte order; 0 where the protocol has none */
	u8 protocol;
	u8 here; /* 1: the port is this node's, 0: the other end's */
};

/* `zones`: a connection's ends, as a packet of it enters or leaves a zone (struct seed_key without zone, the lesser
 * end first) -> the entry that counts.
 */
struct first {
	u64 flow; /* key in `flows` */
	u64 born_ns;
	u32 zone;
	u32 lent; /* 1: the name is a shadow's, and goes with it */
};

#define EVENT_BECAME 1
#define EVENT_CEASED 2

/* `events`: an elephant begins or ends. `elephants`: key in `flows` -> the event of its beginning, while it is one.
 * So user space misses no elephant when `events` was full, or was not read.
 */
struct event {
	u64 flow; /* key in `flows` */
	u64 time_ns;
	u64 bytes[2];
	struct address initiator; /* ORIG.src */
	struct address responder; /* REPLY.src */
	u16 initiator_port;       /* network byte order */
	u16 responder_port;
	u8 protocol;
	u8 kind;
	u8 reserved[2];
};

/* `owners`: slot -> its owner. Only user space writes and reads it: a successor learns whose counters these are. */
struct owner {
	u32 tag;
	u32 present; /* lives here now */
	char uid[120];
};

/* `stats`, one per CPU: what happened, and every way to lose something. */
enum stat {
	STAT_FLOWS_MET,         /* entries made in `flows` */
	STAT_FLOWS_BURIED,      /* entries taken out again */
	STAT_UNCONFIRMED,       /* connections whose first packet was dropped: nobody's bytes */
	STAT_BIRTHS,            /* runs of the birth hook in this namespace */
	STAT_BIRTHS_UNHEARD,    /* those before which the accounting hook had not been run for the connection */
	STAT_LOST_FLOW_REFUSED, /* `flows` took no entry: this packet's bytes are missing */
	STAT_LOST_FLOW_EVICTED, /* a flow came back, or ended, without the state it had */
	STAT_LOST_EVENT,        /* `events` was full: noticed later */
	STAT_LOST_ELEPHANT,     /* `elephants` was full: not noticed at all */
	STAT_LOST_READ,         /* kernel memory could not be read */
	STAT_LOST_OWNER,        /* bytes of a pod whose slot serves another one by now */
	STAT_LOST_END,          /* ends that were missed, noticed when the address served another connection */
	STAT_LOST_ZONE,         /* `zones` was full: the connection counts in each of its zones */
	STATS
};

#endif
