/* SPDX-License-Identifier: MIT */
/* Socket names: kernel -> record -> endpoint -> text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "common/endpoint.h"

#define PATH_AT offsetof(struct sockaddr_un, sun_path)
#define PATH_MAX_LEN sizeof(((struct sockaddr_un *)0)->sun_path)

/* sa -> struct ps_addr and tail -> endpoint -> text.  sa is copied to memory of just len bytes, so
 * that the sanitizer sees a read beyond it. */
static size_t round_trip(const void *sa, socklen_t len, struct endpoint *ep, char *text)
{
	struct ps_addr addr;
	char tail[ADDR_TAIL_MAX];
	void *exact = malloc(len > 0 ? len : 1);
	size_t n;

	assert_non_null(exact);
	if (len > 0)
		memcpy(exact, sa, len);
	n = addr_pack(exact, len, &addr, tail);
	free(exact);
	assert_true(n <= sizeof(tail));
	addr_unpack(&addr, tail, n, ep);
	endpoint_text(ep, text);
	return n;
}

static void ipv4(void **state)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(8080) };
	struct endpoint ep;
	char text[ENDPOINT_TEXT_MAX];

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(round_trip(&in, sizeof(in), &ep, text), 0);
	assert_string_equal(text, "127.0.0.1:8080");
	assert_int_equal(ep.port, 8080);
	in.sin_addr.s_addr = htonl(INADDR_BROADCAST);
	in.sin_port = htons(65535);
	round_trip(&in, sizeof(in), &ep, text);
	assert_string_equal(text, "255.255.255.255:65535");
	in.sin_addr.s_addr = 0;
	in.sin_port = 0;
	round_trip(&in, sizeof(in), &ep, text);
	assert_string_equal(text, "0.0.0.0:0");
}

static void ipv6_text(const char *ip, const char *expected)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(80) };
	struct endpoint ep;
	char text[ENDPOINT_TEXT_MAX];

	assert_int_equal(inet_pton(AF_INET6, ip, &in6.sin6_addr), 1);
	round_trip(&in6, sizeof(in6), &ep, text);
	assert_string_equal(text, expected);
}

static void ipv6(void **state)
{
	ipv6_text("::", "[::]:80");
	ipv6_text("::1", "[::1]:80");
	ipv6_text("1::", "[1::]:80");
	ipv6_text("2001:db8::1", "[2001:db8::1]:80");
	ipv6_text("2001:db8:0:1:1:1:1:1", "[2001:db8:0:1:1:1:1:1]:80");
	ipv6_text("1:0:0:2:0:0:0:3", "[1:0:0:2::3]:80");
	ipv6_text("1:0:0:2:3:0:0:4", "[1::2:3:0:0:4]:80");
	ipv6_text("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:80");
	ipv6_text("::ffff:192.0.2.1", "[::ffff:192.0.2.1]:80");
	ipv6_text("::ffff:0.0.0.0", "[::ffff:0.0.0.0]:80");
}

static void ipv6_scope(void **state)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(53), .sin6_scope_id = 3 };
	struct endpoint ep;
	char text[ENDPOINT_TEXT_MAX];

	inet_pton(AF_INET6, "fe80::1", &in6.sin6_addr);
	round_trip(&in6, sizeof(in6), &ep, text);
	assert_string_equal(text, "[fe80::1%3]:53");
	assert_int_equal(ep.scope, 3);
	in6.sin6_scope_id = UINT32_MAX;
	round_trip(&in6, sizeof(in6), &ep, text);
	assert_string_equal(text, "[fe80::1%4294967295]:53");
	/* The size from before there was a scope id. */
	round_trip(&in6, offsetof(struct sockaddr_in6, sin6_scope_id), &ep, text);
	assert_string_equal(text, "[fe80::1]:53");
}

static socklen_t unix_address(struct sockaddr_un *un, const char *name, size_t len)
{
	memset(un, 0x55, sizeof(*un));
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, name, len);
	return (socklen_t)(PATH_AT + len);
}

static void unix_path(void **state)
{
	struct sockaddr_un un;
	struct endpoint ep;
	char text[ENDPOINT_TEXT_MAX];

	/* With and without the NUL, and with more behind it. */
	assert_int_equal(round_trip(&un, unix_address(&un, "/run/x.sock", 11), &ep, text), 0);
	assert_string_equal(text, "/run/x.sock");
	assert_int_equal(ep.port, 11);
	round_trip(&un, unix_address(&un, "/run/x.sock\0rest", 16), &ep, text);
	assert_string_equal(text, "/run/x.sock");
	assert_int_equal(ep.port, 11);
	/* 20 bytes fit in the record, one more does not. */
	assert_int_equal(round_trip(&un, unix_address(&un, "/a/path/of/20/bytes.", 20), &ep, text), 0);
	assert_string_equal(text, "/a/path/of/20/bytes.");
	assert_int_equal(round_trip(&un, unix_address(&un, "/a/path/of/21/bytes..", 21), &ep, text), 1);
	assert_string_equal(text, "/a/path/of/21/bytes..");
}

static void unix_longest(void **state)
{
	struct sockaddr_un un;
	struct endpoint ep;
	char text[ENDPOINT_TEXT_MAX], name[PATH_MAX_LEN + 1];

	memset(name, 'p', PATH_MAX_LEN);
	name[0] = '/';
	name[PATH_MAX_LEN] = '\0';
	assert_int_equal(round_trip(&un, unix_address(&un, name, PATH_MAX_LEN), &ep, text), ADDR_TAIL_MAX);
	assert_int_equal(ep.port, PATH_MAX_LEN);
	assert_string_equal(text, name);
	/* An address may be declared longer than the structure is. */
	char longer[sizeof(un) + 40];

	memset(longer, 'q', sizeof(longer));
	memcpy(longer, &un, sizeof(un));
	round_trip(longer, sizeof(longer), &ep, text);
	assert_int_equal(ep.port, PATH_MAX_LEN);
	assert_string_equal(text, name);
}

static void unix_abstract(void **state)
{
	struct sockaddr_un un;
	struct endpoint ep;
	char text[ENDPOINT_TEXT_MAX], name[PATH_MAX_LEN];

	round_trip(&un, unix_address(&un, "\0name", 5), &ep, text);
	assert_string_equal(text, "@name");
	assert_int_equal(ep.port, 5);
	/* NULs inside and behind belong to the name. */
	round_trip(&un, unix_address(&un, "\0a\0b\0", 5), &ep, text);
	assert_string_equal(text, "@a@b@");
	assert_int_equal(ep.port, 5);
	assert_memory_equal(ep.name, "\0a\0b\0", 5);
	memset(name, 0, sizeof(name));
	round_trip(&un, unix_address(&un, name, sizeof(name)), &ep, text);
	assert_int_equal(ep.port, PATH_MAX_LEN);
	assert_int_equal(strlen(text), PATH_MAX_LEN);
	round_trip(&un, unix_address(&un, "", 0), &ep, text); /* unnamed */
	assert_int_equal(ep.family, AF_UNIX);
	assert_int_equal(ep.port, 0);
	assert_string_equal(text, "");
}

static void malformed(void **state)
{
	struct sockaddr_storage ss = { .ss_family = AF_INET };
	struct endpoint ep;
	char text[ENDPOINT_TEXT_MAX];

	for (socklen_t len = 0; len < sizeof(struct sockaddr_in); len++) {
		round_trip(&ss, len, &ep, text);
		assert_int_equal(ep.family, 0);
		assert_string_equal(text, "");
	}
	ss.ss_family = AF_INET6;
	for (socklen_t len = 0; len < offsetof(struct sockaddr_in6, sin6_scope_id); len++) {
		round_trip(&ss, len, &ep, text);
		assert_int_equal(ep.family, 0);
	}
	ss.ss_family = AF_NETLINK;
	round_trip(&ss, sizeof(ss), &ep, text);
	assert_int_equal(ep.family, AF_NETLINK);
	assert_int_equal(ep.port, 0);
	assert_string_equal(text, "");
	ss.ss_family = AF_UNSPEC;
	round_trip(&ss, sizeof(ss), &ep, text);
	assert_int_equal(ep.family, 0);

	struct ps_addr addr;
	char tail[ADDR_TAIL_MAX];

	assert_int_equal(addr_pack(NULL, 16, &addr, tail), 0);
	assert_int_equal(addr.family, 0);
}

/* What a record says need not be so. */
static void hostile_record(void **state)
{
	struct ps_addr addr = { .family = AF_UNIX, .port = 65535 };
	struct endpoint ep;
	char text[ENDPOINT_TEXT_MAX], tail[200];

	memset(addr.bytes, 'x', sizeof(addr.bytes));
	memset(tail, 'y', sizeof(tail));
	addr_unpack(&addr, tail, 0, &ep);
	assert_int_equal(ep.port, 20);
	addr_unpack(&addr, tail, 7, &ep);
	assert_int_equal(ep.port, 27);
	addr_unpack(&addr, tail, sizeof(tail), &ep);
	assert_int_equal(ep.port, PATH_MAX_LEN);
	endpoint_text(&ep, text);
	assert_int_equal(strlen(text), PATH_MAX_LEN);
	addr.port = 20;
	addr_unpack(&addr, "", 0, &ep);
	assert_int_equal(ep.port, 20);
	addr.family = 60000;
	addr_unpack(&addr, tail, sizeof(tail), &ep);
	endpoint_text(&ep, text);
	assert_string_equal(text, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ipv4),		cmocka_unit_test(ipv6),
		cmocka_unit_test(ipv6_scope),	cmocka_unit_test(unix_path),
		cmocka_unit_test(unix_longest), cmocka_unit_test(unix_abstract),
		cmocka_unit_test(malformed),	cmocka_unit_test(hostile_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
