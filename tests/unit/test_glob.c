/* SPDX-License-Identifier: MIT */
/* Patterns: by hand, and random ones against fnmatch(3) in the C locale. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "common/glob.h"

#define ROUNDS 400000

static bool match(const char *pattern, const char *s)
{
	return glob_match(pattern, strlen(pattern), s, strlen(s));
}

static void by_hand(void **state)
{
	static const struct {
		const char *pattern, *s;
		bool matches;
	} cases[] = {
		{ "", "", true },
		{ "", "a", false },
		{ "*", "", true },
		{ "***", "abc", true },
		{ "nginx", "nginx", true },
		{ "nginx", "nginx2", false },
		{ "*/nginx", "/usr/sbin/nginx", true },
		{ "/usr/*", "/usr/sbin/nginx", true },
		{ "*.[ch]", ".c", true },
		{ "a?c", "abc", true },
		{ "a?c", "ac", false },
		{ "[a-c]x", "bx", true },
		{ "[!a-c]x", "bx", false },
		{ "[^a-c]x", "dx", true },
		{ "[]a]", "]", true },
		{ "[!]a]", "]", false },
		{ "[a-]", "-", true },
		{ "[[:digit:]][[:upper:]]", "7Q", true },
		{ "[[:digit:]]", "a", false },
		{ "[![:space:]]", "\t", false },
		{ "[\\]]", "]", true },
		{ "[abc", "[abc", true },
		{ "[", "[", true },
		{ "\\*", "*", true },
		{ "\\*", "x", false },
		{ "a\\", "a\\", false },
		{ "*a*b*c", "xxaxxbxxc", true },
		{ "*aab", "aaaaaab", true },
		{ "\xff?", "\xff\xfe", true },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (match(cases[i].pattern, cases[i].s) != cases[i].matches)
			fail_msg("%s %s", cases[i].pattern, cases[i].s);
	}
}

/* Its time is bounded: no pattern makes it try for ever. */
static void hard_pattern(void **state)
{
	char s[8192], pattern[64] = "";

	memset(s, 'a', sizeof(s));
	for (int i = 0; i < 15; i++)
		strcat(pattern, "*a");
	strcat(pattern, "*b");
	assert_false(glob_match(pattern, strlen(pattern), s, sizeof(s)));
}

/* Bytes with a meaning, and few others, so that patterns match now and then. */
static void fill(char *out, const char *const *parts, size_t n, size_t max)
{
	size_t len = (size_t)random() % max;

	out[0] = '\0';
	for (size_t i = 0; i < len; i++)
		strcat(out, parts[(size_t)random() % n]);
}

/* What POSIX leaves open: equivalence classes and collating symbols, which are the locale's business, ranges
 * that start or end with a class; and brackets that end within a range, which glibc lets match nothing. */
static bool is_open(const char *pattern)
{
	size_t len = strlen(pattern);

	return strstr(pattern, "[.") != NULL || strstr(pattern, "[=") != NULL ||
	       strstr(pattern, "-[:") != NULL || strstr(pattern, ":]-") != NULL ||
	       (len > 0 && strchr("-\\", pattern[len - 1]) != NULL);
}

static void random_patterns(void **state)
{
	static const char *const pattern_parts[] = { "a", "b", "-", "]", "[", "*",	   "?",		"\\",
						     "!", "^", "/", ".", "z", "[:alpha:]", "[:punct:]", ":" };
	static const char *const text_parts[] = { "a", "b", "-", "]", "[", "z", "/", ".", "\\", "!", ":" };
	char pattern[256], s[64];
	unsigned matched = 0;

	srandom(1);
	for (int i = 0; i < ROUNDS; i++) {
		bool expected;

		fill(pattern, pattern_parts, sizeof(pattern_parts) / sizeof(pattern_parts[0]), 12);
		fill(s, text_parts, sizeof(text_parts) / sizeof(text_parts[0]), 6);
		if (is_open(pattern))
			continue;
		expected = fnmatch(pattern, s, 0) == 0;
		matched += expected;
		if (match(pattern, s) != expected)
			fail_msg("pattern '%s', text '%s': fnmatch says %d", pattern, s, expected);
	}
	assert_true(matched > ROUNDS / 1000);
}

static void classes(void **state)
{
	static const char *const names[] = { "alnum", "alpha", "blank", "cntrl", "digit", "graph",
					     "lower", "print", "punct", "space", "upper", "xdigit" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char pattern[32] = "[[:";

		strcat(strcat(pattern, names[i]), ":]]");
		for (int c = 1; c < 256; c++) {
			const char s[] = { (char)c, '\0' };

			if (match(pattern, s) != (fnmatch(pattern, s, 0) == 0))
				fail_msg("%s %d", names[i], c);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_hand),
		cmocka_unit_test(hard_pattern),
		cmocka_unit_test(random_patterns),
		cmocka_unit_test(classes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
