/* SPDX-License-Identifier: MIT */
#include "text.h"

#include <string.h>

void text_add_bytes(struct text *t, const char *s, size_t len)
{
	if (len >= t->size - t->len) {
		len = t->size - t->len - 1;
		t->full = true;
	}
	memcpy(t->buf + t->len, s, len);
	t->len += len;
	t->buf[t->len] = '\0';
}

void text_add(struct text *t, const char *s)
{
	text_add_bytes(t, s, strlen(s));
}

static void add_number(struct text *t, uint64_t n, unsigned base)
{
	char digits[20];
	size_t i = sizeof(digits);

	do {
		digits[--i] = "0123456789abcdef"[n % base];
		n /= base;
	} while (n != 0);
	text_add_bytes(t, digits + i, sizeof(digits) - i);
}

void text_add_u64(struct text *t, uint64_t n)
{
	add_number(t, n, 10);
}

void text_add_hex(struct text *t, uint64_t n)
{
	add_number(t, n, 16);
}

bool text_take_u64(const char **p, unsigned base, uint64_t *out)
{
	const char *s = *p;
	uint64_t n = 0;

	for (;; s++) {
		unsigned digit;

		if (*s >= '0' && *s <= '9')
			digit = (unsigned)(*s - '0');
		else if (base == 16 && *s >= 'a' && *s <= 'f')
			digit = (unsigned)(*s - 'a') + 10;
		else
			break;
		if (n > (UINT64_MAX - digit) / base)
			return false;
		n = n * base + digit;
	}
	if (s == *p)
		return false;
	*p = s;
	*out = n;
	return true;
}
