/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_TEXT_H
#define PORTSHIM_TEXT_H

/*
 * Text in a caller's buffer without stdio, for code that runs in signal handlers.  Always
 * terminated; what does not fit is left out and makes `full` true.  Async-signal-safe.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
	char *buf;
	size_t size, len;
	bool full;
};

#define TEXT_IN(array)                                \
	{                                             \
		.buf = (array), .size = sizeof(array) \
	}

void text_add(struct text *t, const char *s);
void text_add_bytes(struct text *t, const char *s, size_t len);
void text_add_u64(struct text *t, uint64_t n);
void text_add_hex(struct text *t, uint64_t n);

/* Reads digits of base 10 or 16 at *p, moves *p behind them; false (and *p unmoved) where there are
 * none or the number does not fit. */
bool text_take_u64(const char **p, unsigned base, uint64_t *out);

#endif
