// SPDX-License-Identifier: GPL-2.0-only
/* The hooks: each takes the arguments of the kernel's call and passes them to the helpers.
 *
 * Which function carries each hook, and at which position its arguments are, is decided from the running
 * kernel's BTF (nodeagent/sources/ebpf/compiling/hooks.py) and arrives by -D:
 *   ACCOUNT_BY_ADD      nf_ct_acct_add(ct, dir, packets, bytes)
 *   ACCOUNT_BY_BYTES    __nf_ct_refresh_acct(ct, ctinfo, extra_jiffies, bytes)
 *   ACCOUNT_BY_SKB      __nf_ct_refresh_acct(ct, ctinfo, skb, extra_jiffies, do_acct)
 *   BIRTH_BY_SKB        __nf_conntrack_confirm(skb); otherwise the birth hook's first argument is the entry
 *   DEATH_BY_REFERENCE  nf_ct_destroy(nfct): the entry by its first member; otherwise by itself
 */
#include "flows.h"

int footprint_account(void *context)
{
	struct entry entry = entry_given((const void *)ARGUMENT(context, 0));
#if defined(ACCOUNT_BY_ADD)
	account(&entry, ARGUMENT(context, 1), ARGUMENT(context, 2), ARGUMENT(context, 3));
#elif defined(ACCOUNT_BY_BYTES)
	u32 bytes = ARGUMENT(context, 3);

	if (bytes) /* 0: the timeout is refreshed without a packet */
		account(&entry, (u32)ARGUMENT(context, 1) >= CTINFO_IS_REPLY, 1, bytes);
#elif defined(ACCOUNT_BY_SKB)
	const void *skb = (const void *)ARGUMENT(context, 2);

	if ((u8)ARGUMENT(context, 4))
		account(&entry, (u32)ARGUMENT(context, 1) >= CTINFO_IS_REPLY, 1, READ_FIELD(u32, skb, SKB_LENGTH));
#else
#error "how the accounting hook is called has not been decided"
#endif
	return 0;
}

int footprint_birth(void *context)
{
#ifdef BIRTH_BY_SKB
	u64 carried = READ_FIELD(u64, (const void *)ARGUMENT(context, 0), SKB_CONNTRACK);
	struct entry entry = entry_at((const void *)(carried & ~SKB_CONNTRACK_MASK));

	/* Neither a reply confirms an entry (one that refuses the first packet, say) nor the second of two copies. */
	if ((carried & SKB_CONNTRACK_MASK) >= CTINFO_IS_REPLY || entry.status & STATUS_CONFIRMED)
		return 0;
#else
	struct entry entry = entry_given((const void *)ARGUMENT(context, 0));
#endif
	settle_born(&entry);
	return 0;
}

int footprint_death(void *context)
{
	const void *ct = (const void *)ARGUMENT(context, 0);
#ifdef DEATH_BY_REFERENCE
	struct entry entry = entry_at(ct);
#else
	struct entry entry = entry_given(ct);
#endif
	bury(&entry);
	return 0;
}
