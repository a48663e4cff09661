/* SPDX-License-Identifier: MIT */
/* The rule language: what is understood, what is refused and how, what rules decide. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rules.h"
#include "rule_text.h"
#include "try.h"
#include "util.h"

/* A text parsed, in memory of just the size that is needed, for the sanitizer to see a step beyond. */
struct parsed {
	char *text;
	void *room;
	int ret;
	struct rules rules;
	struct rules_error error;
};

static void parsed_free(struct parsed *p)
{
	free(p->text);
	free(p->room);
}

#define PARSED CLEANUP(parsed_free) struct parsed

static bool some_user(const char *name, uid_t *out)
{
	if (strcmp(name, "some user") != 0 && strcmp(name, "web") != 0)
		return false;
	*out = 33;
	return true;
}

static struct parsed parse_named(const char *text, size_t len, const char *name, rules_uid *uid_of)
{
	struct parsed p = { .text = malloc(len > 0 ? len : 1), .room = malloc(rules_room(len)) };

	assert_non_null(p.text);
	assert_non_null(p.room);
	if (len > 0)
		memcpy(p.text, text, len);
	p.rules.n = 12345;
	p.ret = rules_parse(p.text, len, name, uid_of, p.room, &p.rules, &p.error);
	if (p.ret < 0)
		assert_int_equal(p.rules.n, 12345);
	return p;
}

static struct parsed parse(const char *text)
{
	return parse_named(text, strlen(text), NULL, some_user);
}

/* All rules, a line each. */
static char *written(const struct rules *rules)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	for (size_t i = 0; i < rules->n; i++) {
		rule_put(&rules->rules[i], f);
		fputc('\n', f);
	}
	assert_int_equal(fclose(f), 0);
	return text;
}

/* ---- what is understood ---- */

#define LONG_NAME                                                                                            \
	"/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456" \
	"789"                                                                                                \
	"01234"

static const struct {
	const char *text, *canonical; /* NULL: the text itself */
} good[] = {
	/* Nothing, blanks, comments, separators. */
	{ "", "" },
	{ "\n\n", "" },
	{ "  \t ;;\r\n; # bind -> nonsense \"", "" },
	{ "#", "" },
	{ "bind -> pass", "bind -> pass\n" },
	{ "bind->pass", "bind -> pass\n" },
	{ " bind\t->\tpass ", "bind -> pass\n" },
	{ "bind -> pass;listen -> pass", "bind -> pass\nlisten -> pass\n" },
	{ "bind -> pass # a comment; bind\nlisten -> pass\r\n", "bind -> pass\nlisten -> pass\n" },
	{ "bind -> pass#x", "bind -> pass\n" },
	{ "bind port 80->reuseport,cloexec;", "bind port 80 -> reuseport, cloexec\n" },
	{ "bind -> reuseport , cloexec", "bind -> reuseport, cloexec\n" },

	/* Calls. */
	{ "bind -> deny\nlisten -> deny\nconnect -> deny\naccept -> deny\nsend -> deny",
	  "bind -> deny EACCES\nlisten -> deny EACCES\nconnect -> deny EACCES\naccept -> deny EACCES\n"
	  "send -> deny EACCES\n" },

	/* Matchers. */
	{ "bind tcp udp unix ipv4 ipv6 -> pass", NULL },
	{ "bind not tcp not port 80 -> pass", NULL },
	{ "bind addr 0.0.0.0 -> pass", NULL },
	{ "bind addr 0.0.0.0/0 -> pass", NULL },
	{ "bind addr 10.1.2.3/8 -> pass", NULL },
	{ "bind addr 10.1.2.3/32 -> pass", "bind addr 10.1.2.3 -> pass\n" },
	{ "bind addr :: -> pass", NULL },
	{ "bind addr ::/0 -> pass", NULL },
	{ "bind addr 2001:DB8:0:0::1/64 -> pass", "bind addr 2001:db8::1/64 -> pass\n" },
	{ "bind addr ::1/128 -> pass", "bind addr ::1 -> pass\n" },
	{ "bind addr ::ffff:10.0.0.1 -> pass", "bind addr 10.0.0.1 -> pass\n" },
	{ "bind addr ::ffff:0:0/96 -> pass", "bind addr 0.0.0.0/0 -> pass\n" },
	{ "bind addr ::ffff:0:0/95 -> pass", "bind addr ::ffff:0.0.0.0/95 -> pass\n" },
	{ "bind port 0 -> pass", NULL },
	{ "bind port 65535 -> pass", NULL },
	{ "bind port 80,443,8000-8010 -> pass", NULL },
	{ "bind port 5-5,0080 -> pass", "bind port 5,80 -> pass\n" },
	{ "bind path /run/*.sock -> pass", NULL },
	{ "bind path @x[0-9]? -> pass", NULL },
	{ "bind exe nginx arg -g exe /usr/bin/python3* -> pass", NULL },
	{ "bind exe \"nginx\" -> pass", "bind exe nginx -> pass\n" },
	{ "bind exe \"/opt/my app\" arg \"a,b\" arg \"a;b\" arg \"a#b\" arg \"a->b\" arg \"a\tb\" -> pass",
	  NULL },
	{ "bind arg \"say \\\"hi\\\"\" -> pass", NULL },
	{ "bind arg \"a\\\\*\" -> pass", "bind arg a\\* -> pass\n" },
	{ "bind arg a\\* arg \"\\\\ \\\"\" -> pass", NULL },
	{ "bind arg \"\" -> pass", NULL },
	{ "bind arg /opt/\"my app\"/x\"\" -> pass", "bind arg \"/opt/my app/x\" -> pass\n" },
	{ "bind exe not arg pass arg bind -> pass", NULL },
	{ "bind arg -- arg a- arg > -> pass", NULL },
	{ "bind uid 0 uid 4294967294 -> pass", NULL },
	{ "bind uid web not uid \"some user\" -> pass", "bind uid 33 not uid 33 -> pass\n" },

	/* Actions. */
	{ "bind -> reuseport", NULL },
	{ "bind -> adopt", NULL },
	{ "bind -> adopt web", NULL },
	{ "bind -> adopt \"pass\"", "bind -> adopt pass\n" },
	{ "bind -> adopt \"\"", NULL },
	{ "bind -> deny", "bind -> deny EACCES\n" },
	{ "bind -> deny EADDRINUSE", NULL },
	{ "bind -> cloexec, pass", NULL },
	{ "listen -> backlog 0", NULL },
	{ "listen -> backlog 2147483647, cloexec, set SO_KEEPALIVE=1", NULL },
	{ "bind -> set SO_KEEPALIVE=1, set IP_TOS=0x10, set SO_LINGER=-1, set SO_RCVTIMEO=500",
	  "bind -> set SO_KEEPALIVE=1, set IP_TOS=16, set SO_LINGER=-1, set SO_RCVTIMEO=500\n" },
	{ "bind -> set SO_MARK=-2147483648, set SO_PRIORITY=2147483647", NULL },
	{ "bind -> set TCP_CONGESTION=bbr, set SO_BINDTODEVICE=eth0.10", NULL },
	{ "bind -> set \"SO_BINDTODEVICE=a b\"", NULL },
	{ "bind -> set SO_BINDTODEVICE=a=b", NULL },
	{ "bind -> redirect 127.0.0.1", NULL },
	{ "bind -> redirect ::1", NULL },
	{ "bind -> redirect ::", NULL },
	{ "bind -> redirect :8080", NULL },
	{ "bind -> redirect :0", NULL },
	{ "bind -> redirect :+1000", NULL },
	{ "bind -> redirect :-65535", NULL },
	{ "bind -> redirect 127.0.0.1:80", NULL },
	{ "bind -> redirect 127.0.0.1:0", NULL },
	{ "bind -> redirect [::1]:80", NULL },
	{ "bind -> redirect [::ffff:1.2.3.4]:80", NULL },
	{ "bind -> redirect ::1:80", "bind -> redirect ::0.1.0.128\n" },
	{ "bind -> redirect unix:/run/x.sock", NULL },
	{ "bind -> redirect unix:@x", NULL },
	{ "bind -> redirect \"unix:/run/a b\"", NULL },
	{ "bind -> redirect unix:\"/run/a b\"", "bind -> redirect \"unix:/run/a b\"\n" },
	{ "bind -> redirect unix:" LONG_NAME "1", NULL },
	{ "connect -> redirect :1, unmasked", NULL },
	{ "send -> unmasked, redirect :1", NULL },
};

static void check_good(const char *text, const char *canonical)
{
	PARSED p = parse(text);
	CLEANUP_FREE char *out = NULL, *again = NULL;

	if (p.ret != 0)
		fail_msg("%s: %u:%u: %s", text, p.error.line, p.error.column, p.error.text);
	out = written(&p.rules);
	assert_string_equal(out, canonical);

	PARSED q = parse(out);

	assert_int_equal(q.ret, 0);
	again = written(&q.rules);
	assert_string_equal(again, out);
}

static void understood(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		char line[512];

		snprintf(line, sizeof(line), "%s\n", good[i].text);
		check_good(good[i].text, good[i].canonical != NULL ? good[i].canonical : line);
	}
}

static void every_option(void **state)
{
	const struct rule_option *o;
	char text[128];
	uint16_t n = 0;

	for (; (o = rule_option(n)) != NULL; n++) {
		snprintf(text, sizeof(text), "bind -> set %s=1\n", o->name);
		check_good(text, text);
	}
	assert_int_equal(n, RULE_OPTIONS);
	assert_null(rule_option(UINT16_MAX));
}

static void every_errno(void **state)
{
	const struct rule_errno *e;
	char text[128];

	for (size_t i = 0; (e = rule_errno(i)) != NULL; i++) {
		PARSED p = { 0 };

		snprintf(text, sizeof(text), "bind -> deny %s\n", e->name);
		check_good(text, text);
		p = parse(text);
		assert_int_equal(p.rules.rules[0].actions[0].error, e->number);
	}
}

/* What the parsed thing says, where the text of it would not show. */
static void values(void **state)
{
	PARSED p = parse("bind addr 10.0.0.0/8 -> redirect unix:@ab\nbind uid web exe \"a\\\\b\" -> "
			 "set SO_LINGER=5, set TCP_CONGESTION=bbr\nlisten -> backlog 7");
	const struct rule *r = p.rules.rules;

	assert_int_equal(p.ret, 0);
	assert_int_equal(p.rules.n, 3);
	assert_int_equal(p.rules.calls, 1u << RULE_BIND | 1u << RULE_LISTEN);
	assert_int_equal(r[0].matches[0].addr.bits, 104);
	assert_true(IN6_IS_ADDR_V4MAPPED(&r[0].matches[0].addr.ip));
	assert_int_equal(r[0].actions[0].where.name.len, 3);
	assert_memory_equal(r[0].actions[0].where.name.at, "\0ab", 3);
	assert_int_equal(r[1].matches[0].uid, 33);
	assert_int_equal(r[1].matches[1].glob.len, 3);
	assert_memory_equal(r[1].matches[1].glob.at, "a\\b", 3);
	assert_int_equal(r[1].actions[0].set.value, 5);
	assert_int_equal(rule_option(r[1].actions[0].set.option)->type, OPTION_LINGER);
	assert_int_equal(rule_option(r[1].actions[1].set.option)->type, OPTION_TEXT);
	assert_memory_equal(r[1].actions[1].set.text.at, "bbr", 3);
	assert_int_equal(r[2].actions[0].backlog, 7);
	assert_int_equal(r[1].line, 2);
	assert_int_equal(r[2].text.len, strlen("listen -> backlog 7"));
}

static void assert_text(struct rule_text t, const char *expected)
{
	assert_int_equal(t.len, strlen(expected));
	assert_memory_equal(t.at, expected, t.len);
}

static void sources(void **state)
{
	static const char text[] = "#: -r #1\nbind -> pass\n#: a file: 7\nlisten -> pass; send -> pass\n"
				   "accept -> pass\n #: no\nbind -> pass\n#: far\n\nbind -> pass";
	PARSED p = parse(text);

	assert_int_equal(p.ret, 0);
	assert_int_equal(p.rules.n, 6);
	assert_text(p.rules.rules[0].source, "-r #1");
	assert_text(p.rules.rules[1].source, "a file: 7");
	assert_text(p.rules.rules[2].source, "a file: 7");
	for (int i = 3; i < 6; i++)
		assert_int_equal(p.rules.rules[i].source.len, 0);

	PARSED q = parse_named(text, strlen(text), "PORTSHIM_RULES", NULL);

	assert_int_equal(q.ret, 0);
	assert_text(q.rules.rules[0].source, "PORTSHIM_RULES:2");
	assert_text(q.rules.rules[5].source, "PORTSHIM_RULES:10");
}

/* ---- what is refused ---- */

#define CALLS "bind, listen, connect, accept or send"
#define MATCHERS "tcp, udp, unix, ipv4, ipv6, addr, port, path, exe, arg or uid"
#define ACTIONS "reuseport, adopt, redirect, deny, cloexec, set, backlog, unmasked or pass"
#define ADDR "an IP address, as 127.0.0.1, ::1 or 10.0.0.0/8"
#define PORTS "ports without blanks, as 80 or 80,8000-8010"
#define GLOB "a pattern, as nginx or \"/opt/my app/*\""
#define USER "the number or the name of a user"
#define WHERE "IP, :PORT, IP:PORT, [IP6]:PORT, :+N, :-N, unix:PATH or unix:@NAME"
#define ERROR "an error that these calls have, as EACCES or EADDRINUSE"
#define OPTIONS "OPTION=VALUE without blanks, as SO_KEEPALIVE=1"
#define NUMBER "a number up to 2147483647"
#define EMPTY "nothing behind it; expected "
#define NEXT "expected ',' and another action, or the end of the rule"

static const struct {
	const char *text;
	unsigned line, column;
	const char *message;
} bad[] = {
	/* The rule's shape. */
	{ "bnd -> pass", 1, 1, "call bnd: expected " CALLS },
	{ "BIND -> pass", 1, 1, "call BIND: expected " CALLS },
	{ "\"bind\" -> pass", 1, 1, "call \"bind\": expected " CALLS },
	{ "-> pass", 1, 1, "call ->: expected " CALLS },
	{ ", bind", 1, 1, "call ,: expected " CALLS },
	{ "bind", 1, 5, "rule: ends too early; expected -> and actions, or " MATCHERS },
	{ "bind tcp ; -> pass", 1, 10, "rule: ends too early; expected -> and actions, or " MATCHERS },
	{ "bind tcp, udp -> pass", 1, 9, "rule ,: expected -> and actions, or " MATCHERS },
	{ "bind ->", 1, 8, "->: " EMPTY ACTIONS },
	{ "bind -> # pass", 1, 9, "->: " EMPTY ACTIONS },
	{ "bind -> , pass", 1, 9, "-> ,: expected " ACTIONS },
	{ "bind -> -> pass", 1, 9, "-> ->: expected " ACTIONS },
	{ "bind -> pass,", 1, 14, ",: " EMPTY ACTIONS },
	{ "bind -> pass,,", 1, 14, ", ,: expected " ACTIONS },
	{ "bind -> reuseport cloexec", 1, 19, "cloexec: " NEXT },
	{ "bind -> reuseport -> cloexec", 1, 19, "->: " NEXT },
	{ "bind -> pass\n\n  listen - > pass", 3, 10, "matcher -: expected " MATCHERS },
	{ "bind -> pass; connect -> nix", 1, 26, "action nix: expected " ACTIONS },
	{ "bind => pass", 1, 6, "matcher =>: expected " MATCHERS },

	/* Words. */
	{ "bind exe \"a -> pass", 1, 10, "quote \"a -> pass: not finished; expected \" on the same line" },
	{ "bind exe \"a\n\" -> pass", 1, 10, "quote \"a: not finished; expected \" on the same line" },
	{ "bind exe x\"a\\", 1, 13, "quote \\: in quotes a backslash stands before \" or another one only" },
	{ "bind exe \"a\\n\" -> pass", 1, 12,
	  "quote \\: in quotes a backslash stands before \" or another one only" },
	{ "bind \xc3\xa9 -> pass", 1, 6, "matcher \xc3\xa9: expected " MATCHERS },
	{ "bind \x1b[31m -> pass", 1, 6, "matcher ?[31m: expected " MATCHERS },
	{ "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx -> pass", 1, 1,
	  "call xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...: expected " CALLS },

	/* Matchers. */
	{ "bind tpc -> pass", 1, 6, "matcher tpc: expected " MATCHERS },
	{ "bind \"tcp\" -> pass", 1, 6, "matcher \"tcp\": expected " MATCHERS },
	{ "bind not -> pass", 1, 10, "not: " EMPTY MATCHERS },
	{ "bind not not tcp -> pass", 1, 10, "matcher not: expected " MATCHERS },
	{ "bind addr -> pass", 1, 11, "addr: " EMPTY ADDR },
	{ "bind addr localhost -> pass", 1, 11, "addr localhost: expected " ADDR },
	{ "bind addr 1.2.3 -> pass", 1, 11, "addr 1.2.3: expected " ADDR },
	{ "bind addr 1.2.3.256 -> pass", 1, 11, "addr 1.2.3.256: expected " ADDR },
	{ "bind addr [::1] -> pass", 1, 11, "addr [::1]: expected " ADDR },
	{ "bind addr fe80::1%eth0 -> pass", 1, 11, "addr fe80::1%eth0: expected " ADDR },
	{ "bind addr 1:2:3:4:5:6:7:8:9:1:2:3:4:5:6:7:8:9:1:2:3:4:5:6 -> pass", 1, 11,
	  "addr 1:2:3:4:5:6:7:8:9:1:2:3:4:5:6:7:8:9:1:2:3:4:5:6: expected " ADDR },
	{ "bind addr 1.2.3.4/33 -> pass", 1, 11, "addr 1.2.3.4/33: the prefix is not in 0-32" },
	{ "bind addr ::1/129 -> pass", 1, 11, "addr ::1/129: the prefix is not in 0-128" },
	{ "bind addr ::1/ -> pass", 1, 11, "addr ::1/: the prefix is not in 0-128" },
	{ "bind addr ::1/x -> pass", 1, 11, "addr ::1/x: the prefix is not in 0-128" },
	{ "bind port -> pass", 1, 11, "port: " EMPTY PORTS },
	{ "bind port 70000 -> pass", 1, 11, "port 70000: not in 0-65535" },
	{ "bind port 1,65536 -> pass", 1, 13, "port 65536: not in 0-65535" },
	{ "bind port 1-99999999999999999999 -> pass", 1, 13, "port 99999999999999999999: not in 0-65535" },
	{ "bind port \"1-70000\" -> pass", 1, 11, "port \"1-70000\": not in 0-65535" },
	{ "bind port 90-80 -> pass", 1, 11, "port 90-80: its end comes before its start" },
	{ "bind port http -> pass", 1, 11, "port http: expected " PORTS },
	{ "bind port 80, 81 -> pass", 1, 11, "port 80,: expected " PORTS },
	{ "bind port 80 81 -> pass", 1, 14, "matcher 81: expected " MATCHERS },
	{ "bind port ,80 -> pass", 1, 11, "port: " EMPTY PORTS },
	{ "bind port 80- -> pass", 1, 11, "port 80-: expected " PORTS },
	{ "bind port -80 -> pass", 1, 11, "port -80: expected " PORTS },
	{ "bind port 1-2-3 -> pass", 1, 11, "port 1-2-3: expected " PORTS },
	{ "bind port 0x50 -> pass", 1, 11, "port 0x50: expected " PORTS },
	{ "bind port \"\" -> pass", 1, 11, "port \"\": expected " PORTS },
	{ "bind path -> pass", 1, 11, "path: " EMPTY GLOB },
	{ "bind exe -> pass", 1, 10, "exe: " EMPTY GLOB },
	{ "bind arg , -> pass", 1, 10, "arg: " EMPTY GLOB },
	{ "bind exe /opt/my app -> pass", 1, 18, "matcher app: expected " MATCHERS },
	{ "bind uid -> pass", 1, 10, "uid: " EMPTY USER },
	{ "bind uid 4294967295 -> pass", 1, 10, "uid 4294967295: not in 0-4294967294" },
	{ "bind uid nobody-here -> pass", 1, 10,
	  "uid nobody-here: no such user; expected a number or a name" },
	{ "bind uid -1 -> pass", 1, 10, "uid -1: no such user; expected a number or a name" },
	{ "bind uid \"\" -> pass", 1, 10, "uid \"\": no such user; expected a number or a name" },

	/* Actions. */
	{ "bind -> share", 1, 9, "action share: expected " ACTIONS },
	{ "bind -> \"pass\"", 1, 9, "action \"pass\": expected " ACTIONS },
	{ "bind -> reuseport 1", 1, 19, "1: " NEXT },
	{ "bind -> adopt a b", 1, 17, "b: " NEXT },
	{ "bind -> deny EFOO", 1, 14, "deny EFOO: expected " ERROR },
	{ "bind -> deny eacces", 1, 14, "deny eacces: expected " ERROR },
	{ "bind -> deny 13", 1, 14, "deny 13: expected " ERROR },
	{ "bind -> deny EACCES EPERM", 1, 21, "EPERM: " NEXT },
	{ "bind -> deny, cloexec", 1, 15, "cloexec: deny stands alone in its rule" },
	{ "bind -> cloexec, deny", 1, 18, "deny: stands alone in its rule" },
	{ "bind -> pass, deny", 1, 15, "deny: stands alone in its rule" },
	{ "bind -> deny, deny", 1, 15, "deny: twice in one rule" },
	{ "bind -> cloexec, cloexec", 1, 18, "cloexec: twice in one rule" },
	{ "bind -> redirect :1, redirect :2", 1, 22, "redirect: twice in one rule" },
	{ "bind -> unmasked", 1, 9, "unmasked: expected with redirect in one rule" },
	{ "bind -> reuseport, unmasked, pass", 1, 20, "unmasked: expected with redirect in one rule" },
	{ "listen -> backlog", 1, 18, "backlog: " EMPTY NUMBER },
	{ "listen -> backlog -1", 1, 19, "backlog -1: expected " NUMBER },
	{ "listen -> backlog 2147483648", 1, 19, "backlog 2147483648: expected " NUMBER },
	{ "listen -> backlog many", 1, 19, "backlog many: expected " NUMBER },
	{ "bind -> set", 1, 12, "set: " EMPTY OPTIONS },
	{ "bind -> set SO_KEEPALIVE", 1, 13, "set SO_KEEPALIVE: expected " OPTIONS },
	{ "bind -> set SO_KEEPALIVE = 1", 1, 13, "set SO_KEEPALIVE: expected " OPTIONS },
	{ "bind -> set SO_FOO=1", 1, 13,
	  "set SO_FOO: no option known here; 'portshim rules --help' lists them" },
	{ "bind -> set =1", 1, 13, "set =1: no option known here; 'portshim rules --help' lists them" },
	{ "bind -> set SO_KEEPALIVE=1, set SO_KEEPALIVE=0", 1, 33, "set SO_KEEPALIVE: twice in one rule" },
	{ "bind -> set SO_KEEPALIVE=", 1, 13, "set SO_KEEPALIVE=: expected a number as value" },
	{ "bind -> set SO_KEEPALIVE=on", 1, 13, "set SO_KEEPALIVE=on: expected a number as value" },
	{ "bind -> set SO_MARK=2147483648", 1, 13, "set SO_MARK=2147483648: expected a number as value" },
	{ "bind -> set SO_MARK=-2147483649", 1, 13, "set SO_MARK=-2147483649: expected a number as value" },
	{ "bind -> set SO_MARK=0x", 1, 13, "set SO_MARK=0x: expected a number as value" },
	{ "bind -> set SO_RCVTIMEO=-1", 1, 13, "set SO_RCVTIMEO=-1: expected milliseconds as value" },
	{ "bind -> set TCP_CONGESTION=", 1, 13, "set TCP_CONGESTION=: expected a value of 1 to 15 bytes" },
	{ "bind -> set TCP_CONGESTION=0123456789abcdef", 1, 13,
	  "set TCP_CONGESTION=0123456789abcdef: expected a value of 1 to 15 bytes" },

	/* redirect's argument. */
	{ "bind -> redirect", 1, 17, "redirect: " EMPTY WHERE },
	{ "bind -> redirect, pass", 1, 17, "redirect: " EMPTY WHERE },
	{ "bind -> redirect 8080", 1, 18, "redirect 8080: expected " WHERE },
	{ "bind -> redirect :", 1, 18, "redirect :: expected " WHERE },
	{ "bind -> redirect :+", 1, 18, "redirect :+: expected " WHERE },
	{ "bind -> redirect :x", 1, 18, "redirect :x: expected " WHERE },
	{ "bind -> redirect :70000", 1, 19, "redirect 70000: not in 0-65535" },
	{ "bind -> redirect :+70000", 1, 20, "redirect 70000: not in 0-65535" },
	{ "bind -> redirect localhost:80", 1, 18, "redirect localhost:80: expected " WHERE },
	{ "bind -> redirect 1.2.3.4:", 1, 18, "redirect 1.2.3.4:: expected " WHERE },
	{ "bind -> redirect 1.2.3.4:+1", 1, 18, "redirect 1.2.3.4:+1: expected " WHERE },
	{ "bind -> redirect 1.2.3.4:65536", 1, 26, "redirect 65536: not in 0-65535" },
	{ "bind -> redirect [::1]", 1, 18, "redirect [::1]: expected " WHERE },
	{ "bind -> redirect [::1", 1, 18, "redirect [::1: expected " WHERE },
	{ "bind -> redirect [::1]80", 1, 18, "redirect [::1]80: expected " WHERE },
	{ "bind -> redirect [1.2.3.4]:80", 1, 18, "redirect [1.2.3.4]:80: expected " WHERE },
	{ "bind -> redirect unix:", 1, 18,
	  "redirect unix:: a name is missing; expected unix:PATH or unix:@NAME" },
	{ "bind -> redirect unix:@", 1, 18,
	  "redirect unix:@: a name is missing; expected unix:PATH or unix:@NAME" },
	{ "bind -> redirect unix:x.sock", 1, 18,
	  "redirect unix:x.sock: expected an absolute path behind unix:" },
	{ "bind -> redirect unix:" LONG_NAME "12", 1, 18,
	  "redirect unix:/0123456789012345678901234567890123456789012345678901234567...: the name is longer "
	  "than 107 bytes" },
	{ "bind -> redirect \"\"", 1, 18, "redirect \"\": expected " WHERE },
};

static void refused(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		PARSED p = parse(bad[i].text);

		assert_int_equal(p.ret, -EINVAL);
		if (p.error.line != bad[i].line || p.error.column != bad[i].column ||
		    strcmp(p.error.text, bad[i].message) != 0)
			fail_msg("%s\n  %u:%u: %s, not\n  %u:%u: %s", bad[i].text, p.error.line,
				 p.error.column, p.error.text, bad[i].line, bad[i].column, bad[i].message);
	}
}

static void refused_bytes(void **state)
{
	static const char nul[] = "bind -> pass\n#\nbi\0nd -> pass";
	PARSED p = parse_named(nul, sizeof(nul) - 1, NULL, NULL);
	PARSED name = parse_named("bind uid web -> pass", 20, NULL, NULL);

	assert_int_equal(p.ret, -EINVAL);
	assert_int_equal(p.error.line, 3);
	assert_int_equal(p.error.column, 3);
	assert_string_equal(p.error.text, "a NUL byte: expected text");
	assert_int_equal(name.ret, -EINVAL);
	assert_string_equal(name.error.text,
			    "uid web: names are known to 'portshim run' only; expected the number");
}

/* The table of portshim-rules(5), by hand. */
static void every_pair(void **state)
{
	static const struct {
		const char *action, *calls, *message;
	} pairs[] = {
		{ "reuseport", "bind", "bind" },
		{ "adopt", "bind", "bind" },
		{ "redirect :1", "bind connect send", "bind, connect or send" },
		{ "redirect :1, unmasked", "bind connect send", "bind, connect or send" },
		{ "deny", "bind listen connect accept send", "" },
		{ "cloexec", "bind listen connect accept", "bind, listen, connect or accept" },
		{ "set SO_MARK=1", "bind listen connect accept", "bind, listen, connect or accept" },
		{ "backlog 1", "listen", "listen" },
		{ "pass", "bind listen connect accept send", "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		for (unsigned call = 0; call < RULE_CALLS; call++) {
			const char *word = rule_call_word(call);
			char text[128], message[256];

			snprintf(text, sizeof(text), "%s -> %s", word, pairs[i].action);
			snprintf(message, sizeof(message), "%.*s: not for %s, only for %s",
				 (int)strcspn(pairs[i].action, " "), pairs[i].action, word, pairs[i].message);

			PARSED p = parse(text);

			if (strstr(pairs[i].calls, word) != NULL) {
				assert_int_equal(p.ret, 0);
				continue;
			}
			assert_int_equal(p.ret, -EINVAL);
			assert_string_equal(p.error.text, message);
			assert_int_equal(p.error.column, strlen(word) + 5);
		}
	}
}

/* ---- room ---- */

/* `unit` as often as will go into len bytes, between the others. */
static void fill(const char *before, const char *unit, const char *after, size_t len)
{
	CLEANUP_FREE char *text = malloc(len + 1);
	char *at = text, *end = text + len - strlen(after);

	assert_non_null(text);
	at = stpcpy(at, before);
	while (end - at >= (ptrdiff_t)strlen(unit))
		at = stpcpy(at, unit);
	at = stpcpy(at, after);

	PARSED p = parse_named(text, (size_t)(at - text), "0123456789abcdef", some_user);

	if (p.ret != 0)
		fail_msg("%s%s%s: %d", before, unit, after, p.ret);
}

static void room(void **state)
{
	static const size_t sizes[] = { 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 1000, RULES_TEXT_MAX };

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		fill("", "bind->pass;", "", sizes[i]);
		fill("", "bind->pass\n", "bind->pass", sizes[i]);
		fill("bind", " udp", "->pass", sizes[i]);
		fill("bind port 1", ",1", "->pass", sizes[i]);
		fill("", "bind port 1->pass;", "", sizes[i]);
		fill("bind", " exe \"\"", "->pass", sizes[i]);
		fill("bind", " exe a\"\"", "->pass", sizes[i]);
		fill("bind exe \"", "a", "\"->pass", sizes[i]);
		fill("", "bind->adopt \"\";", "", sizes[i]);
		fill("", "bind->redirect :1,unmasked,pass;", "", sizes[i]);
		fill("", "bind->redirect unix:/;", "", sizes[i]);
		fill("", "bind->redirect \"unix:@a\";", "", sizes[i]);
		fill("#", "x", "", sizes[i]);
		fill("", ";", "", sizes[i]);
	}
}

static void too_long(void **state)
{
	static char text[RULES_TEXT_MAX + 1];

	memset(text, ' ', sizeof(text));

	PARSED p = parse_named(text, sizeof(text), NULL, NULL);
	PARSED q = parse_named(text, sizeof(text) - 1, NULL, NULL);
	PARSED name = parse_named("", 0, "0123456789abcdef0", NULL);

	assert_int_equal(p.ret, -E2BIG);
	assert_int_equal(q.ret, 0);
	assert_int_equal(name.ret, -E2BIG);
}

/* ---- what is decided ---- */

/* "redirect :1 @2; cloexec @1": each action with the line of its rule. */
static void plan_text(const struct rules *rules, const struct rule_query *query, char *out, size_t size)
{
	struct rule_plan plan;
	bool any = rules_plan(rules, query, &plan), some = plan.n_sets > 0;
	FILE *f = fmemopen(out, size, "w");
	const char *between = "";

	assert_non_null(f);
	assert_int_equal(any, plan.any);
	for (unsigned i = 0; i < RULE_ACTIONS; i++) {
		some = some || plan.action[i] != NULL;
		if (plan.rule[i] == NULL) {
			assert_null(plan.action[i]);
			continue;
		}
		fputs(between, f);
		between = "; ";
		if (i == ACT_PASS)
			fputs("pass", f);
		else
			rule_put_action(plan.action[i], f);
		fprintf(f, " @%u", plan.rule[i]->line);
	}
	for (size_t i = 0; i < plan.n_sets; i++) {
		fputs(between, f);
		between = "; ";
		rule_put_action(plan.sets[i], f);
		fprintf(f, " @%u", plan.set_rule[i]->line);
	}
	assert_int_equal(any, some);
	fputc('\0', f);
	assert_int_equal(fclose(f), 0);
}

static void check_plan(const char *rules, const char *call, const char *expected)
{
	PARSED p = parse(rules);
	struct attempt attempt;
	char text[128], plan[512];

	assert_int_equal(p.ret, 0);
	snprintf(text, sizeof(text), "%s", call);
	if (attempt_parse(&attempt, text) != 0)
		fail_msg("%s: expected %s", call, attempt.expected);
	plan_text(&p.rules, &attempt.query, plan, sizeof(plan));
	if (strcmp(plan, expected) != 0)
		fail_msg("%s\n  %s: '%s', not '%s'", rules, call, plan, expected);
}

/* Whether the matchers take the call. */
static const struct {
	const char *matchers, *call;
	bool matches;
} matches[] = {
	{ "", "tcp 0.0.0.0:80", true },
	{ "tcp", "tcp 0.0.0.0:80", true },
	{ "tcp", "tcp [::]:80", true },
	{ "tcp", "udp 0.0.0.0:80", false },
	{ "tcp", "unix /x", false },
	{ "udp", "udp [::]:80", true },
	{ "udp", "tcp [::]:80", false },
	{ "udp", "unix /x", false },
	{ "unix", "unix /x", true },
	{ "unix", "unix @x", true },
	{ "unix", "tcp 0.0.0.0:80", false },
	{ "tcp udp", "udp 0.0.0.0:80", true },
	{ "tcp udp", "unix /x", false },
	{ "not tcp", "udp 0.0.0.0:80", true },
	{ "not tcp", "tcp 0.0.0.0:80", false },
	{ "not tcp not udp", "udp 0.0.0.0:80", false },
	{ "not tcp not udp", "unix /x", true },
	{ "ipv4", "tcp 0.0.0.0:80", true },
	{ "ipv4", "tcp [::]:80", false },
	{ "ipv4", "tcp [::ffff:1.2.3.4]:80", true },
	{ "ipv6", "tcp [::]:80", true },
	{ "ipv6", "tcp 0.0.0.0:80", false },
	{ "ipv6", "tcp [::ffff:1.2.3.4]:80", false },
	{ "ipv4 ipv6", "tcp [::]:80", true },
	{ "ipv4", "unix /x", false },
	{ "ipv6", "unix /x", false },
	{ "not ipv4", "unix /x", true },
	{ "tcp ipv6", "tcp 0.0.0.0:80", false },
	{ "addr 0.0.0.0", "tcp 0.0.0.0:80", true },
	{ "addr 0.0.0.0", "tcp 127.0.0.1:80", false },
	{ "addr 0.0.0.0/0", "tcp 127.0.0.1:80", true },
	{ "addr 0.0.0.0/0", "tcp [::]:80", false },
	{ "addr 0.0.0.0/0", "tcp [::ffff:1.2.3.4]:80", true },
	{ "addr 127.0.0.1", "tcp [::ffff:127.0.0.1]:80", true },
	{ "addr ::ffff:127.0.0.1", "tcp 127.0.0.1:80", true },
	{ "addr 127.0.0.0/8", "tcp 127.255.0.1:80", true },
	{ "addr 127.0.0.0/8", "tcp 126.255.0.1:80", false },
	{ "addr 10.1.2.3/9", "tcp 10.127.0.1:80", true },
	{ "addr 10.1.2.3/9", "tcp 10.128.0.1:80", false },
	{ "addr 10.1.2.3/31", "tcp 10.1.2.2:80", true },
	{ "addr 10.1.2.3/31", "tcp 10.1.2.4:80", false },
	{ "addr ::", "tcp [::]:80", true },
	{ "addr ::", "tcp [::1]:80", false },
	{ "addr ::", "tcp 0.0.0.0:80", false },
	{ "addr ::/0", "tcp [fe80::1]:80", true },
	{ "addr ::/0", "tcp 0.0.0.0:80", false },
	{ "addr ::/0", "tcp [::ffff:1.2.3.4]:80", false },
	{ "addr 2001:db8::/33", "tcp [2001:db8:7fff::1]:80", true },
	{ "addr 2001:db8::/33", "tcp [2001:db8:8000::1]:80", false },
	{ "addr 1.1.1.1 addr ::1", "tcp [::1]:80", true },
	{ "addr 0.0.0.0/0", "unix /x", false },
	{ "not addr 127.0.0.0/8", "tcp 1.2.3.4:80", true },
	{ "not addr 127.0.0.0/8", "tcp 127.2.3.4:80", false },
	{ "port 80", "tcp 0.0.0.0:80", true },
	{ "port 80", "tcp 0.0.0.0:81", false },
	{ "port 80", "tcp [::]:80", true },
	{ "port 0", "tcp 0.0.0.0:0", true },
	{ "port 80,8000-8010", "tcp 0.0.0.0:8000", true },
	{ "port 80,8000-8010", "tcp 0.0.0.0:8010", true },
	{ "port 80,8000-8010", "tcp 0.0.0.0:8011", false },
	{ "port 80 port 81", "tcp 0.0.0.0:81", true },
	{ "port 1-1024 not port 22", "tcp 0.0.0.0:22", false },
	{ "port 1-1024 not port 22", "tcp 0.0.0.0:23", true },
	{ "port 0-65535", "unix /x", false },
	{ "port 2", "unix /x", false }, /* as long as its name */
	{ "not port 80", "unix /x", true },
	{ "path /run/*.sock", "unix /run/a/b.sock", true },
	{ "path /run/*.sock", "unix /run/x", false },
	{ "path @a*", "unix @ab", true },
	{ "path a*", "unix @ab", false },
	{ "path *", "unix @ab", true },
	{ "path *", "tcp 0.0.0.0:80", false },
	{ "not path *", "tcp 0.0.0.0:80", true },
	{ "path /a path /b", "unix /b", true },
	{ "exe nginx", "tcp 0.0.0.0:80 exe /usr/sbin/nginx", true },
	{ "exe /usr/sbin/nginx", "tcp 0.0.0.0:80 exe /usr/sbin/nginx", true },
	{ "exe *bin/ngin[x]", "tcp 0.0.0.0:80 exe /usr/sbin/nginx", true },
	{ "exe sbin/nginx", "tcp 0.0.0.0:80 exe /usr/sbin/nginx", false },
	{ "exe nginx", "tcp 0.0.0.0:80 exe /usr/sbin/nginx2", false },
	{ "exe nginx", "tcp 0.0.0.0:80", false },
	{ "not exe nginx", "tcp 0.0.0.0:80", true },
	{ "exe a exe b", "tcp 0.0.0.0:80 exe /b", true },
	{ "arg *.py", "tcp 0.0.0.0:80 arg python3 arg web.py arg -x", true },
	{ "arg -x", "tcp 0.0.0.0:80 arg python3 arg web.py arg -x", true },
	{ "arg python3", "tcp 0.0.0.0:80 arg python3 arg web.py", true },
	{ "arg *.pyc", "tcp 0.0.0.0:80 arg python3 arg web.py", false },
	{ "arg *", "tcp 0.0.0.0:80", false },
	{ "not arg -x", "tcp 0.0.0.0:80 arg a arg -x", false },
	{ "uid 33", "tcp 0.0.0.0:80 uid 33", true },
	{ "uid 33", "tcp 0.0.0.0:80 uid 0", false },
	{ "uid 33 uid 0", "tcp 0.0.0.0:80 uid 0", true },
	{ "not uid 0", "tcp 0.0.0.0:80 uid 0", false },
	{ "exe a port 80", "tcp 0.0.0.0:80 exe /b", false },
	{ "exe a port 81", "tcp 0.0.0.0:80 exe /a", false },
	{ "exe a port 80 tcp ipv4 uid 1", "tcp 0.0.0.0:80 exe /a uid 1", true },
};

static void matching(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(matches); i++) {
		for (unsigned call = 0; call < RULE_CALLS; call++) {
			char rule[128], query[128];

			snprintf(rule, sizeof(rule), "%s %s -> deny", rule_call_word(call),
				 matches[i].matchers);
			snprintf(query, sizeof(query), "%s %s", rule_call_word(call), matches[i].call);
			check_plan(rule, query, matches[i].matches ? "deny EACCES @1" : "");
		}
	}
}

/* What no word of `--try` says. */
static bool matches_query(const char *matchers, struct rule_query q, const struct endpoint *ep)
{
	char rule[128], plan[128];

	snprintf(rule, sizeof(rule), "listen %s -> deny", matchers);
	q.call = RULE_LISTEN;
	q.address = ep;
	q.exe = "";

	PARSED p = parse(rule);

	plan_text(&p.rules, &q, plan, sizeof(plan));
	return plan[0] != '\0';
}

static void matching_sockets(void **state)
{
	const struct endpoint none = { 0 }, unnamed = { .family = AF_UNIX }, ip4 = { .family = AF_INET };
	const struct endpoint holes = { .family = AF_UNIX, .port = 4, .name = { '\0', 'a', '\0', 'b' } };
	const struct rule_query tcp = { .family = AF_INET, .type = SOCK_STREAM },
				tcp6 = { .family = AF_INET6, .type = SOCK_STREAM, .protocol = IPPROTO_TCP },
				mptcp = { .family = AF_INET, .type = SOCK_STREAM, .protocol = IPPROTO_MPTCP },
				raw = { .family = AF_INET, .type = SOCK_RAW, .protocol = IPPROTO_TCP },
				udp6 = { .family = AF_INET6, .type = SOCK_DGRAM },
				seq = { .family = AF_UNIX, .type = SOCK_SEQPACKET };

	assert_true(matches_query("tcp", tcp, &ip4));
	assert_true(matches_query("tcp", tcp6, &none));
	assert_false(matches_query("tcp", mptcp, &ip4));
	assert_false(matches_query("tcp", raw, &ip4));
	assert_true(matches_query("unix", seq, &unnamed));
	assert_false(matches_query("tcp", seq, &unnamed));
	/* A call that names no address: the socket's family counts. */
	assert_true(matches_query("ipv4", tcp, &none));
	assert_false(matches_query("ipv6", tcp, &none));
	assert_true(matches_query("ipv6", tcp6, &none));
	/* An IPv6 socket sending to an IPv4 address. */
	assert_true(matches_query("ipv4 udp", udp6, &ip4));
	assert_false(matches_query("port 0-65535", tcp, &none));
	assert_false(matches_query("addr 0.0.0.0/0", tcp, &none));
	assert_false(matches_query("path *", seq, &unnamed));
	assert_true(matches_query("not path *", seq, &unnamed));
	assert_true(matches_query("path @a@b", seq, &holes));
}

static const struct {
	const char *rules, *call, *plan;
} plans[] = {
	{ "", "bind tcp 0.0.0.0:80", "" },
	{ "listen -> cloexec", "bind tcp 0.0.0.0:80", "" },
	{ "bind -> pass", "bind tcp 0.0.0.0:80", "pass @1" },
	/* The first rule that matches decides, for each kind of action. */
	{ "bind -> redirect :1\nbind -> redirect :2", "bind tcp 0.0.0.0:80", "redirect :1 @1" },
	{ "bind port 81 -> redirect :1\nbind -> redirect :2", "bind tcp 0.0.0.0:80", "redirect :2 @2" },
	{ "bind -> cloexec\nbind -> redirect :2, cloexec\nbind -> reuseport", "bind tcp 0.0.0.0:80",
	  "reuseport @3; redirect :2 @2; cloexec @1" },
	{ "listen -> backlog 1\nlisten -> backlog 2, cloexec", "listen tcp 0.0.0.0:80",
	  "cloexec @2; backlog 1 @1" },
	/* pass ends it, behind what its own rule does. */
	{ "bind -> reuseport\nbind port 80 -> pass\nbind -> cloexec", "bind tcp 0.0.0.0:80",
	  "reuseport @1; pass @2" },
	{ "bind port 80 -> pass\nbind -> cloexec", "bind tcp 0.0.0.0:81", "cloexec @2" },
	{ "bind -> reuseport, pass\nbind -> cloexec", "bind tcp 0.0.0.0:80", "reuseport @1; pass @1" },
	{ "bind -> pass, reuseport\nbind -> cloexec", "bind tcp 0.0.0.0:80", "reuseport @1; pass @1" },
	{ "listen -> pass\nbind -> cloexec", "bind tcp 0.0.0.0:80", "cloexec @2" },
	/* deny leaves nothing else. */
	{ "bind -> redirect :1, set SO_MARK=1\nbind -> deny EPERM\nbind -> deny", "bind tcp 0.0.0.0:80",
	  "deny EPERM @2" },
	{ "bind -> pass\nbind -> deny", "bind tcp 0.0.0.0:80", "pass @1" },
	{ "bind -> deny\nbind -> pass", "bind tcp 0.0.0.0:80", "deny EACCES @1" },
	/* unmasked is its redirect's. */
	{ "bind -> unmasked, redirect :1", "bind tcp 0.0.0.0:80", "redirect :1 @1; unmasked @1" },
	{ "bind -> redirect :1\nbind -> redirect :2, unmasked", "bind tcp 0.0.0.0:80", "redirect :1 @1" },
	{ "bind -> redirect :1, unmasked\nbind -> redirect :2", "bind tcp 0.0.0.0:80",
	  "redirect :1 @1; unmasked @1" },
	/* set: each option by itself. */
	{ "bind -> set SO_MARK=1, set IP_TOS=2\nbind -> set SO_MARK=3, set IP_TTL=4", "bind tcp 0.0.0.0:80",
	  "set SO_MARK=1 @1; set IP_TOS=2 @1; set IP_TTL=4 @2" },
	/* What changes a part of an IP address decides nothing for a UNIX socket. */
	{ "bind -> redirect :+1, unmasked\nbind -> redirect :1\nbind -> redirect 127.0.0.1\n"
	  "bind -> redirect unix:/y",
	  "bind unix /x", "redirect unix:/y @4" },
	{ "bind -> redirect :1", "bind unix /x", "" },
	{ "bind -> redirect 127.0.0.1:1", "bind unix /x", "redirect 127.0.0.1:1 @1" },
	{ "bind -> redirect [::1]:1, unmasked", "bind unix @x", "redirect [::1]:1 @1; unmasked @1" },
};

static void planning(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(plans); i++)
		check_plan(plans[i].rules, plans[i].call, plans[i].plan);
}

/* A plan has room for every option that there is. */
static void every_set(void **state)
{
	CLEANUP_FREE char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	struct rule_plan plan;
	struct endpoint none = { 0 };
	struct rule_query q = { .call = RULE_BIND, .address = &none, .exe = "" };

	for (uint16_t i = 0; rule_option(i) != NULL; i++)
		fprintf(f, "bind -> set %s=1; bind -> set %s=2\n", rule_option(i)->name,
			rule_option(i)->name);
	fclose(f);

	PARSED p = parse(text);

	assert_true(rules_plan(&p.rules, &q, &plan));
	assert_int_equal(plan.n_sets, RULE_OPTIONS);
}

/* ---- where a redirect leads ---- */

static const struct {
	const char *where, *asked, *result; /* NULL: EADDRNOTAVAIL; "": EAFNOSUPPORT */
} redirects[] = {
	{ "127.0.0.1", "tcp 0.0.0.0:80", "127.0.0.1:80" },
	{ "127.0.0.1", "tcp [::1]:80", "127.0.0.1:80" },
	{ "::1", "tcp 0.0.0.0:80", "[::1]:80" },
	{ ":8080", "tcp 0.0.0.0:80", "0.0.0.0:8080" },
	{ ":8080", "tcp [fe80::1]:80", "[fe80::1]:8080" },
	{ ":0", "tcp 1.2.3.4:80", "1.2.3.4:0" },
	{ "127.0.0.1:8080", "tcp [::]:80", "127.0.0.1:8080" },
	{ "127.0.0.1:0", "tcp [::]:80", "127.0.0.1:0" },
	{ "[::1]:8080", "tcp 0.0.0.0:80", "[::1]:8080" },
	{ ":+1000", "tcp 0.0.0.0:80", "0.0.0.0:1080" },
	{ ":-79", "tcp 0.0.0.0:80", "0.0.0.0:1" },
	{ ":-80", "tcp 0.0.0.0:80", NULL },
	{ ":-81", "tcp 0.0.0.0:80", NULL },
	{ ":+65455", "tcp 0.0.0.0:80", "0.0.0.0:65535" },
	{ ":+65456", "tcp 0.0.0.0:80", NULL },
	{ ":+1000", "tcp 0.0.0.0:0", "0.0.0.0:0" },
	{ ":-1", "tcp 0.0.0.0:0", "0.0.0.0:0" },
	{ "unix:/run/x.sock", "tcp 0.0.0.0:80", "/run/x.sock" },
	{ "unix:@x", "tcp [::]:80", "@x" },
	{ "unix:/y", "unix /x", "/y" },
	{ "127.0.0.1:80", "unix /x", "127.0.0.1:80" },
	{ ":80", "unix /x", "" },
	{ ":+80", "unix /x", "" },
	{ "127.0.0.1", "unix /x", "" },
};

static void check_redirect(const char *where, const char *asked, const char *result)
{
	char rule[128], query[128], text[ENDPOINT_TEXT_MAX];
	struct endpoint out = { .family = 12345 };
	struct attempt attempt;
	int ret;

	snprintf(rule, sizeof(rule), "bind -> redirect %s", where);
	snprintf(query, sizeof(query), "bind %s", asked);

	PARSED p = parse(rule);

	assert_int_equal(p.ret, 0);
	assert_int_equal(attempt_parse(&attempt, query), 0);
	ret = rule_redirected(&p.rules.rules[0].actions[0].where, &attempt.address, &out);
	if (result == NULL || result[0] == '\0') {
		assert_int_equal(ret, result == NULL ? -EADDRNOTAVAIL : -EAFNOSUPPORT);
		assert_int_equal(out.family, 12345);
		return;
	}
	assert_int_equal(ret, 0);
	endpoint_text(&out, text);
	assert_string_equal(text, result);
}

static void redirected(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(redirects); i++)
		check_redirect(redirects[i].where, redirects[i].asked, redirects[i].result);
}

static void redirected_scope(void **state)
{
	struct endpoint asked = { .family = AF_INET6, .port = 80, .scope = 3 }, out;
	PARSED p = parse("bind -> redirect :1\nbind -> redirect ::1\nbind -> redirect unix:@ab");

	assert_int_equal(rule_redirected(&p.rules.rules[0].actions[0].where, &asked, &out), 0);
	assert_int_equal(out.scope, 3);
	assert_int_equal(rule_redirected(&p.rules.rules[1].actions[0].where, &asked, &out), 0);
	assert_int_equal(out.scope, 0);
	assert_int_equal(rule_redirected(&p.rules.rules[2].actions[0].where, &asked, &out), 0);
	assert_int_equal(out.port, 3);
	assert_memory_equal(out.name, "\0ab", 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(understood),	 cmocka_unit_test(every_option),
		cmocka_unit_test(every_errno),	 cmocka_unit_test(values),
		cmocka_unit_test(sources),	 cmocka_unit_test(refused),
		cmocka_unit_test(refused_bytes), cmocka_unit_test(every_pair),
		cmocka_unit_test(room),		 cmocka_unit_test(too_long),
		cmocka_unit_test(matching),	 cmocka_unit_test(matching_sockets),
		cmocka_unit_test(planning),	 cmocka_unit_test(every_set),
		cmocka_unit_test(redirected),	 cmocka_unit_test(redirected_scope),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
