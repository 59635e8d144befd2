// SPDX-License-Identifier: GPL-2.0-only
/* The pure helpers as functions with addresses, for tests; and the layout as the compiler sees it. */
#include <stddef.h>

#include "attribution.h"
#include "counting.h"
#include "elephant.h"
#include "endpoints.h"

unsigned long long test_bit_length(unsigned long long value);
unsigned long long test_bit_length(unsigned long long value)
{
	return bit_length(value);
}

unsigned long long test_bucket_of(unsigned long long value);
unsigned long long test_bucket_of(unsigned long long value)
{
	return bucket_of(value);
}

void test_attribute(struct flow *flow, const struct ends *ends);
void test_attribute(struct flow *flow, const struct ends *ends)
{
	attribute(flow, ends);
}

void test_carrier_of(struct carrier *key, const struct tuples *tuples, const struct ends *ends, unsigned char here,
		     int any);
void test_carrier_of(struct carrier *key, const struct tuples *tuples, const struct ends *ends, unsigned char here,
		     int any)
{
	carrier_of(key, tuples, ends, here, any);
}

int test_may_be_carrier(const struct ends *ends);
int test_may_be_carrier(const struct ends *ends)
{
	return may_be_carrier(ends);
}

int test_is_v4_loopback(const struct address *address);
int test_is_v4_loopback(const struct address *address)
{
	return is_v4_loopback(address);
}

int test_is_conversation(unsigned char protocol);
int test_is_conversation(unsigned char protocol)
{
	return is_conversation(protocol);
}

int test_open_window(struct flow *flow, unsigned int now, const struct config *config);
int test_open_window(struct flow *flow, unsigned int now, const struct config *config)
{
	return (int)open_window(flow, now, config);
}

int test_judge(struct flow *flow, const struct config *config);
int test_judge(struct flow *flow, const struct config *config)
{
	return (int)judge(flow, config);
}

void test_count_traffic(struct counters *counters, const struct flow *flow, unsigned int direction,
			unsigned long long packets, unsigned long long bytes);
void test_count_traffic(struct counters *counters, const struct flow *flow, unsigned int direction,
			unsigned long long packets, unsigned long long bytes)
{
	count_traffic(counters, flow, direction, packets, bytes);
}

void test_count_end(struct histograms *histograms, unsigned long long size, unsigned long long lifetime_ns);
void test_count_end(struct histograms *histograms, unsigned long long size, unsigned long long lifetime_ns)
{
	count_end(histograms, size, lifetime_ns);
}

unsigned long long test_key_of(unsigned long long salt, const struct endpoints *ends);
unsigned long long test_key_of(unsigned long long salt, const struct endpoints *ends)
{
	return key_of(salt, ends);
}

unsigned long long test_note_key(unsigned long long salt, const struct address *address, unsigned short port,
				 unsigned char protocol);
unsigned long long test_note_key(unsigned long long salt, const struct address *address, unsigned short port,
				 unsigned char protocol)
{
	return note_key(salt, address, port, protocol);
}

void test_attribute_end(struct flow *flow, unsigned int mine, unsigned int other, unsigned int carrier);
void test_attribute_end(struct flow *flow, unsigned int mine, unsigned int other, unsigned int carrier)
{
	attribute_end(flow, mine, other, carrier);
}

int test_has_changed_hands(const struct flow *flow, unsigned int mine);
int test_has_changed_hands(const struct flow *flow, unsigned int mine)
{
	return has_changed_hands(flow, mine);
}

int test_called_from_afar(unsigned short local_port, unsigned short remote_port);
int test_called_from_afar(unsigned short local_port, unsigned short remote_port)
{
	return called_from_afar(local_port, remote_port);
}

/* Struct, field, offset, size; the field is empty for the struct as a whole. */
struct place {
	const char *structure;
	const char *field;
	unsigned long offset;
	unsigned long size;
};

#define WHOLE(structure) { #structure, "", 0, sizeof(struct structure) },
#define FIELD(structure, field) \
	{ #structure, #field, offsetof(struct structure, field), sizeof(((struct structure *)0)->field) },

const struct place test_layout[] = {
#include "fields.inc"
	{ 0, 0, 0, 0 },
};
