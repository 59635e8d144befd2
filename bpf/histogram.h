/* SPDX-License-Identifier: GPL-2.0-only */
/* log2 histograms. Pure. */
#ifndef TRAFFIC_FOOTPRINT_HISTOGRAM_H
#define TRAFFIC_FOOTPRINT_HISTOGRAM_H

#include "state.h"

/* `step` when `value` needs more than `step` bits, else 0; for values below 2^63. It has no branch: the verifier
 * follows both ways of each, and two histograms of six branches exceeded its million instructions. The barrier keeps
 * the compiler from making a branch of it.
 */
helper u64 step_of(u64 value, u64 step)
{
	u64 excess = ((1ull << step) - 1) - value;

	__asm__ volatile("" : "+r"(excess));
	return (excess >> 63) * step;
}

/* Number of significant bits of `value`, which is below 2^63. */
helper u64 bit_length(u64 value)
{
	u64 length = 0;
	u64 step;

	step = step_of(value, 32);
	value >>= step;
	length += step;
	step = step_of(value, 16);
	value >>= step;
	length += step;
	step = step_of(value, 8);
	value >>= step;
	length += step;
	step = step_of(value, 4);
	value >>= step;
	length += step;
	step = step_of(value, 2);
	value >>= step;
	length += step;
	step = step_of(value, 1);
	value >>= step;
	return length + step + value;
}

helper u64 bucket_of(u64 value)
{
	u64 length;

	if (value >> (BUCKETS - 1))
		return BUCKETS - 1;
	length = bit_length(value);
	/* The verifier remembers the last comparison only, and only of the copy that becomes the index. */
	__asm__ volatile("" : "+r"(length));
	return length < BUCKETS ? length : BUCKETS - 1;
}

#endif
