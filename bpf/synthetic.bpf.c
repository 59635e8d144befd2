// SPDX-License-Identifier: GPL-2.0-only
/* The hooks' helpers over entries that this program makes up: for tests and benchmarks by BPF_PROG_RUN, on kernels
 * whose conntrack cannot be hooked. Everything beneath the hooks is the same: helpers, maps, verifier.
 *
 * `entries` holds what stands for nf_conn, at the running kernel's offsets, written by user space but for the
 * pointer to the namespace. `command` says what to do with which of them.
 */
#include "flows.h"

#define MAP_ENTRIES 101
#define MAP_COMMAND 102
#define MAP_NAMESPACES 103

#define ENTRY_SIZE 512
#define NAMESPACE_SIZE 512

enum what {
	WHAT_NOTHING, /* what the frame around costs */
	WHAT_ACCOUNT,
	WHAT_BIRTH,
	WHAT_DEATH,
	WHAT_NEXT_NEW, /* the first packet and the birth of one entry after the other */
	WHAT_MEET,     /* what a CPU does that has just not found the flow: another one may have met it since */
};

struct command {
	u32 what;
	u32 entry;
	u32 namespace;
	u32 direction;
	u32 packets;
	u32 bytes;
	u32 next;
	u32 entries;
};

int synthetic(void *context)
{
	u32 zero = 0;
	struct command *command = map_lookup(MAP(MAP_COMMAND), &zero);
	u32 entry;
	u32 namespace;
	struct entry given;
	u8 *ct;
	void *net;

	if (!command)
		return -1;
	entry = command->entry;
	if (command->what == WHAT_NEXT_NEW) {
		entry = command->next;
		command->next = entry + 1 < command->entries ? entry + 1 : 0;
	}
	namespace = command->namespace;
	ct = map_lookup(MAP(MAP_ENTRIES), &entry);
	net = map_lookup(MAP(MAP_NAMESPACES), &namespace);
	if (!ct || !net)
		return -1;
	*(u64 *)(ct + CT_NET) = (u64)net;
	if (command->what == WHAT_NOTHING)
		return 0;
	given = entry_given(ct);
	switch (command->what) {
	case WHAT_ACCOUNT:
		account(&given, command->direction, command->packets, command->bytes);
		break;
	case WHAT_BIRTH:
		settle_born(&given);
		break;
	case WHAT_DEATH:
		bury(&given);
		break;
	case WHAT_NEXT_NEW:
		account(&given, command->direction, command->packets, command->bytes);
		settle_born(&given);
		break;
	case WHAT_MEET:
		meet(&given, the_config(), given.status & STATUS_CONFIRMED);
		break;
	default:
		break;
	}
	return 0;
}
