/* SPDX-License-Identifier: MIT */
#include "glob.h"

#include <string.h>

#define LEN(array) (sizeof(array) / sizeof((array)[0]))

/* ctype(3)'s depend on the locale.  Ranges: first and last, in pairs. */
static const struct {
	char name[8], ranges[9];
} classes[] = {
	{ "alnum", "09AZaz" },	 { "alpha", "AZaz" },
	{ "blank", "\t\t  " },	 { "cntrl", "\x01\x1f\x7f\x7f" },
	{ "digit", "09" },	 { "graph", "!~" },
	{ "lower", "az" },	 { "print", " ~" },
	{ "punct", "!/:@[`{~" }, { "space", "\t\r  " },
	{ "upper", "AZ" },	 { "xdigit", "09AFaf" },
};

/* A pattern that is being read. */
struct scan {
	const char *at, *end;
};

static bool in_class(const char *name, size_t len, unsigned char c)
{
	for (size_t i = 0; i < LEN(classes); i++) {
		if (strlen(classes[i].name) != len || memcmp(classes[i].name, name, len) != 0)
			continue;
		for (const char *r = classes[i].ranges; *r != '\0'; r += 2) {
			if ((unsigned char)r[0] <= c && c <= (unsigned char)r[1])
				return true;
		}
	}
	return false;
}

/* "[:alpha:]" at p->at, which moves behind it. */
static bool take_class(struct scan *p, unsigned char c, bool *hit)
{
	const char *name = p->at + 2, *end = name;

	if (p->end - p->at < 4 || p->at[0] != '[' || p->at[1] != ':')
		return false;
	while (end < p->end && *end >= 'a' && *end <= 'z')
		end++;
	if (p->end - end < 2 || end[0] != ':' || end[1] != ']')
		return false;
	*hit = *hit || in_class(name, (size_t)(end - name), c);
	p->at = end + 2;
	return true;
}

/* One character of a bracket, perhaps behind a backslash. */
static bool take_char(struct scan *p, unsigned char *out)
{
	if (p->at < p->end && *p->at == '\\')
		p->at++;
	if (p->at == p->end)
		return false;
	*out = (unsigned char)*p->at++;
	return true;
}

/* 'a' or "a-z"; a '-' that ends the bracket is one itself. */
static bool take_range(struct scan *p, unsigned char c, bool *hit)
{
	unsigned char from, to;

	if (!take_char(p, &from))
		return false;
	to = from;
	if (p->end - p->at >= 2 && p->at[0] == '-' && p->at[1] != ']') {
		p->at++;
		if (!take_char(p, &to))
			return false;
	}
	*hit = *hit || (from <= c && c <= to);
	return true;
}

/* What follows '['; false where no ']' ends it. */
static bool take_bracket(struct scan *p, unsigned char c, bool *matches)
{
	const struct scan before = *p;
	bool hit = false, negated = p->at < p->end && (*p->at == '!' || *p->at == '^'), first = true;

	p->at += negated;
	for (; p->at < p->end && (first || *p->at != ']'); first = false) {
		if (!take_class(p, c, &hit) && !take_range(p, c, &hit))
			break;
	}
	if (p->at >= p->end || *p->at != ']') {
		*p = before;
		return false;
	}
	p->at++;
	*matches = hit != negated;
	return true;
}

/* Anything but '*', against one byte; moves behind it. */
static bool match_one(struct scan *p, unsigned char c)
{
	char first = *p->at++;
	bool matches;

	if (first == '?')
		return true;
	if (first == '[' && take_bracket(p, c, &matches))
		return matches;
	if (first == '\\') {
		if (p->at == p->end)
			return false;
		first = *p->at++;
	}
	return (unsigned char)first == c;
}

bool glob_match(const char *pattern, size_t pattern_len, const char *s, size_t len)
{
	struct scan p = { pattern, pattern + pattern_len }, star = { NULL, NULL };
	const char *end = s + len, *again = s;

	for (;;) {
		if (p.at < p.end && *p.at == '*') {
			p.at++;
			star = p;
			again = s;
			continue;
		}
		if (s == end && p.at == p.end)
			return true;
		if (s < end && p.at < p.end && match_one(&p, (unsigned char)*s)) {
			s++;
			continue;
		}
		/* The last '*' takes one more. */
		if (star.at == NULL || again == end)
			return false;
		p = star;
		s = ++again;
	}
}
