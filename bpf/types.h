/* SPDX-License-Identifier: GPL-2.0-only */
/* Fixed-width names, alike under a plain C compiler and under bcc. */
#ifndef TRAFFIC_FOOTPRINT_TYPES_H
#define TRAFFIC_FOOTPRINT_TYPES_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

/* Every helper is inlined into its hook: bcc places each function in a section of its own, and a call between
 * sections would have no target.
 */
#define helper static inline __attribute__((always_inline, unused))

/* A word that other CPUs write: read or written once, where it stands. */
#define SHARED(word) (*(volatile __typeof__(word) *)&(word))

/* Nothing is moved across it by the compiler. */
#define in_this_order() __asm__ volatile("" ::: "memory")

#endif
