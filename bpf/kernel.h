/* SPDX-License-Identifier: GPL-2.0-only */
/* Reading the kernel's structures. Every offset comes from the running kernel's BTF, by -D:
 *   CT_STATUS CT_NET CT_ORIGINAL CT_REPLY              in struct nf_conn (the latter two: its tuples)
 *   CT_ZONE                                            the same, where the kernel has zones
 *   NET_INODE                                          in struct net
 *   TUPLE_SIZE TUPLE_SOURCE TUPLE_SOURCE_PORT TUPLE_FAMILY
 *   TUPLE_DESTINATION TUPLE_DESTINATION_PORT TUPLE_PROTOCOL   in struct nf_conntrack_tuple
 *   SKB_LENGTH SKB_CONNTRACK                           in struct sk_buff
 *   ARGUMENT_0 ... ARGUMENT_4                          in the hook's context
 * DIRECT_READS: the verifier knows the types of the hook's arguments (fentry), so loads from them need no helper.
 * That holds for arguments only, and only within the struct that the prototype names. The helper reads any other
 * address, and a struct nf_conntrack (the first member of nf_conn).
 */
#ifndef TRAFFIC_FOOTPRINT_KERNEL_H
#define TRAFFIC_FOOTPRINT_KERNEL_H

#include "attribution.h"
#include "maps.h"

#define STATUS_CONFIRMED (1u << 3) /* IPS_CONFIRMED: in the table, and NATed */
#define STATUS_TEMPLATE (1u << 11) /* IPS_TEMPLATE: a rule's pattern, no connection */
#define SKB_CONNTRACK_MASK 7ul     /* NFCT_INFOMASK: the low bits of skb->_nfct say how */
#define CTINFO_IS_REPLY 3          /* IP_CT_IS_REPLY: from here on, direction REPLY */

/* The n-th argument of the function that is hooked. */
#define ARGUMENT(context, n) (*(const u64 *)((const char *)(context) + ARGUMENT_##n))

#ifdef DIRECT_READS
#define READ_FIELD(type, pointer, offset) (*(const volatile type *)((const char *)(pointer) + (offset)))
#else
#define READ_FIELD(type, pointer, offset)                                                        \
	({                                                                                       \
		type value_ = 0;                                                                 \
		read_kernel(&value_, sizeof(value_), (const char *)(pointer) + (offset));        \
		value_;                                                                          \
	})
#endif

/* A struct nf_conn, and what every hook asks of it, read once. */
struct entry {
	const void *ct;
	u64 net;    /* address of its struct net; 0 when it could not be read */
	u32 status; /* the bits that matter are among the first 32 of a long */
};

/* An entry at any address. */
helper struct entry entry_at(const void *ct)
{
	struct entry entry = { .ct = ct };
#if CT_NET == CT_STATUS + 8
	u64 both[2] = {};

	read_kernel(both, sizeof(both), (const char *)ct + CT_STATUS);
	entry.status = both[0];
	entry.net = both[1];
#else
	u64 word = 0;

	read_kernel(&word, sizeof(word), (const char *)ct + CT_STATUS);
	entry.status = word;
	word = 0;
	read_kernel(&word, sizeof(word), (const char *)ct + CT_NET);
	entry.net = word;
#endif
	return entry;
}

/* An entry that is an argument declared as struct nf_conn. */
helper struct entry entry_given(const void *ct)
{
#ifdef DIRECT_READS
	struct entry entry = { .ct = ct };

	entry.status = READ_FIELD(u64, ct, CT_STATUS);
	entry.net = READ_FIELD(u64, ct, CT_NET);
	return entry;
#else
	return entry_at(ct);
#endif
}

helper u32 inode_of(u64 net)
{
	u32 inode = 0;

	read_kernel(&inode, sizeof(inode), (const char *)net + NET_INODE);
	return inode;
}

helper void take_address(struct address *address, const u8 *tuple, u32 at, u16 family)
{
	u32 word;

	if (family == AF_INET_FAMILY) {
		__builtin_memcpy(&word, tuple + at, sizeof(word));
		set_v4(address, word);
	} else {
		__builtin_memcpy(address, tuple + at, sizeof(*address));
	}
}

/* 0, or -1 when the kernel's memory could not be read. */
helper int read_tuples(struct tuples *tuples, const void *ct)
{
	u8 raw[TUPLE_SIZE] __attribute__((aligned(8)));
	u16 family;

	if (read_kernel(raw, sizeof(raw), (const char *)ct + CT_ORIGINAL))
		return -1;
	__builtin_memcpy(&family, raw + TUPLE_FAMILY, sizeof(family));
	take_address(&tuples->source, raw, TUPLE_SOURCE, family);
	take_address(&tuples->destination, raw, TUPLE_DESTINATION, family);
	__builtin_memcpy(&tuples->source_port, raw + TUPLE_SOURCE_PORT, sizeof(u16));
	__builtin_memcpy(&tuples->destination_port, raw + TUPLE_DESTINATION_PORT, sizeof(u16));
	tuples->protocol = raw[TUPLE_PROTOCOL];
	if (read_kernel(raw, sizeof(raw), (const char *)ct + CT_REPLY))
		return -1;
	take_address(&tuples->reply_source, raw, TUPLE_SOURCE, family);
	take_address(&tuples->reply_destination, raw, TUPLE_DESTINATION, family);
	__builtin_memcpy(&tuples->reply_source_port, raw + TUPLE_SOURCE_PORT, sizeof(u16));
	__builtin_memcpy(&tuples->reply_destination_port, raw + TUPLE_DESTINATION_PORT, sizeof(u16));
	return 0;
}

#endif
