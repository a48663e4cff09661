/* SPDX-License-Identifier: MIT */
/*
 * The comparison: a model made of records, and lists of descriptors and sockets as the kernel might
 * have given them.  The process is this one, since only one that lives has holders that live.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "kernel.h"
#include "verify.h"

#define ME 1

static struct model *m;
static struct verify v;
static struct verify_count count;
static struct fd_list before, after;
static struct kernel_diag net;
static uint64_t now, places;

static int setup(void **state)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
	m = model_new();
	return m == NULL;
}

static int teardown(void **state)
{
	verify_free(&v);
	fd_list_free(&before);
	fd_list_free(&after);
	kernel_diag_free(&net);
	model_free(m);
	return 0;
}

/* The record's side. */

static struct ps_event event(enum ps_kind kind, int fd)
{
	return (struct ps_event){
		.kind = (uint8_t)kind, .slots = 1, .process = ME, .fd = fd, .stamp = ++now
	};
}

static void add(const struct ps_event *ev)
{
	struct record r = { .ev = *ev, .place = ++places };

	assert_int_equal(model_add(m, &r, 1), 0);
}

static void started(void)
{
	struct kernel_process k;
	struct ps_event e = event(PS_START, -1);

	assert_int_equal(kernel_process(getpid(), &k), 0);
	e.start.pid = (uint32_t)getpid();
	e.start.start = k.start;
	add(&e);
}

static void socket_is(int fd, uint64_t cookie, uint64_t inode, uint16_t family, uint16_t type)
{
	struct ps_event e = event(PS_SOCKET, fd);

	e.socket.cookie = cookie;
	e.socket.family = family;
	e.socket.type = type;
	add(&e);
	model_socket(m, cookie)->inode = inode;
}

static struct ps_addr ip(const char *text, uint16_t port)
{
	struct ps_addr a = { .port = port };

	if (inet_pton(AF_INET, text, a.bytes) == 1)
		a.family = AF_INET;
	else if (inet_pton(AF_INET6, text, a.bytes) == 1)
		a.family = AF_INET6;
	return a;
}

static struct ps_addr path(const char *name, size_t len)
{
	struct ps_addr a = { .family = AF_UNIX, .port = (uint16_t)len };

	memcpy(a.bytes, name, len);
	return a;
}

static void bound_to(int fd, struct ps_addr address)
{
	struct ps_event e = event(PS_BIND, fd);

	e.bind.address = address;
	add(&e);
}

static void listens(int fd)
{
	struct ps_event e = event(PS_LISTEN, fd);

	add(&e);
}

static void accepted(int fd, uint64_t listener, struct ps_addr peer)
{
	struct ps_event e = event(PS_ACCEPT, fd);

	e.accept.listener = listener;
	e.accept.address = peer;
	add(&e);
}

static void listener(int fd, uint64_t cookie, uint64_t inode)
{
	socket_is(fd, cookie, inode, AF_INET, SOCK_STREAM);
	bound_to(fd, ip("127.0.0.1", 80));
	listens(fd);
}

/* The kernel's. */

static void has(int fd, uint64_t inode)
{
	assert_int_equal(fd_list_add(&before, fd, inode), 0);
	assert_int_equal(fd_list_add(&after, fd, inode), 0);
}

static struct endpoint unpacked(struct ps_addr a)
{
	struct endpoint ep;

	addr_unpack(&a, "", 0, &ep);
	return ep;
}

/* Inodes must be told in order. */
static struct diag_socket *told(uint64_t inode, uint16_t family, uint16_t type, enum kernel_state state,
				struct ps_addr local, struct ps_addr peer)
{
	net.exact = true;
	net.sockets = realloc(net.sockets, (net.n + 1) * sizeof(*net.sockets));
	assert_non_null(net.sockets);
	net.sockets[net.n] = (struct diag_socket){
		.socket = { .inode = inode, .family = family, .type = type, .state = state },
	};
	net.sockets[net.n].socket.local = unpacked(local);
	net.sockets[net.n].socket.peer = unpacked(peer);
	return &net.sockets[net.n++];
}

static const struct ps_addr nobody;

static void told_listener(uint64_t inode)
{
	told(inode, AF_INET, SOCK_STREAM, KERNEL_LISTEN, ip("127.0.0.1", 80), nobody);
}

static void told_connection(uint64_t inode, const char *peer, uint16_t port)
{
	told(inode, AF_INET, SOCK_STREAM, KERNEL_CONNECTED, ip("127.0.0.1", 80), ip(peer, port));
}

/* The comparison. */

static void compare_ring(bool lapped)
{
	assert_int_equal(model_settle(m, false), 0);
	fd_list_sort(&before);
	fd_list_sort(&after);
	assert_int_equal(verify_begin(&v, m), 0);
	assert_int_equal(verify_process(&v, model_process(m, ME), &before, &after, &net, lapped, &count), 0);
}

static void compare(void)
{
	compare_ring(false);
}

static void differs(size_t i, int fd, uint64_t kernel, bool recorded, uint64_t inode)
{
	assert_true(i < v.n);
	assert_int_equal(v.list[i].pid, getpid());
	assert_int_equal(v.list[i].fd, fd);
	assert_int_equal(v.list[i].kernel.has, kernel != 0);
	assert_int_equal(v.list[i].kernel.inode, kernel);
	assert_int_equal(v.list[i].recorded.has, recorded);
	assert_int_equal(v.list[i].recorded.inode, inode);
}

static void test_equal(void **state)
{
	started();
	listener(3, 100, 500);
	socket_is(4, 101, 501, AF_UNIX, SOCK_DGRAM);
	accepted(5, 100, ip("127.0.0.1", 4000));
	has(5, 502);
	has(3, 500);
	has(4, 501);
	told_listener(500);
	told(501, AF_UNIX, SOCK_DGRAM, KERNEL_OPEN, nobody, nobody);
	told_connection(502, "127.0.0.1", 4000);
	compare();
	assert_int_equal(v.n, 0);
	assert_int_equal(count.compared, 3);
}

static void test_kernel_alone(void **state)
{
	started();
	listener(3, 100, 500);
	has(3, 500);
	has(9, 500);
	has(10, 777);
	compare();
	assert_int_equal(v.n, 2);
	assert_int_equal(count.compared, 3);
	differs(0, 9, 500, false, 0);
	differs(1, 10, 777, false, 0);
	assert_string_equal(v.list[1].kernel.what, "socket");
}

static void test_record_alone(void **state)
{
	started();
	listener(3, 100, 500);
	compare();
	assert_int_equal(v.n, 1);
	assert_int_equal(count.compared, 1);
	differs(0, 3, 0, true, 500);
	assert_string_equal(v.list[0].recorded.what, "tcp listen 127.0.0.1:80");
}

static void test_another_inode(void **state)
{
	started();
	listener(3, 100, 500);
	has(3, 501);
	compare();
	assert_int_equal(v.n, 1);
	differs(0, 3, 501, true, 500);
}

/* Where the kernel's two words differ nothing is said. */
static void test_changing(void **state)
{
	started();
	listener(3, 100, 500);
	socket_is(4, 101, 501, AF_INET, SOCK_STREAM);
	fd_list_add(&before, 3, 600);
	fd_list_add(&after, 3, 500);
	fd_list_add(&before, 4, 600);
	fd_list_add(&after, 5, 600);
	fd_list_add(&before, 6, 600);
	compare();
	assert_int_equal(v.n, 0);
	assert_int_equal(count.compared, 0);
}

static void test_another_peer(void **state)
{
	started();
	listener(3, 100, 500);
	accepted(5, 100, ip("127.0.0.1", 4000));
	accepted(6, 100, ip("127.0.0.1", 4001));
	has(3, 500);
	has(5, 502);
	has(6, 502);
	told_listener(500);
	told_connection(502, "127.0.0.1", 4000);
	compare();
	assert_int_equal(v.n, 1);
	differs(0, 6, 502, true, 0);
	assert_string_equal(v.list[0].kernel.what, "tcp connected 127.0.0.1:4000");
	assert_string_equal(v.list[0].recorded.what, "tcp connected 127.0.0.1:4001");
}

/* Without a peer to compare: two accepted sockets cannot be one, nor one two. */
static void test_one_to_one(void **state)
{
	struct ps_event dup = event(PS_DUP, 7);

	started();
	accepted(5, 100, nobody);
	accepted(6, 100, nobody);
	dup.stamp = ++now;
	dup.dup.from = 5;
	add(&dup);
	has(5, 502);
	has(6, 502);
	has(7, 503);
	compare();
	assert_int_equal(v.n, 2);
	differs(0, 6, 502, true, 0);
	differs(1, 7, 503, true, 0);
	assert_int_equal(v.list[0].contender, ME);
	assert_int_equal(v.list[1].contender, ME);
}

/* The accepted socket's place was taken by one that the record has elsewhere. */
static void test_taken_by_known(void **state)
{
	started();
	accepted(2, 100, nobody);
	listener(3, 100, 500);
	has(2, 500);
	has(3, 500);
	compare();
	assert_int_equal(v.n, 1);
	differs(0, 2, 500, true, 0);
}

static void test_another_kind(void **state)
{
	started();
	listener(3, 100, 500);
	accepted(5, 100, nobody);
	has(3, 500);
	has(5, 502);
	told_listener(500);
	told(502, AF_UNIX, SOCK_STREAM, KERNEL_CONNECTED, nobody, nobody);
	compare();
	assert_int_equal(v.n, 1);
	differs(0, 5, 502, true, 0);
}

static void test_dual_stack(void **state)
{
	started();
	socket_is(3, 100, 500, AF_INET6, SOCK_STREAM);
	bound_to(3, ip("::", 80));
	listens(3);
	accepted(5, 100, ip("::ffff:10.0.0.1", 4000));
	accepted(6, 100, ip("::ffff:10.0.0.1", 4001));
	has(3, 500);
	has(5, 501);
	has(6, 502);
	told(500, AF_INET6, SOCK_STREAM, KERNEL_LISTEN, ip("::", 80), nobody);
	told(501, AF_INET6, SOCK_STREAM, KERNEL_CONNECTED, ip("::ffff:10.0.0.2", 80),
	     ip("::ffff:10.0.0.1", 4000));
	told(502, AF_INET6, SOCK_STREAM, KERNEL_CONNECTED, ip("::ffff:10.0.0.2", 80), ip("10.0.0.1", 4001));
	compare();
	assert_int_equal(v.n, 0);
}

static void test_listens_or_not(void **state)
{
	started();
	listener(3, 100, 500);
	socket_is(4, 101, 501, AF_INET, SOCK_STREAM);
	bound_to(4, ip("127.0.0.1", 81));
	has(3, 500);
	has(4, 501);
	told(500, AF_INET, SOCK_STREAM, KERNEL_BOUND, ip("127.0.0.1", 80), nobody);
	told(501, AF_INET, SOCK_STREAM, KERNEL_LISTEN, ip("127.0.0.1", 81), nobody);
	compare();
	assert_int_equal(v.n, 2);
	differs(0, 3, 500, true, 500);
	differs(1, 4, 501, true, 501);
}

static void test_another_name(void **state)
{
	static const char abstract[] = "\0name";

	started();
	listener(3, 100, 500);
	socket_is(4, 101, 501, AF_INET, SOCK_DGRAM);
	bound_to(4, ip("0.0.0.0", 53));
	socket_is(5, 102, 502, AF_UNIX, SOCK_STREAM);
	bound_to(5, path("run/x", 5));
	listens(5);
	socket_is(6, 103, 503, AF_UNIX, SOCK_DGRAM);
	bound_to(6, path(abstract, 5));
	for (int i = 0; i < 4; i++)
		has(3 + i, 500 + (uint64_t)i);
	told(500, AF_INET, SOCK_STREAM, KERNEL_LISTEN, ip("127.0.0.2", 80), nobody);
	told(501, AF_INET, SOCK_DGRAM, KERNEL_BOUND, ip("0.0.0.0", 54), nobody);
	told(502, AF_UNIX, SOCK_STREAM, KERNEL_LISTEN, path("run/y", 5), nobody);
	told(503, AF_UNIX, SOCK_DGRAM, KERNEL_BOUND, path(abstract, 5), nobody);
	compare();
	assert_int_equal(v.n, 3);
	differs(0, 3, 500, true, 500);
	differs(1, 4, 501, true, 501);
	differs(2, 5, 502, true, 502);
	assert_string_equal(v.list[2].kernel.what, "unix listen run/y");
}

/* What /proc shows of a UNIX name is not what was bound. */
static void test_name_not_exact(void **state)
{
	started();
	socket_is(5, 102, 502, AF_UNIX, SOCK_STREAM);
	bound_to(5, path("run/x", 5));
	has(5, 502);
	told(502, AF_UNIX, SOCK_STREAM, KERNEL_BOUND, path("run/y", 5), nobody);
	net.exact = false;
	compare();
	assert_int_equal(v.n, 0);
}

/* Of a connected socket the kernel fills in what bind left open. */
static void test_connected_name(void **state)
{
	struct ps_event e = event(PS_CONNECT, 4);

	started();
	socket_is(4, 101, 501, AF_INET, SOCK_DGRAM);
	bound_to(4, ip("0.0.0.0", 53));
	e.stamp = ++now;
	e.connect.address = ip("127.0.0.1", 9);
	add(&e);
	has(4, 501);
	told(501, AF_INET, SOCK_DGRAM, KERNEL_CONNECTED, ip("127.0.0.1", 53), ip("127.0.0.1", 9));
	compare();
	assert_int_equal(v.n, 0);
}

static void test_cookie(void **state)
{
	started();
	socket_is(4, 101, 0, AF_INET, SOCK_DGRAM);
	socket_is(5, 102, 0, AF_INET, SOCK_DGRAM);
	has(4, 501);
	has(5, 502);
	told(501, AF_INET, SOCK_DGRAM, KERNEL_OPEN, nobody, nobody)->cookie = 101;
	told(502, AF_INET, SOCK_DGRAM, KERNEL_OPEN, nobody, nobody)->cookie = 999;
	compare();
	assert_int_equal(v.n, 1);
	differs(0, 5, 502, true, 0);
}

/* A ring loses the records of plain connections, and of nothing else. */
static void test_lapped(void **state)
{
	started();
	listener(3, 100, 500);
	has(3, 500);
	has(7, 500);
	has(8, 502);
	has(9, 503);
	told_listener(500);
	told_connection(502, "127.0.0.1", 4000);
	told(503, AF_INET, SOCK_STREAM, KERNEL_LISTEN, ip("127.0.0.1", 81), nobody);
	compare_ring(true);
	assert_int_equal(count.lost, 1);
	assert_int_equal(count.compared, 3);
	assert_int_equal(v.n, 2);
	differs(0, 7, 500, false, 0);
	differs(1, 9, 503, false, 0);
}

static void test_same(void **state)
{
	struct difference a = { .process = 1, .pid = 2, .fd = 3, .kernel = { true, 500, "x" } }, b = a;

	assert_true(difference_same(&a, &b));
	b.kernel.inode = 501;
	assert_false(difference_same(&a, &b));
	b = a;
	b.since = 1;
	assert_false(difference_same(&a, &b));
	b = a;
	b.kernel.what[0] = 'y';
	assert_false(difference_same(&a, &b));
	b = a;
	b.pid = 4;
	assert_false(difference_same(&a, &b));
}

/* The kernel asked in earnest: what getsockname and SO_COOKIE say, sock_diag says. */
static void test_diag(void **state)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(sin), cookie_len = sizeof(uint64_t);
	int tcp = socket(AF_INET, SOCK_STREAM, 0), un = socket(AF_UNIX, SOCK_STREAM, 0);
	const struct diag_socket *d;
	uint64_t cookie = 0;

	memcpy(sun.sun_path, "\0portshim-test-\n-", 17);
	assert_int_equal(bind(tcp, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(tcp, 1), 0);
	assert_int_equal(getsockname(tcp, (struct sockaddr *)&sin, &len), 0);
	assert_int_equal(bind(un, (struct sockaddr *)&sun, offsetof(struct sockaddr_un, sun_path) + 17), 0);
	assert_int_equal(getsockopt(tcp, SOL_SOCKET, SO_COOKIE, &cookie, &cookie_len), 0);
	assert_int_equal(kernel_diag(getpid(), &net), 0);
	if (!net.exact)
		skip();
	d = NULL;
	for (size_t i = 0; i < net.n && d == NULL; i++) {
		if (net.sockets[i].cookie == cookie)
			d = kernel_diag_find(&net, net.sockets[i].socket.inode);
	}
	assert_non_null(d);
	assert_int_equal(d->socket.state, KERNEL_LISTEN);
	assert_int_equal(d->socket.local.port, ntohs(sin.sin_port));
	assert_memory_equal(d->socket.local.ip, &sin.sin_addr, 4);
	d = NULL;
	for (size_t i = 0; i < net.n && d == NULL; i++) {
		const struct endpoint *ep = &net.sockets[i].socket.local;

		if (ep->family == AF_UNIX && ep->port == 17 && memcmp(ep->name, sun.sun_path, 17) == 0)
			d = &net.sockets[i];
	}
	assert_non_null(d);
	assert_int_equal(d->socket.state, KERNEL_BOUND);
	assert_int_equal(d->socket.type, SOCK_STREAM);
	close(tcp);
	close(un);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(equal),	      TEST(kernel_alone),   TEST(record_alone),	  TEST(another_inode),
		TEST(changing),	      TEST(another_peer),   TEST(one_to_one),	  TEST(taken_by_known),
		TEST(another_kind),   TEST(dual_stack),	    TEST(listens_or_not), TEST(another_name),
		TEST(name_not_exact), TEST(connected_name), TEST(cookie),	  TEST(lapped),
		TEST(same),	      TEST(diag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
