/* SPDX-License-Identifier: MIT */
/* Rules from all places where they can be given: their order, their names, the short forms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ruleset.h"
#include "util.h"

#define RULESET CLEANUP(ruleset_free) struct ruleset

static void assert_makes(struct ruleset *s, const char *environment, const char *expected)
{
	CLEANUP_FREE void *room = NULL;
	struct rules rules;
	int ret = ruleset_make(s, environment);

	if (ret != 0)
		fail_msg("%s", s->why != NULL ? s->why : strerror(-ret));
	assert_string_equal(s->text, expected);
	assert_int_equal(s->len, strlen(expected));
	assert_int_equal(ruleset_rules(s, &room, &rules), 0);
	for (size_t i = 0; i < rules.n; i++)
		assert_true(rules.rules[i].source.len > 0);
}

static void nothing(void **state)
{
	RULESET s = { 0 };

	assert_makes(&s, NULL, "");
}

static void order(void **state)
{
	char path[] = "/tmp/portshim-rules-XXXXXX", expected[1024];
	CLEANUP_CLOSE int fd = mkstemp(path);
	RULESET s = { 0 };

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "\nbind -> pass", 13), 13);
	assert_int_equal(ruleset_give(&s, RULESET_CLOEXEC, NULL), 0);
	assert_int_equal(ruleset_give(&s, RULESET_FILE, path), 0);
	assert_int_equal(ruleset_give(&s, RULESET_SHARE, NULL), 0);
	assert_int_equal(ruleset_give(&s, RULESET_RULE, "send -> pass"), 0);
	assert_int_equal(ruleset_give(&s, RULESET_FILE, path), 0);
	assert_int_equal(ruleset_give(&s, RULESET_RULE, "listen -> pass; accept -> pass"), 0);
	snprintf(expected, sizeof(expected),
		 "#: -r #1\nsend -> pass\n#: -r #2\nlisten -> pass\n#: -r #2\naccept -> pass\n"
		 "#: %s:2\nbind -> pass\n#: %s:2\nbind -> pass\n"
		 "#: --cloexec\nbind -> cloexec\n#: --cloexec\nlisten -> cloexec\n#: --share\nbind -> "
		 "reuseport\n"
		 "#: PORTSHIM_RULES:1\nconnect -> deny EPERM\n",
		 path, path);
	assert_makes(&s, "connect -> deny EPERM", expected);
	unlink(path);
}

static const struct {
	enum ruleset_origin origin;
	const char *argument, *name, *rules[4];
} forms[] = {
	{ RULESET_SHARE, NULL, "--share", { "bind -> reuseport" } },
	{ RULESET_SHARE, "80,90-99", "--share=80,90-99", { "bind port 80,90-99 -> reuseport" } },
	{ RULESET_DENY, "80", "--deny 80", { "bind port 80 -> deny EACCES" } },
	{ RULESET_CLOEXEC, NULL, "--cloexec", { "bind -> cloexec", "listen -> cloexec" } },
	{ RULESET_REDIRECT,
	  "80=8080",
	  "--redirect 80=8080",
	  { "bind port 80 -> redirect :8080", "connect port 80 -> redirect :8080",
	    "send port 80 -> redirect :8080" } },
	{ RULESET_REDIRECT,
	  "80-90=:+1000",
	  "--redirect 80-90=:+1000",
	  { "bind port 80-90 -> redirect :+1000", "connect port 80-90 -> redirect :+1000",
	    "send port 80-90 -> redirect :+1000" } },
	{ RULESET_REDIRECT,
	  "0.0.0.0=127.0.0.1",
	  "--redirect 0.0.0.0=127.0.0.1",
	  { "bind addr 0.0.0.0 -> redirect 127.0.0.1", "connect addr 0.0.0.0 -> redirect 127.0.0.1",
	    "send addr 0.0.0.0 -> redirect 127.0.0.1" } },
	{ RULESET_REDIRECT,
	  "::=[::1]:80",
	  "--redirect ::=[::1]:80",
	  { "bind addr :: -> redirect [::1]:80", "connect addr :: -> redirect [::1]:80",
	    "send addr :: -> redirect [::1]:80" } },
	{ RULESET_REDIRECT,
	  "1.2.3.4:80,81=unix:/a=b c",
	  "--redirect 1.2.3.4:80,81=unix:/a=b c",
	  { "bind addr 1.2.3.4 port 80,81 -> redirect \"unix:/a=b c\"",
	    "connect addr 1.2.3.4 port 80,81 -> redirect \"unix:/a=b c\"",
	    "send addr 1.2.3.4 port 80,81 -> redirect \"unix:/a=b c\"" } },
	{ RULESET_REDIRECT,
	  "[fe80::1]:80=1",
	  "--redirect [fe80::1]:80=1",
	  { "bind addr fe80::1 port 80 -> redirect :1", "connect addr fe80::1 port 80 -> redirect :1",
	    "send addr fe80::1 port 80 -> redirect :1" } },
};

static void short_forms(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		char expected[1024] = "";
		size_t len = 0;
		RULESET s = { 0 };

		for (size_t j = 0; forms[i].rules[j] != NULL; j++)
			len += (size_t)snprintf(expected + len, sizeof(expected) - len, "#: %s\n%s\n",
						forms[i].name, forms[i].rules[j]);
		assert_int_equal(ruleset_give(&s, forms[i].origin, forms[i].argument), 0);
		assert_makes(&s, NULL, expected);
	}
}

static void mistakes(void **state)
{
	RULESET s = { 0 }, t = { 0 };

	assert_int_equal(ruleset_give(&s, RULESET_RULE, "bind -> pass"), 0);
	assert_int_equal(ruleset_give(&s, RULESET_RULE, "bind -> pass\nlisten -> reuseport"), 0);
	assert_int_equal(ruleset_make(&s, NULL), -EINVAL);
	assert_string_equal(s.why, "-r #2:2:11: reuseport: not for listen, only for bind");
	assert_int_equal(ruleset_make(&t, "bind ->"), -EINVAL);
	assert_non_null(strstr(t.why, "PORTSHIM_RULES:1:8: "));
}

static void users(void **state)
{
	RULESET s = { 0 };
	uid_t uid = 12345;

	assert_true(ruleset_uid("root", &uid));
	assert_int_equal(uid, 0);
	assert_false(ruleset_uid("no such user", &uid));
	assert_int_equal(ruleset_give(&s, RULESET_RULE, "bind uid root not uid 33 -> pass"), 0);
	assert_makes(&s, NULL, "#: -r #1\nbind uid 0 not uid 33 -> pass\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing),  cmocka_unit_test(order), cmocka_unit_test(short_forms),
		cmocka_unit_test(mistakes), cmocka_unit_test(users),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
