/* When a flow is an elephant: enough bytes, and a rate sustained over a window, with hysteresis on the way out.
 * Volume and rate only; packet sizes play no part. Pure.
 *
 * Each packet calls open_window() before its bytes are added and judge() after. Time is jiffies, 32 bits, which
 * may wrap. A flow is an elephant as soon as its window has carried what the rate demands of a whole window:
 * whatever follows, that window's average will do. So detection need not wait for the window's end.
 */
#ifndef TRAFFIC_FOOTPRINT_ELEPHANT_H
#define TRAFFIC_FOOTPRINT_ELEPHANT_H

#include "state.h"

enum turn {
	TURN_NONE,
	TURN_BECAME,
	TURN_CEASED,
};

/* Longest time that enters the arithmetic: with it, and at most 2^42 bytes a window, nothing overflows. */
#define LONGEST_ELAPSED (1u << 20)

helper u64 carried_in_window(const struct flow *flow)
{
	u64 original = flow->bytes[ORIGINAL] - flow->base[ORIGINAL];
	u64 reply = flow->bytes[REPLY] - flow->base[REPLY];

	return original > reply ? original : reply;
}

/* Whether `carried` bytes in `elapsed` jiffies are at least `per_window` bytes in `window` jiffies. */
helper int reaches(u64 carried, u32 elapsed, u64 per_window, u32 window)
{
	if (elapsed > LONGEST_ELAPSED)
		elapsed = LONGEST_ELAPSED;
	return carried * window >= per_window * elapsed;
}

/* Close the flow's window if it is over, and open the next. An elephant that has been slow for long enough
 * ceases here; one that sends nothing at all is noticed by user space.
 */
helper enum turn open_window(struct flow *flow, u32 now, const struct config *config)
{
	u32 elapsed = now - flow->window;
	enum turn turn = TURN_NONE;
	u64 carried;

	if (elapsed < config->window)
		return TURN_NONE;
	carried = carried_in_window(flow);
	if (flow->flags & FLOW_ELEPHANT) {
		if (reaches(carried, elapsed, config->exit_bytes, config->window)) {
			flow->flags &= ~FLOW_SLOW;
		} else {
			if (!(flow->flags & FLOW_SLOW)) {
				flow->flags |= FLOW_SLOW;
				flow->slow_since = flow->window;
			}
			if (now - flow->slow_since >= config->exit_hold) {
				flow->flags &= ~(FLOW_ELEPHANT | FLOW_SLOW | FLOW_FAST);
				turn = TURN_CEASED;
			}
		}
	}
	/* A window that was followed by silence is longer than it should be, and says nothing of the next. */
	if (elapsed < 2 * config->window && reaches(carried, elapsed, config->window_bytes, config->window))
		flow->flags |= FLOW_FAST;
	else
		flow->flags &= ~FLOW_FAST;
	flow->base[ORIGINAL] = flow->bytes[ORIGINAL];
	flow->base[REPLY] = flow->bytes[REPLY];
	flow->window = now;
	return turn;
}

helper enum turn judge(struct flow *flow, const struct config *config)
{
	if (flow->flags & FLOW_ELEPHANT)
		return TURN_NONE;
	if (flow->bytes[ORIGINAL] + flow->bytes[REPLY] < config->elephant_bytes)
		return TURN_NONE;
	if (!(flow->flags & FLOW_FAST) && carried_in_window(flow) < config->window_bytes)
		return TURN_NONE;
	flow->flags |= FLOW_ELEPHANT;
	flow->flags &= ~FLOW_SLOW;
	return TURN_BECAME;
}

#endif
