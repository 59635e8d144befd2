/* SPDX-License-Identifier: GPL-2.0-only */
/* When a flow is an elephant: enough bytes, and a rate sustained over a window, with hysteresis on the way out.
 * Volume and rate only; packet sizes play no part. Pure.
 *
 * Each packet calls open_window() before its bytes are added and judge() after. Time is jiffies, 32 bits, which may
 * wrap. A flow becomes an elephant as soon as its window has carried what the rate demands of a whole window. The
 * window's average suffices then, whatever follows, so detection does not wait for the window's end.
 */
#ifndef TRAFFIC_FOOTPRINT_ELEPHANT_H
#define TRAFFIC_FOOTPRINT_ELEPHANT_H

#include "state.h"

enum turn {
	TURN_NONE,
	TURN_BECAME,
	TURN_CEASED,
};

/* Another CPU may have opened the window a moment after this one looked at the clock. */
#define JIFFIES_AHEAD 256u

/* Longest time that enters the arithmetic: with it, and at most 2^42 bytes a window, nothing overflows. */
#define LONGEST_ELAPSED (1u << 20)

helper u64 most_of(u64 one, u64 other)
{
	return one > other ? one : other;
}

helper u64 carried_in_window(const struct flow *flow)
{
	return most_of(flow->bytes[ORIGINAL] - flow->base[ORIGINAL], flow->bytes[REPLY] - flow->base[REPLY]);
}

/* Whether `carried` bytes in `elapsed` jiffies are at least `per_window` bytes in `window` jiffies. */
helper int reaches(u64 carried, u32 elapsed, u64 per_window, u32 window)
{
	if (elapsed > LONGEST_ELAPSED)
		elapsed = LONGEST_ELAPSED;
	return carried * window >= per_window * elapsed;
}

/* Close the flow's window if it is over, and open the next. An elephant that has been slow for long enough ceases
 * here. User space notices an elephant that sends nothing at all.
 *
 * Two CPUs may find the same window over. Each reads what the window carried before it checks that the window is
 * still open, and the CPU that closes it writes that first. So both judge the same figures and write the same. Both
 * may return the turn: the caller reports it once.
 */
helper enum turn open_window(struct flow *flow, u32 now, const struct config *config)
{
	u32 opened = SHARED(flow->window);
	u32 elapsed = now - opened;
	u64 original;
	u64 reply;
	u64 carried;
	u32 slow_since;
	u8 before;
	u8 pace = 0;

	if ((u32)(elapsed + JIFFIES_AHEAD) < (u64)config->window + JIFFIES_AHEAD)
		return TURN_NONE;
	original = SHARED(flow->bytes[ORIGINAL]);
	reply = SHARED(flow->bytes[REPLY]);
	before = SHARED(flow->pace);
	slow_since = before & PACE_SLOW ? SHARED(flow->slow_since) : opened;
	carried = most_of(original - SHARED(flow->base[ORIGINAL]), reply - SHARED(flow->base[REPLY]));
	in_this_order();
	if (SHARED(flow->window) != opened)
		return TURN_NONE;
	SHARED(flow->window) = now;
	in_this_order();
	SHARED(flow->base[ORIGINAL]) = original;
	SHARED(flow->base[REPLY]) = reply;
	/* Silence made this window longer than it should be; it says nothing about the next one. */
	if (elapsed < 2 * config->window && reaches(carried, elapsed, config->window_bytes, config->window))
		pace = PACE_FAST;
	if (!flow->elephant || reaches(carried, elapsed, config->exit_bytes, config->window)) {
		SHARED(flow->pace) = pace;
		return TURN_NONE;
	}
	if (now - slow_since < config->exit_hold) {
		SHARED(flow->slow_since) = slow_since;
		SHARED(flow->pace) = pace | PACE_SLOW;
		return TURN_NONE;
	}
	SHARED(flow->pace) = 0;
	in_this_order(); /* last, so that the bytes until now cannot make it one again */
	SHARED(flow->elephant) = 0;
	return TURN_CEASED;
}

/* Two CPUs may both see it become one: the caller reports it once. */
helper enum turn judge(struct flow *flow, const struct config *config)
{
	if (flow->elephant)
		return TURN_NONE;
	if (flow->bytes[ORIGINAL] + flow->bytes[REPLY] < config->elephant_bytes)
		return TURN_NONE;
	if (!(flow->pace & PACE_FAST) && carried_in_window(flow) < config->window_bytes)
		return TURN_NONE;
	SHARED(flow->elephant) = 1;
	return TURN_BECAME;
}

#endif
