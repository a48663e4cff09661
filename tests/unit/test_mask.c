/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fdtab.h"
#include "mask.h"

static struct endpoint ip4(const char *ip, uint16_t port)
{
	struct endpoint ep = { .family = AF_INET, .port = port };

	assert_int_equal(inet_pton(AF_INET, ip, ep.ip), 1);
	return ep;
}

static struct endpoint path(const char *name)
{
	struct endpoint ep = { .family = AF_UNIX, .port = (uint16_t)strlen(name) };

	memcpy(ep.name, name, ep.port);
	return ep;
}

/* The table is the process's own: each test has cookies of its own. */
static uint64_t new_cookie(void)
{
	static uint64_t last = 1000;

	return ++last;
}

static void open_fd(int fd, uint64_t cookie, uint16_t type)
{
	struct fd_entry *e = fdtab_entry(fd, true);
	uint64_t word = fd_word_next(fd_word(e), FD_SOCKET | FD_KIND(AF_INET, type, 0));

	atomic_store(&e->cookie, cookie);
	atomic_store(&e->word, word);
}

static void close_fd(int fd)
{
	struct fd_entry *e = fdtab_entry(fd, true);

	atomic_store(&e->word, fd_word_next(fd_word(e), FD_NONE));
}

static void test_put_and_get(void **state)
{
	uint64_t cookie = new_cookie();
	struct endpoint asked = ip4("127.0.0.1", 80), other = ip4("127.0.0.2", 81), got;

	assert_false(mask_get(cookie, MASK_LOCAL, &got));
	assert_int_equal(mask_put(cookie, MASK_LOCAL, &asked), 0);
	assert_true(mask_any());
	assert_true(mask_get(cookie, MASK_LOCAL, &got));
	assert_true(endpoint_equal(&got, &asked));
	assert_false(mask_get(cookie, MASK_PEER, &got));
	assert_false(mask_get(new_cookie(), MASK_LOCAL, &got));
	assert_int_equal(mask_put(cookie, MASK_LOCAL, &other), 0);
	assert_true(mask_get(cookie, MASK_LOCAL, &got));
	assert_true(endpoint_equal(&got, &other));
	mask_drop(cookie, MASK_LOCAL);
	assert_false(mask_get(cookie, MASK_LOCAL, &got));
	assert_true(mask_put(0, MASK_LOCAL, &asked) < 0);
}

static void test_sources(void **state)
{
	uint64_t cookie = new_cookie();
	struct endpoint asked = ip4("127.0.0.1", 53), real = ip4("127.0.0.1", 5353), got;

	assert_int_equal(mask_put_source(cookie, &real, &asked), 0);
	assert_true(mask_get_source(cookie, &real, &got));
	assert_true(endpoint_equal(&got, &asked));
	assert_false(mask_get_source(cookie, &asked, &got));
	assert_false(mask_get_source(new_cookie(), &real, &got));
}

static void test_inherit_and_move(void **state)
{
	uint64_t listener = new_cookie(), connection = new_cookie(), other = new_cookie();
	struct endpoint asked = ip4("127.0.0.1", 80), born = { .family = AF_INET }, got;

	mask_put(listener, MASK_LOCAL, &asked);
	mask_put(listener, MASK_BORN, &born);
	mask_inherit(listener, connection);
	assert_true(mask_get(connection, MASK_CONNECTION, &got));
	assert_true(endpoint_equal(&got, &asked));
	assert_true(mask_get(connection, MASK_BORN, &got));
	assert_false(mask_get(connection, MASK_LOCAL, &got));
	mask_move(listener, other);
	assert_true(mask_get(other, MASK_LOCAL, &got));
	assert_false(mask_get(listener, MASK_LOCAL, &got));
}

static void test_taken(void **state)
{
	uint64_t cookie = new_cookie();
	struct endpoint asked = ip4("127.0.0.1", 4711), none = ip4("127.0.0.1", 0);

	mask_put(cookie, MASK_LOCAL, &asked);
	assert_false(mask_taken(&asked, SOCK_STREAM, 0));
	open_fd(5, cookie, SOCK_STREAM);
	assert_true(mask_taken(&asked, SOCK_STREAM, 0));
	assert_false(mask_taken(&asked, SOCK_DGRAM, 0));
	assert_false(mask_taken(&asked, SOCK_STREAM, cookie));
	mask_put(cookie, MASK_LOCAL, &none);
	assert_false(mask_taken(&none, SOCK_STREAM, 0));
	close_fd(5);
}

/* Far more than there is room for: closed sockets give theirs, open ones keep it. */
static void test_full(void **state)
{
	uint64_t kept = new_cookie();
	struct endpoint asked = ip4("127.0.0.1", 8080), got;
	unsigned lost = 0;

	open_fd(7, kept, SOCK_STREAM);
	mask_put(kept, MASK_LOCAL, &asked);
	for (unsigned i = 0; i < 20000; i++)
		lost += mask_put(new_cookie(), MASK_LOCAL, &asked) != 0;
	assert_int_equal(lost, 0);
	assert_true(mask_get(kept, MASK_LOCAL, &got));
	close_fd(7);
}

/* A socket that sends to any number: the last can be told, and the names of sockets have room. */
static void test_full_of_sources(void **state)
{
	uint64_t sender = new_cookie(), kept = new_cookie();
	struct endpoint real = ip4("10.0.0.1", 54), asked = ip4("10.0.0.1", 53), got;
	char buf[512];
	struct text t = TEXT_IN(buf);

	open_fd(8, sender, SOCK_DGRAM);
	open_fd(9, kept, SOCK_STREAM);
	for (unsigned i = 0; i < 20000; i++) {
		real.port = (uint16_t)(1024 + i);
		asked.port = (uint16_t)(i + 1);
		assert_int_equal(mask_put_source(sender, &real, &asked), 0);
		assert_true(mask_get_source(sender, &real, &got));
		assert_true(endpoint_equal(&got, &asked));
	}
	assert_int_equal(mask_put(kept, MASK_LOCAL, &asked), 0);
	for (unsigned i = 0; i < 20000; i++) {
		real.port = (uint16_t)(1024 + i);
		mask_put_source(sender, &real, &asked);
	}
	assert_true(mask_get(kept, MASK_LOCAL, &got));
	assert_false(mask_write(&t));
	mask_drop(kept, MASK_LOCAL);
	mask_read(buf);
	assert_true(mask_get(kept, MASK_LOCAL, &got));
	close_fd(8);
	close_fd(9);
}

static void test_over_exec(void **state)
{
	uint64_t tcp = new_cookie(), un = new_cookie(), closed = new_cookie();
	struct endpoint asked = ip4("10.1.2.3", 443), name = path("/run/a b.sock"), got;
	char buf[4096];
	struct text t = TEXT_IN(buf);

	open_fd(8, tcp, SOCK_STREAM);
	open_fd(9, un, SOCK_STREAM);
	mask_put(tcp, MASK_LOCAL, &asked);
	mask_put(un, MASK_PATH, &name);
	mask_put(closed, MASK_LOCAL, &asked);
	assert_true(mask_write(&t));
	assert_true(t.len <= mask_length() && mask_length() < 2 * t.len + 100);
	mask_drop(tcp, MASK_LOCAL);
	mask_drop(un, MASK_PATH);
	mask_drop(closed, MASK_LOCAL);
	mask_read(buf);
	assert_true(mask_get(tcp, MASK_LOCAL, &got));
	assert_true(endpoint_equal(&got, &asked));
	assert_true(mask_get(un, MASK_PATH, &got));
	assert_true(endpoint_equal(&got, &name));
	assert_false(mask_get(closed, MASK_LOCAL, &got));
	close_fd(8);
	close_fd(9);
}

static void test_small_room(void **state)
{
	uint64_t cookie = new_cookie();
	struct endpoint asked = ip4("10.1.2.3", 443);
	char buf[16];
	struct text t = TEXT_IN(buf);

	open_fd(8, cookie, SOCK_STREAM);
	mask_put(cookie, MASK_LOCAL, &asked);
	assert_false(mask_write(&t));
	assert_string_equal(buf, "");
	close_fd(8);
}

/* What stands in the environment may be anything. */
static void test_garbage(void **state)
{
	static const char *const texts[] = {
		"",
		":",
		"x",
		"5",
		"5.",
		"5.5.1.2.50.0",
		"5.5.1.2.50.0.7f0000",
		"5.5.1.2.50.0.7f00000z:",
		"5.5.1.1.ffff.0.41:",
		"5.5.1.2.50.0."
		"0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c"
		"2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a"
		"5b5c5d5e"
		"5f606162636465666768696a6b6c6d6e6f70:",
		"ffffffffffffffffffffffffffffffff.1.1.1.1.1.:",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		mask_read(texts[i]);
	mask_read(NULL);
}

#define THREADS 4
#define TURNS 20000

/* One name has a pattern throughout: a torn one would show. */
static void *hammer(void *arg)
{
	uint64_t cookies[8];

	for (unsigned i = 0; i < 8; i++)
		cookies[i] = 500 + i;
	for (unsigned i = 0; i < TURNS; i++) {
		uint8_t byte = (uint8_t)(i + (uintptr_t)arg * 64);
		struct endpoint ep = { .family = AF_INET6, .port = (uint16_t)(byte * 257) }, got;

		memset(ep.ip, byte, sizeof(ep.ip));
		mask_put(cookies[i % 8], MASK_PEER, &ep);
		if (!mask_get(cookies[i * 3 % 8], MASK_PEER, &got))
			continue;
		for (unsigned k = 0; k < sizeof(got.ip); k++) {
			if (got.ip[k] != got.port >> 8)
				return (void *)1;
		}
	}
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t threads[THREADS];
	void *wrong;

	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hammer, (void *)i), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], &wrong), 0);
		assert_null(wrong);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_put_and_get),
		cmocka_unit_test(test_sources),
		cmocka_unit_test(test_inherit_and_move),
		cmocka_unit_test(test_taken),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_full_of_sources),
		cmocka_unit_test(test_over_exec),
		cmocka_unit_test(test_small_room),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
