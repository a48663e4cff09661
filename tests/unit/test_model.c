/* SPDX-License-Identifier: MIT */
/*
 * The fold: records in, relation out.  Each test adds records one by one with ev_*(), each a
 * millisecond after the one before, and looks at the holders.  Sockets are named by their cookies,
 * processes by their ids.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/program.h"
#include "common/rules.h"
#include "kernel.h"
#include "model.h"

#define NOBODY 0x7ffffff0u /* a pid that no kernel gives */
#define MS 1000000ull

static struct model *m;
static uint64_t now;
static uint64_t places;
static struct record last; /* given to the model by done() */
static char last_tail[PS_TAIL_MAX];

static int setup(void **state)
{
	m = model_new();
	now = 1000 * MS;
	places = 0;
	return m == NULL;
}

static int teardown(void **state)
{
	model_free(m);
	return 0;
}

/* The builder. */

static struct ps_event *ev(enum ps_kind kind, uint64_t process, int fd)
{
	last = (struct record){ .place = ++places };
	last.ev.kind = (uint8_t)kind;
	last.ev.slots = 1;
	last.ev.process = process;
	last.ev.fd = fd;
	last.ev.stamp = now += MS;
	return &last.ev;
}

static void tail(const void *bytes, size_t len)
{
	assert_true(len <= sizeof(last_tail));
	memcpy(last_tail, bytes, len);
	last.tail = last_tail;
	last.tail_len = (uint32_t)len;
}

static uint64_t done(void)
{
	/* The reader keeps tails as long as itself; here they leak into the test's end. */
	static char *kept[256];
	static size_t n;
	struct record r = last;

	if (r.tail != NULL) {
		free(kept[n % 256]);
		kept[n % 256] = malloc(r.tail_len + 1);
		assert_non_null(kept[n % 256]);
		memcpy(kept[n % 256], r.tail, r.tail_len);
		r.tail = kept[n++ % 256];
	}
	assert_int_equal(model_add(m, &r, 1), 0);
	return r.ev.stamp;
}

static uint64_t ev_start(uint64_t id, uint64_t parent, uint32_t pid, uint32_t flags, const char *exe)
{
	struct ps_event *e = ev(PS_START, id, -1);
	char text[256];
	int n = snprintf(text, sizeof(text), "%s%ccomm%cargv0%c-x%c", exe, 0, 0, 0, 0);

	e->start.parent = parent;
	e->start.pid = pid;
	e->flags = flags;
	tail(text, (size_t)n);
	return done();
}

static uint64_t ev_stock(uint64_t id, uint32_t sockets)
{
	struct ps_event *e = ev(PS_STOCK, id, -1);

	e->stock.why = PS_STOCK_START;
	e->stock.sockets = sockets;
	return done();
}

static uint64_t ev_set(uint64_t id, int fd, uint64_t cookie, uint32_t flags)
{
	struct ps_event *e = ev(PS_SET, id, fd);

	e->set.cookie = cookie;
	e->set.family = AF_INET;
	e->set.type = SOCK_STREAM;
	e->flags = flags;
	return done();
}

static uint64_t ev_socket_of(uint64_t id, int fd, uint64_t cookie, uint16_t family, uint16_t type)
{
	struct ps_event *e = ev(PS_SOCKET, id, fd);

	e->socket.cookie = cookie;
	e->socket.family = family;
	e->socket.type = type;
	return done();
}

static uint64_t ev_socket(uint64_t id, int fd, uint64_t cookie)
{
	return ev_socket_of(id, fd, cookie, AF_INET, SOCK_STREAM);
}

static struct ps_addr inet(const char *ip, uint16_t port)
{
	struct ps_addr a = { .port = port };

	if (inet_pton(AF_INET, ip, a.bytes) == 1)
		a.family = AF_INET;
	else if (inet_pton(AF_INET6, ip, a.bytes) == 1)
		a.family = AF_INET6;
	return a;
}

static uint64_t ev_bind(uint64_t id, int fd, uint64_t cookie, const char *ip, uint16_t port, int error)
{
	struct ps_event *e = ev(PS_BIND, id, fd);

	e->bind.cookie = cookie;
	e->bind.address = inet(ip, port);
	e->error = (uint16_t)error;
	return done();
}

static uint64_t ev_bind_unix(uint64_t id, int fd, uint64_t cookie, const char *name, size_t len, int error)
{
	struct ps_event *e = ev(PS_BIND, id, fd);

	assert_true(len <= sizeof(e->bind.address.bytes));
	e->bind.cookie = cookie;
	e->bind.address.family = AF_UNIX;
	e->bind.address.port = (uint16_t)len;
	memcpy(e->bind.address.bytes, name, len);
	e->error = (uint16_t)error;
	return done();
}

static uint64_t ev_listen(uint64_t id, int fd, uint64_t cookie)
{
	struct ps_event *e = ev(PS_LISTEN, id, fd);

	e->listen.cookie = cookie;
	e->listen.backlog = 128;
	return done();
}

static void ev_server(uint64_t id, int fd, uint64_t cookie, uint16_t port)
{
	ev_socket(id, fd, cookie);
	ev_bind(id, fd, cookie, "127.0.0.1", port, 0);
	ev_listen(id, fd, cookie);
}

static uint64_t ev_accept(uint64_t id, int fd, uint64_t listener)
{
	struct ps_event *e = ev(PS_ACCEPT, id, fd);

	e->accept.listener = listener;
	e->accept.address = inet("10.0.0.1", 40000);
	return done();
}

static uint64_t ev_close(uint64_t id, int fd)
{
	ev(PS_CLOSE, id, fd);
	return done();
}

static uint64_t ev_dup(uint64_t id, int from, int to, uint64_t cookie)
{
	struct ps_event *e = ev(PS_DUP, id, to);

	e->dup.from = from;
	e->dup.cookie = cookie;
	return done();
}

static uint64_t ev_fork(uint64_t id, uint64_t child, uint32_t flags)
{
	struct ps_event *e = ev(PS_FORK, id, -1);

	e->fork.child = child;
	e->flags = flags;
	return done();
}

static uint64_t ev_forked(uint64_t id, uint64_t child, uint32_t pid, int error)
{
	struct ps_event *e = ev(PS_FORKED, id, -1);

	e->forked.child = child;
	e->forked.pid = pid;
	e->error = (uint16_t)error;
	return done();
}

static uint64_t ev_born(uint64_t id, uint64_t parent, uint32_t pid, uint32_t flags)
{
	struct ps_event *e = ev(PS_BORN, id, -1);

	e->born.parent = parent;
	e->born.pid = pid;
	e->flags = flags;
	return done();
}

static uint64_t ev_exec(uint64_t id, uint32_t seen, const char *path)
{
	struct ps_event *e = ev(PS_EXEC, id, -1);

	e->exec.seen = seen;
	tail(path, strlen(path));
	return done();
}

static uint64_t ev_plain(enum ps_kind kind, uint64_t id, int fd)
{
	ev(kind, id, fd);
	return done();
}

static uint64_t ev_send_fd(uint64_t id, uint64_t cookie, int passed)
{
	struct ps_event *e = ev(PS_SEND_FD, id, 9);

	e->send_fd.cookie = cookie;
	e->send_fd.passed = passed;
	return done();
}

static void ev_count(uint64_t id, uint64_t place, uint64_t cookie, uint64_t accepts, uint64_t empty)
{
	struct ps_event *e = ev(PS_COUNT, id, -1);

	e->count.cookie = cookie;
	e->count.accepts = accepts;
	e->count.empty = empty;
	last.place = place;
	done();
}

/* Looking. */

static struct process *process(uint64_t id)
{
	struct process *p = model_process(m, id);

	assert_non_null(p);
	return p;
}

/* The newest holder of that cookie, or NULL. */
static struct holder *holder(uint64_t id, uint64_t cookie)
{
	struct holder *found = NULL;

	for (struct holder *h = process(id)->holders; h != NULL; h = h->next_of_process) {
		if (h->socket->cookie == cookie)
			found = h;
	}
	return found;
}

static size_t periods(uint64_t id, uint64_t cookie)
{
	size_t n = 0;

	for (struct holder *h = process(id)->holders; h != NULL; h = h->next_of_process)
		n += h->socket->cookie == cookie;
	return n;
}

static struct holder *holder_of_fd(uint64_t id, int fd)
{
	for (struct holder *h = process(id)->holders; h != NULL; h = h->next_of_process) {
		for (size_t i = 0; i < h->n_fds; i++) {
			if (h->fds[i] == fd)
				return h;
		}
	}
	return NULL;
}

/* "3,5": the fds, "" for a holder that ended, "-" for none at all. */
static void check_fds(const struct holder *h, const char *expected, int line)
{
	char text[256] = "-";
	size_t len = 0;

	if (h != NULL)
		text[0] = '\0';
	for (size_t i = 0; h != NULL && i < h->n_fds; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, i > 0 ? ",%d" : "%d", h->fds[i]);
	if (strcmp(text, expected) != 0)
		fail_msg("line %d: fds are %s, not %s", line, text, expected);
}
#define FDS(id, cookie, expected) check_fds(holder(id, cookie), expected, __LINE__)

static void check_how(const struct holder *h, const char *how, struct process *from, int line)
{
	if (h == NULL || strcmp(holder_how(h), how) != 0 || h->from != from)
		fail_msg("line %d: %s from %d, not %s", line, h != NULL ? holder_how(h) : "no holder",
			 h != NULL && h->from != NULL ? (int)h->from->id : 0, how);
}
#define HOW(id, cookie, how, from) \
	check_how(holder(id, cookie), how, (from) != 0 ? process(from) : NULL, __LINE__)

static void check_endpoint(const struct endpoint *ep, const char *expected, int line)
{
	char text[ENDPOINT_TEXT_MAX];

	endpoint_text(ep, text);
	if (strcmp(text, expected) != 0)
		fail_msg("line %d: %s, not %s", line, text, expected);
}
#define ENDPOINT(ep, expected) check_endpoint(&(ep), expected, __LINE__)

static size_t count_processes(void)
{
	size_t n = 0;

	for (struct process *p = model_processes(m); p != NULL; p = p->next)
		n++;
	return n;
}

static size_t count_sockets(void)
{
	size_t n = 0;

	for (struct socket *s = model_sockets(m); s != NULL; s = s->next)
		n++;
	return n;
}

static struct failure *newest_failure(void)
{
	struct failure *f = model_failures(m);

	while (f != NULL && f->next != NULL)
		f = f->next;
	return f;
}

static void settle(void)
{
	assert_int_equal(model_settle(m, false), 0);
}

/* This process, as the record may show it alive. */
static void start_own(uint64_t id)
{
	struct ps_event *e = ev(PS_START, id, -1);
	struct kernel_process k;

	assert_int_equal(kernel_process(getpid(), &k), 0);
	e->start.pid = (uint32_t)getpid();
	e->start.start = k.start;
	tail("/self", 6);
	done();
}

static uint64_t monotonic(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 * MS + (uint64_t)ts.tv_nsec;
}

/* The tests: sockets. */

static void a_server(void **state)
{
	struct socket *s;
	uint64_t since, bound;

	ev_start(1, 0, 100, 0, "/bin/server");
	since = ev_socket(1, 3, 0xa);
	HOW(1, 0xa, "created", 0);
	bound = ev_bind(1, 3, 0xa, "127.0.0.1", 8080, 0);
	HOW(1, 0xa, "bound", 0);
	s = holder(1, 0xa)->socket;
	assert_string_equal(socket_state(s), "bound");
	ev_listen(1, 3, 0xa);
	assert_string_equal(socket_state(s), "listen");
	assert_int_equal(s->backlog, 128);
	assert_int_equal(s->created, since);
	assert_int_equal(s->bound_at, bound);
	assert_ptr_equal(s->created_by, process(1));
	ENDPOINT(s->local, "127.0.0.1:8080");
	FDS(1, 0xa, "3");
	assert_int_equal(holder(1, 0xa)->since, since);
	assert_string_equal(process(1)->image->exe, "/bin/server");
	assert_string_equal(process(1)->image->comm, "comm");
	assert_memory_equal(process(1)->image->argv, "argv0\0-x", 9);
	assert_int_equal(process(1)->image->argv_len, 9);
	assert_string_equal(process(1)->covered, "preload");
	assert_int_equal(process(1)->pid, 100);
}

static void local_tells_the_port(void **state)
{
	struct ps_event *e;
	struct socket *s;

	ev_start(1, 0, 100, 0, "/x");
	ev_socket(1, 3, 0xa);
	ev_bind(1, 3, 0xa, "0.0.0.0", 0, 0);
	e = ev(PS_LOCAL, 1, 3);
	e->local.cookie = 0xa;
	e->local.address = inet("0.0.0.0", 34567);
	done();
	s = holder(1, 0xa)->socket;
	ENDPOINT(s->local, "0.0.0.0:34567");
	assert_string_equal(socket_state(s), "bound");
}

static void options(void **state)
{
	struct ps_event *e;
	struct socket *s;

	ev_start(1, 0, 100, 0, "/x");
	ev_socket(1, 3, 0xa);
	s = holder(1, 0xa)->socket;
	for (int value = 1; value >= 0; value--) {
		int names[] = { SO_REUSEADDR, SO_REUSEPORT };

		for (size_t i = 0; i < 2; i++) {
			e = ev(PS_OPTION, 1, 3);
			e->option.cookie = 0xa;
			e->option.level = SOL_SOCKET;
			e->option.name = names[i];
			e->option.value = value;
			done();
		}
		assert_int_equal(s->reuseaddr, value);
		assert_int_equal(s->reuseport, value);
	}
	e = ev(PS_OPTION, 1, 3);
	e->option.cookie = 0xa;
	e->option.level = SOL_SOCKET;
	e->option.name = SO_REUSEPORT;
	e->option.value = 1;
	e->error = ENOPROTOOPT;
	done();
	assert_false(s->reuseport);
}

static void connects(void **state)
{
	struct ps_event *e;
	struct socket *s;

	ev_start(1, 0, 100, 0, "/x");
	ev_socket(1, 3, 0xa);
	s = holder(1, 0xa)->socket;
	for (int error = 0; error < 2; error++) {
		e = ev(PS_CONNECT, 1, 3);
		e->connect.cookie = 0xa;
		e->connect.address = inet("192.0.2.1", 80);
		e->error = error == 0 ? ECONNREFUSED : EINPROGRESS;
		done();
		assert_string_equal(socket_state(s), error == 0 ? "open" : "connected");
	}
	ENDPOINT(s->peer, "192.0.2.1:80");
	assert_int_equal(newest_failure()->error, ECONNREFUSED);
	assert_int_equal(newest_failure()->kind, PS_CONNECT);
	ENDPOINT(newest_failure()->asked, "192.0.2.1:80");
	e = ev(PS_CONNECT, 1, 3); /* AF_UNSPEC dissolves */
	e->connect.cookie = 0xa;
	done();
	assert_string_equal(socket_state(s), "open");
	ENDPOINT(s->peer, "");
	ev_bind(1, 3, 0xa, "127.0.0.1", 99, 0);
	for (int i = 0; i < 2; i++) {
		e = ev(PS_CONNECT, 1, 3);
		e->connect.cookie = 0xa;
		if (i == 0)
			e->connect.address = inet("192.0.2.1", 80);
		done();
		assert_string_equal(socket_state(s), i == 0 ? "connected" : "bound");
	}
	ENDPOINT(s->local, "127.0.0.1:99");
}

/* By connect(2) with AF_UNSPEC or by shutdown(2): of the name only a port is left that was asked for. */
static void a_listener_is_dissolved(void **state)
{
	struct ps_event *e;
	struct socket *s;

	ev_start(1, 0, 100, 0, "/x");
	ev_server(1, 3, 0xa, 80);
	ev_socket(1, 4, 0xb);
	ev_bind(1, 4, 0xb, "127.0.0.1", 0, 0);
	ev_listen(1, 4, 0xb);
	ev_socket(1, 5, 0xc);
	ev_listen(1, 5, 0xc);
	for (int i = 0; i < 6; i++) {
		int fd = 3 + i % 3;

		s = holder(1, 0xaull + (unsigned)i % 3)->socket;
		if (fd != 3) {
			e = ev(PS_LOCAL, 1, fd);
			e->local.cookie = s->cookie;
			e->local.address = inet("127.0.0.1", 34567);
			done();
		}
		assert_string_equal(socket_state(s), "listen");
		e = ev(i < 3 ? PS_CONNECT : PS_SHUTDOWN, 1, fd);
		e->connect.cookie = s->cookie;
		if (i >= 3) {
			e->shutdown.cookie = s->cookie;
			e->shutdown.how = SHUT_RD;
		}
		done();
		assert_string_equal(socket_state(s), fd == 3 ? "bound" : "open");
		if (fd != 3)
			ENDPOINT(s->local, "");
		ev_listen(1, fd, s->cookie);
	}
}

static void a_pair_and_a_failed_socket(void **state)
{
	struct ps_event *e;

	ev_start(1, 0, 100, 0, "/x");
	for (int fd = 3; fd < 5; fd++) {
		e = ev(PS_SOCKET, 1, fd);
		e->socket.cookie = (uint64_t)fd;
		e->socket.family = AF_UNIX;
		e->socket.type = SOCK_STREAM;
		e->socket.pair = 1;
		done();
		assert_true(holder(1, (uint64_t)fd)->socket->pair);
		assert_string_equal(socket_state(holder(1, (uint64_t)fd)->socket), "connected");
	}
	e = ev(PS_SOCKET, 1, -1);
	e->error = EMFILE;
	done();
	assert_int_equal(newest_failure()->error, EMFILE);
	assert_int_equal(count_sockets(), 2);
}

static void shutdown_of_a_listener(void **state)
{
	struct ps_event *e;

	ev_start(1, 0, 100, 0, "/x");
	ev_server(1, 3, 0xa, 80);
	for (int how = SHUT_WR; how >= SHUT_RD; how--) {
		e = ev(PS_SHUTDOWN, 1, 3);
		e->shutdown.cookie = 0xa;
		e->shutdown.how = how;
		done();
		assert_string_equal(socket_state(holder(1, 0xa)->socket),
				    how == SHUT_WR ? "listen" : "bound");
	}
}

/* Descriptors. */

static void dup_and_close(void **state)
{
	uint64_t until;

	ev_start(1, 0, 100, 0, "/x");
	ev_socket(1, 3, 0xa);
	ev_dup(1, 3, 7, 0xa);
	ev_dup(1, 3, 5, 0); /* without the cookie: by the table */
	FDS(1, 0xa, "3,5,7");
	ev_close(1, 3);
	FDS(1, 0xa, "5,7");
	ev_close(1, 3); /* once more changes nothing */
	ev_close(1, 5);
	until = ev_close(1, 7);
	FDS(1, 0xa, "");
	assert_int_equal(holder(1, 0xa)->until, until);
	assert_int_equal(periods(1, 0xa), 1);
}

static void dup_over_another(void **state)
{
	uint64_t stamp;

	ev_start(1, 0, 100, 0, "/x");
	ev_socket(1, 3, 0xa);
	ev_socket(1, 4, 0xb);
	stamp = ev_dup(1, 3, 4, 0xa);
	FDS(1, 0xa, "3,4");
	FDS(1, 0xb, "");
	assert_int_equal(holder(1, 0xb)->until, stamp);
	ev_socket(1, 4, 0xc); /* fd 4 was closed without a record */
	FDS(1, 0xa, "3");
	FDS(1, 0xc, "4");
	ev_dup(1, 8, 3, 0); /* what is no socket is put over it */
	FDS(1, 0xa, "");
	ev_set(1, 4, 0, 0);
	FDS(1, 0xc, "");
}

static void the_largest_stamp_wins(void **state)
{
	ev_start(1, 0, 100, 0, "/x");
	ev_socket(1, 3, 0xa);
	ev(PS_SET, 1, 3)->set.cookie = 0xb;
	done();
	FDS(1, 0xb, "3");
	ev(PS_CLOSE, 1, 3); /* read late */
	last.ev.stamp -= 2 * MS - 1;
	done();
	FDS(1, 0xb, "3");
	ev_close(1, 3);
	ev(PS_SET, 1, 3)->set.cookie = 0xc;
	last.ev.stamp -= 2 * MS - 1;
	done();
	FDS(1, 0xb, "");
	FDS(1, 0xc, "-");
}

static void close_range_and_many_fds(void **state)
{
	struct ps_event *e;

	ev_start(1, 0, 100, 0, "/x");
	for (int fd = 0; fd < 500; fd++)
		ev_socket(1, 1000 - fd, 0x100 + (uint64_t)fd);
	ev_socket(1, INT32_MAX, 0xb);
	e = ev(PS_CLOSE_RANGE, 1, -1);
	e->close_range.first = 502;
	e->close_range.last = UINT32_MAX;
	e->error = EINVAL;
	done();
	FDS(1, 0xb, "2147483647");
	e = ev(PS_CLOSE_RANGE, 1, -1);
	e->close_range.first = 502;
	e->close_range.last = UINT32_MAX;
	done();
	FDS(1, 0xb, "");
	FDS(1, 0x100, "");
	FDS(1, 0x100 + 498, "");
	FDS(1, 0x100 + 499, "501");
}

static void first_road_wins(void **state)
{
	uint64_t since;

	ev_start(1, 0, 100, 0, "/x");
	since = ev_socket(1, 3, 0xa);
	ev_fork(1, 2, 0);
	ev_born(2, 1, 101, 0);
	ev_send_fd(1, 0xa, 3);
	ev_set(2, 6, 0xa, PS_F_RECEIVED);
	HOW(2, 0xa, "forked", 1);
	FDS(2, 0xa, "3,6");
	ev_close(2, 3);
	HOW(2, 0xa, "forked", 1);
	ev_bind(2, 6, 0xa, "127.0.0.1", 80, 0);
	HOW(2, 0xa, "forked", 1);
	HOW(1, 0xa, "created", 0); /* the child's bind, not its own */
	ev_dup(1, 3, 4, 0xa);
	ev_close(1, 3);
	assert_int_equal(holder(1, 0xa)->since, since);
	assert_int_equal(periods(1, 0xa), 1);
}

static void second_period(void **state)
{
	uint64_t until, since;

	ev_start(1, 0, 100, 0, "/x");
	ev_start(2, 0, 101, 0, "/y");
	ev_socket(1, 3, 0xa);
	ev_send_fd(1, 0xa, 3);
	until = ev_close(1, 3);
	ev_set(2, 5, 0xa, PS_F_RECEIVED);
	ev_send_fd(2, 0xa, 5);
	since = ev_set(1, 8, 0xa, PS_F_RECEIVED);
	assert_int_equal(periods(1, 0xa), 2);
	HOW(1, 0xa, "received", 2);
	assert_int_equal(holder(1, 0xa)->since, since);
	FDS(1, 0xa, "8");
	assert_int_equal(process(1)->holders->until, until);
	assert_string_equal(holder_how(process(1)->holders), "created");
	assert_int_equal(process(1)->holders->n_fds, 0);
}

static void a_close_that_failed(void **state)
{
	ev_start(1, 0, 100, 0, "/x");
	ev_server(1, 3, 0xa, 80);
	ev_accept(1, 4, 0xa);
	ev_set(1, 4, 0xb, PS_F_SAME);
	ev_close(1, 4);
	assert_int_not_equal(model_connections(m)->closed, 0);
	ev_set(1, 4, 0xb, 0); /* looked at again: still there */
	assert_int_equal(periods(1, 0xb), 1);
	FDS(1, 0xb, "4");
	HOW(1, 0xb, "accepted", 0);
	assert_int_equal(holder(1, 0xb)->until, 0);
	assert_int_equal(model_connections(m)->closed, 0);
}

static void unknown_descriptor(void **state)
{
	ev_start(1, 0, 100, 0, "/x");
	ev_socket(1, 3, 0xa);
	ev_set(1, 3, 0xa, PS_F_UNKNOWN);
	FDS(1, 0xa, "");
	assert_string_equal(process(1)->covered, "partly: fds not read");
}

static void told_again(void **state)
{
	struct ps_event *e;

	ev_start(1, 0, 100, 0, "/x");
	ev_socket(1, 3, 0xa);
	for (uint64_t cookie = 0xa; cookie < 0xc; cookie++) { /* known, then not */
		e = ev(PS_SOCKET, 1, cookie == 0xa ? 3 : 4);
		e->socket.cookie = cookie;
		e->socket.family = AF_INET;
		e->socket.type = SOCK_STREAM;
		e->flags = PS_F_SAME;
		done();
	}
	FDS(1, 0xa, "3");
	FDS(1, 0xb, "4");
	HOW(1, 0xb, "created", 0);
	assert_int_equal(periods(1, 0xa), 1);
	ev_close(1, 3);
	e = ev(PS_SOCKET, 1, 3); /* told by another thread, which had not seen the close */
	e->socket.cookie = 0xa;
	e->flags = PS_F_SAME;
	done();
	FDS(1, 0xa, "");
}

/* Of what was there before, the end is overwritten; and an option has named the socket first. */
static void told_where_another_was(void **state)
{
	struct ps_event *e;

	ev_start(1, 0, 100, 0, "/x");
	ev_socket(1, 3, 0xa);
	e = ev(PS_OPTION, 1, 3);
	e->option.cookie = 0xb;
	done();
	e = ev(PS_SOCKET, 1, 3);
	e->socket.cookie = 0xb;
	e->socket.family = AF_INET;
	e->socket.type = SOCK_STREAM;
	e->flags = PS_F_SAME;
	done();
	FDS(1, 0xa, "");
	FDS(1, 0xb, "3");
	HOW(1, 0xb, "created", 0);
}

/* Accepting. */

static void accepting(void **state)
{
	struct connection *c;
	struct holder *h;
	uint64_t opened, closed;

	ev_start(1, 0, 100, 0, "/x");
	ev_server(1, 3, 0xa, 80);
	opened = ev_accept(1, 4, 0xa);
	h = holder_of_fd(1, 4);
	assert_string_equal(holder_how(h), "accepted");
	assert_int_equal(h->socket->cookie, 0);
	assert_ptr_equal(h->socket->listener, holder(1, 0xa)->socket);
	ENDPOINT(h->socket->peer, "10.0.0.1:40000");
	ENDPOINT(h->socket->local, "127.0.0.1:80");
	assert_string_equal(socket_proto(h->socket), "tcp");
	assert_string_equal(socket_state(h->socket), "connected");
	c = model_connections(m);
	assert_int_equal(c->opened, opened);
	assert_int_equal(c->closed, 0);
	ev_dup(1, 4, 5, 0);
	ev_close(1, 4);
	assert_int_equal(c->closed, 0);
	closed = ev_close(1, 5);
	assert_int_equal(c->closed, closed);
	ev_accept(1, 4, 0xa); /* the next one on the same fd */
	assert_ptr_not_equal(holder_of_fd(1, 4)->socket, h->socket);
	assert_ptr_equal(c->next->socket, holder_of_fd(1, 4)->socket);
	assert_int_equal(holder(1, 0xa)->accepts, 0); /* accepts are counted by COUNT alone */
	ev(PS_ACCEPT, 1, -1)->error = EMFILE;
	last.ev.accept.listener = 0xa;
	done();
	ENDPOINT(newest_failure()->asked, "127.0.0.1:80");
}

static struct holder *holder_since(uint64_t id, uint64_t since)
{
	struct holder *h = process(id)->holders;

	while (h != NULL && h->since != since)
		h = h->next_of_process;
	return h;
}

static void check_unpacked(const struct holder *h, uint64_t closed)
{
	assert_non_null(h);
	assert_int_equal(h->until, closed);
	assert_int_equal(h->n_fds, 0);
	assert_string_equal(holder_how(h), "accepted");
	assert_ptr_equal(h->socket->listener, holder(1, 0xa)->socket);
	ENDPOINT(h->socket->peer, "10.0.0.1:40000");
	ENDPOINT(h->socket->local, "127.0.0.1:80");
	assert_string_equal(socket_proto(h->socket), "tcp");
	assert_string_equal(socket_state(h->socket), "connected");
}

/* They are kept small, and come back as they were. */
static void closed_connections_are_packed(void **state)
{
	enum { CLOSED = 1000 };
	uint64_t opened[CLOSED], closed[CLOSED], open;
	size_t n = 0;

	ev_start(1, 0, 100, 0, "/x");
	ev_server(1, 3, 0xa, 80);
	opened[0] = ev_accept(1, 5, 0xa);
	open = ev_accept(1, 6, 0xa);
	for (int i = 1; i < CLOSED; i++) {
		opened[i] = ev_accept(1, 4, 0xa);
		closed[i] = ev_close(1, 4);
		if (i == CLOSED / 2)
			closed[0] = ev_close(1, 5);
	}
	assert_true(count_sockets() < CLOSED / 2);
	assert_null(holder_since(1, opened[0]));
	assert_int_equal(model_unpack(m), 0);
	assert_int_equal(count_sockets(), CLOSED + 2);
	for (int i = 0; i < CLOSED; i++)
		check_unpacked(holder_since(1, opened[i]), closed[i]);
	assert_ptr_equal(holder_since(1, open), holder_of_fd(1, 6));
	for (const struct holder *h = process(1)->holders; h != NULL; h = h->next_of_process)
		assert_true(h->next_of_process == NULL || h->since <= h->next_of_process->since);
	for (const struct connection *c = model_connections(m); c != NULL; c = c->next)
		n += c->closed != 0;
	assert_int_equal(n, CLOSED);
}

/* A child tells of one that its parent has closed and that was packed since. */
static void a_packed_connection_is_told_of(void **state)
{
	uint64_t opened;

	ev_start(1, 0, 100, 0, "/x");
	ev_server(1, 3, 0xa, 80);
	opened = ev_accept(1, 4, 0xa);
	ev_close(1, 4);
	for (int i = 0; i < 500; i++) {
		ev_accept(1, 4, 0xa);
		ev_close(1, 4);
	}
	assert_null(holder_since(1, opened));
	ev_fork(1, 2, 0);
	ev(PS_SET, 2, 7)->set.cookie = 0xb;
	last.ev.set.family = AF_INET;
	last.ev.set.type = SOCK_STREAM;
	last.ev.set.accepted = opened;
	done();
	FDS(2, 0xb, "7");
	assert_int_equal(holder(2, 0xb)->socket->created, opened);
	HOW(1, 0xb, "accepted", 0);
}

/* What escapes is told twice; the first record may be gone, and then the second makes it. */
static void accept_said_again(void **state)
{
	struct holder *h;

	ev_start(1, 0, 100, 0, "/x");
	ev_server(1, 3, 0xa, 80);
	ev_accept(1, 4, 0xa);
	h = holder_of_fd(1, 4);
	ev(PS_ACCEPT, 1, 4)->flags = PS_F_SAME;
	last.ev.accept.listener = 0xa;
	done();
	assert_ptr_equal(holder_of_fd(1, 4), h);
	assert_null(model_connections(m)->next);
	ev(PS_ACCEPT, 1, 5)->flags = PS_F_SAME;
	last.ev.accept.listener = 0xa;
	done();
	assert_string_equal(holder_how(holder_of_fd(1, 5)), "accepted");
}

static void an_accepted_one_is_named(void **state)
{
	struct holder *h;

	ev_start(1, 0, 100, 0, "/x");
	ev_server(1, 3, 0xa, 80);
	ev_accept(1, 4, 0xa);
	h = holder_of_fd(1, 4);
	ev_set(1, 4, 0xb, PS_F_SAME);
	assert_ptr_equal(holder(1, 0xb), h);
	HOW(1, 0xb, "accepted", 0);
	ev_set(1, 4, 0xb, PS_F_SAME);
	assert_int_equal(periods(1, 0xb), 1);
	assert_int_equal(count_sockets(), 2);
}

static void two_turn_out_to_be_one(void **state)
{
	struct socket *s;

	ev_start(1, 0, 100, 0, "/x");
	ev_start(2, 0, 101, 0, "/y");
	ev_server(1, 3, 0xa, 80);
	ev_accept(1, 4, 0xa);
	ev_fork(1, 3, 0);
	ev_set(2, 6, 0xb, PS_F_RECEIVED); /* its cookie is told by the receiver first */
	assert_int_equal(count_sockets(), 3);
	ev_set(1, 4, 0xb, PS_F_SAME);
	assert_int_equal(count_sockets(), 2);
	s = holder(1, 0xb)->socket;
	assert_ptr_equal(holder(2, 0xb)->socket, s);
	assert_ptr_equal(holder(3, 0xb)->socket, s);
	HOW(1, 0xb, "accepted", 0);
	HOW(3, 0xb, "forked", 1);
	FDS(2, 0xb, "6");
	ENDPOINT(s->peer, "10.0.0.1:40000");
	assert_ptr_equal(model_connections(m)->socket, s);
	ev_close(1, 4);
	FDS(1, 0xb, "");
	ev_close(3, 4);
	FDS(3, 0xb, "");
	FDS(2, 0xb, "6");
}

static void two_holders_of_one(void **state)
{
	ev_start(1, 0, 100, 0, "/x");
	ev_server(1, 3, 0xa, 80);
	ev_accept(1, 4, 0xa);
	ev_set(1, 6, 0xb, PS_F_RECEIVED); /* sent to itself */
	ev_set(1, 4, 0xb, PS_F_SAME);
	FDS(1, 0xb, "4,6");
	HOW(1, 0xb, "accepted", 0);
	assert_int_equal(periods(1, 0xb), 1);
	ev_close(1, 6);
	FDS(1, 0xb, "4");
	ev_close(1, 4);
	FDS(1, 0xb, "");
}

static void two_births_are_two(void **state)
{
	ev_start(1, 0, 100, 0, "/x");
	ev_server(1, 3, 0xa, 80);
	ev_accept(1, 4, 0xa);
	ev_socket(1, 5, 0xb);
	ev_set(1, 4, 0xb, PS_F_SAME); /* the accepted one was closed unseen */
	FDS(1, 0xb, "4,5");
	HOW(1, 0xb, "created", 0);
	assert_int_not_equal(model_connections(m)->closed, 0);
}

static void counts(void **state)
{
	ev_start(1, 0, 100, 0, "/x");
	ev_count(1, 900, 0xa, 2, 1); /* before its holder is known */
	ev_server(1, 3, 0xa, 80);
	ev_count(1, 900, 0xa, 5, 1);
	ev_count(1, 900, 0xa, 5, 1);
	ev_count(1, 901, 0xa, 10, 0);
	ev_count(1, 900, 0xa, 7, 4);
	ev_count(1, 900, 0xa, 6, 4);   /* never goes back */
	ev_count(1, 900, 0xb, 99, 99); /* nor changes its subject */
	assert_int_equal(holder(1, 0xa)->accepts, 17);
	assert_int_equal(holder(1, 0xa)->empty_accepts, 4);
	ev_count(2, 902, 0xa, 3, 0);
	ev_start(2, 1, 101, PS_F_UNSEEN, "/y"); /* a holder found only after it */
	ev_set(2, 3, 0xa, PS_F_STOCK);
	settle();
	assert_int_equal(holder(2, 0xa)->accepts, 3);
	settle();
	assert_int_equal(holder(2, 0xa)->accepts, 3);
}

/* Processes. */

static void master_and_workers(void **state)
{
	uint64_t forked;

	ev_start(1, 0, 100, 0, "/usr/sbin/nginx");
	ev_server(1, 6, 0xa, 80);
	forked = ev_fork(1, 2, 0);
	ev_forked(1, 2, 101, 0);
	ev_fork(1, 3, 0);
	ev_born(2, 1, 101, 0);
	ev_forked(1, 3, 102, 0);
	for (uint64_t worker = 2; worker <= 3; worker++) {
		HOW(worker, 0xa, "forked", 1);
		FDS(worker, 0xa, "6");
		assert_ptr_equal(process(worker)->parent, process(1));
		assert_string_equal(process(worker)->image->exe, "/usr/sbin/nginx");
		ev_accept(worker, 7, 0xa);
	}
	assert_int_equal(process(2)->pid, 101);
	assert_int_equal(process(3)->pid, 102); /* by FORKED alone */
	assert_int_equal(process(2)->started, forked);
	assert_int_equal(holder(2, 0xa)->since, forked);
	assert_null(holder_of_fd(1, 7));
	assert_string_equal(holder_how(holder_of_fd(2, 7)), "accepted");
	HOW(1, 0xa, "bound", 0);
	ev_close(1, 6);
	FDS(1, 0xa, "");
	FDS(2, 0xa, "6");
}

static void chain_of_forks(void **state)
{
	ev_start(1, 0, 100, 0, "/x");
	ev_socket(1, 3, 0xa);
	for (uint64_t id = 1; id < 50; id++) {
		ev_fork(id, id + 1, 0);
		ev_close(id, 3);
	}
	HOW(50, 0xa, "forked", 49);
	FDS(50, 0xa, "3");
	FDS(49, 0xa, "");
}

static void failed_fork(void **state)
{
	ev_start(1, 0, 100, 0, "/x");
	ev_socket(1, 3, 0xa);
	ev_fork(1, 2, 0);
	ev_start(3, 0, 102, 0, "/y");
	ev_set(3, 4, 0xa, PS_F_STOCK);
	HOW(3, 0xa, "inherited", 1);
	ev_forked(1, 2, 0, EAGAIN);
	assert_null(model_process(m, 2));
	assert_int_equal(count_processes(), 2);
	assert_ptr_equal(holder(1, 0xa)->socket->holders, holder(1, 0xa));
	assert_ptr_equal(holder(1, 0xa)->next_of_socket, holder(3, 0xa));
	ev_fork(1, 4, 0); /* the one that lives after all keeps its records */
	ev_born(4, 1, 103, 0);
	ev_forked(1, 4, 0, EAGAIN);
	FDS(4, 0xa, "3");
	settle();
}

static void vfork_child(void **state)
{
	ev_start(1, 0, 100, 0, "/bin/sh");
	ev_socket(1, 3, 0xa);
	ev_socket(1, 4, 0xb);
	ev_fork(1, 2, PS_F_VFORK);
	ev_close(2, 3);
	FDS(1, 0xa, "3");
	FDS(2, 0xa, "");
	ev_exec(2, PS_SEEN, "/bin/sleep");
	ev_start(2, 1, 101, PS_F_EXECED, "/bin/sleep");
	ev_stock(2, 1);
	ev_set(2, 4, 0xb, PS_F_STOCK);
	ev_forked(1, 2, 101, 0);
	HOW(2, 0xb, "forked", 1);
	FDS(2, 0xb, "4");
	assert_string_equal(process(2)->first_image->exe, "/bin/sh");
	assert_string_equal(process(2)->image->exe, "/bin/sleep");
	assert_ptr_equal(process(2)->first_image->next, process(2)->image);
	assert_int_equal(count_processes(), 2);
}

static void spawned_child(void **state)
{
	uint64_t stock;

	ev_start(1, 0, 100, 0, "/x");
	ev_socket(1, 3, 0xa);
	ev_socket(1, 4, 0xb);
	ev_fork(1, 2, PS_F_SPAWN);
	ev_start(2, 1, 101, 0, "/bin/true");
	stock = ev_stock(2, 1);
	ev_set(2, 3, 0xa, PS_F_STOCK);
	ev_forked(1, 2, 101, 0);
	FDS(2, 0xa, "3");
	FDS(2, 0xb, "");
	assert_int_equal(holder(2, 0xb)->until, stock);
	HOW(2, 0xa, "forked", 1);
	assert_false(process(2)->parent_unseen);
}

static void exec_with_cloexec(void **state)
{
	uint64_t stock, since;

	ev_start(1, 0, 100, 0, "/x");
	since = ev_socket(1, 3, 0xa);
	ev_socket(1, 4, 0xb);
	ev_dup(1, 3, 5, 0xa);
	ev_exec(1, PS_SEEN, "/y");
	FDS(1, 0xb, "4"); /* exec may fail yet */
	ev_start(1, 0, 100, PS_F_EXECED, "/y");
	stock = ev_stock(1, 1);
	ev_set(1, 5, 0xa, PS_F_STOCK);
	FDS(1, 0xa, "5");
	FDS(1, 0xb, "");
	assert_int_equal(holder(1, 0xb)->until, stock);
	HOW(1, 0xa, "created", 0);
	assert_int_equal(holder(1, 0xa)->since, since);
	assert_string_equal(process(1)->image->exe, "/y");
	ev_start(1, 0, 100, PS_F_EXECED, "/z");
	ev_stock(1, 0);
	FDS(1, 0xa, "");
}

static void stock_replaces(void **state)
{
	ev_start(1, 0, 100, 0, "/x");
	for (int fd = 3; fd < 8; fd++)
		ev_socket(1, fd, (uint64_t)fd);
	ev_stock(1, 2);
	ev_set(1, 3, 3, PS_F_STOCK);
	ev_socket(1, 9, 0x9); /* another thread's */
	ev(PS_LOCAL, 1, 3)->local.cookie = 3;
	done();
	FDS(1, 4, "4");
	ev_set(1, 5, 5, PS_F_STOCK);
	FDS(1, 3, "3");
	FDS(1, 4, "");
	FDS(1, 5, "5");
	FDS(1, 6, "");
	FDS(1, 9, "9");
	assert_int_equal(periods(1, 3), 1);
}

static void stock_cut_short(void **state)
{
	uint64_t stock;

	ev_start(1, 0, 100, 0, "/x");
	ev_socket(1, 3, 0xa);
	ev_socket(1, 4, 0xb);
	stock = ev_stock(1, 2);
	ev_set(1, 3, 0xa, PS_F_STOCK);
	settle(); /* the rest was not read yet */
	assert_int_equal(holder(1, 0xb)->until, stock);
	ev_set(1, 4, 0xb, PS_F_STOCK);
	FDS(1, 0xa, "3");
	FDS(1, 0xb, "4");
	assert_int_equal(periods(1, 0xb), 1);
	assert_int_equal(holder(1, 0xb)->until, 0);
}

static void stock_names_the_accepted(void **state)
{
	ev_start(1, 0, 100, 0, "/x");
	ev_server(1, 3, 0xa, 80);
	ev_accept(1, 4, 0xa);
	ev_fork(1, 2, 0);
	ev_born(2, 1, 101, 0);
	ev_stock(2, 2);
	ev_set(2, 3, 0xa, PS_F_STOCK);
	ev_set(2, 4, 0xb, PS_F_STOCK);
	HOW(2, 0xb, "forked", 1);
	HOW(1, 0xb, "accepted", 0);
	assert_int_equal(count_sockets(), 2);
}

static void unseen_fork(void **state)
{
	ev_start(1, 0, 100, 0, "/x");
	ev_socket(1, 3, 0xa);
	ev_born(2, 1, 101, PS_F_UNSEEN);
	assert_true(process(2)->parent_unseen);
	assert_ptr_equal(process(2)->parent, process(1));
	ev_stock(2, 2);
	ev_set(2, 3, 0xa, PS_F_STOCK);
	ev_set(2, 4, 0xb, PS_F_STOCK);
	HOW(2, 0xa, "forked", 1);
	HOW(2, 0xb, "inherited", 0);
	ev_start(3, 2, 102, PS_F_UNSEEN, "/z"); /* by way of a static program */
	ev_stock(3, 1);
	ev_set(3, 0, 0xa, PS_F_STOCK);
	HOW(3, 0xa, "forked", 2);
	assert_true(process(3)->parent_unseen);
}

static void ev_unseen(uint64_t id, uint64_t named, uint32_t ppid)
{
	struct ps_event *e = ev(PS_START, id, -1);

	e->start.parent = named;
	e->start.pid = 200 + (uint32_t)id;
	e->start.ppid = ppid;
	e->flags = PS_F_UNSEEN;
	tail("/bin/sh", 8);
	done();
}

/* The environment names the process of the last exec; the kernel's parent may be on record too. */
static void unseen_child_of_a_fork(void **state)
{
	struct ps_event *e;

	ev_start(1, 0, 100, 0, "/x");
	ev_socket(1, 3, 0xa);
	ev_fork(1, 2, 0);
	ev_born(2, 1, 101, 0);
	ev_unseen(10, 1, 101);
	assert_ptr_equal(process(10)->parent, process(2));
	assert_false(process(10)->parent_unseen);
	ev_stock(10, 1);
	ev_set(10, 3, 0xa, PS_F_STOCK);
	HOW(10, 0xa, "forked", 2);
	ev_unseen(11, 1, 100); /* by system() in a threaded program: nobody stands between */
	assert_ptr_equal(process(11)->parent, process(1));
	assert_false(process(11)->parent_unseen);
	ev_unseen(12, 1, 999);
	assert_ptr_equal(process(12)->parent, process(1));
	assert_true(process(12)->parent_unseen);

	ev_start(3, 0, 150, 0, "/y"); /* of another tree: another pid namespace's 150 */
	ev_unseen(13, 1, 150);
	assert_ptr_equal(process(13)->parent, process(1));
	assert_true(process(13)->parent_unseen);
	ev_unseen(14, 2, 100); /* adopted by one above */
	assert_ptr_equal(process(14)->parent, process(2));
	assert_true(process(14)->parent_unseen);
	ev_unseen(15, 1, 215); /* itself */
	assert_ptr_equal(process(15)->parent, process(1));

	e = ev(PS_EXIT, 2, -1);
	e->exit.status = 0;
	done();
	ev_unseen(16, 1, 101); /* ended by then */
	assert_ptr_equal(process(16)->parent, process(1));
	assert_true(process(16)->parent_unseen);
	ev_fork(1, 4, 0);
	ev_forked(1, 4, 101, 0); /* the pid again */
	ev_unseen(17, 1, 101);
	assert_ptr_equal(process(17)->parent, process(4));
	ev_start(17, 0, 217, PS_F_EXECED, "/bin/true");
	assert_ptr_equal(process(17)->parent, process(4));
	assert_false(process(17)->parent_unseen);
}

static void inherited(void **state)
{
	ev_start(1, 0, 100, 0, "/x");
	ev_stock(1, 1);
	ev(PS_SET, 1, 3)->set.cookie = 0xa;
	last.ev.set.listening = 1;
	last.ev.flags = PS_F_STOCK;
	done();
	HOW(1, 0xa, "inherited", 0);
	assert_string_equal(socket_state(holder(1, 0xa)->socket), "listen");
	ev_start(2, 0, 101, 0, "/y");
	ev_stock(2, 1);
	ev_set(2, 3, 0xa, PS_F_STOCK);
	HOW(2, 0xa, "inherited", 1);
}

static void received(void **state)
{
	ev_start(1, 0, 100, 0, "/a");
	ev_start(2, 0, 101, 0, "/b");
	ev_start(3, 0, 102, 0, "/c");
	ev_start(4, 0, 103, 0, "/d");
	ev_socket(1, 3, 0xa);
	ev_send_fd(1, 0xa, 3);
	ev_set(2, 5, 0xa, PS_F_RECEIVED);
	HOW(2, 0xa, "received", 1);
	ev_send_fd(2, 0xa, 5);
	ev_set(3, 5, 0xa, PS_F_RECEIVED);
	HOW(3, 0xa, "received", 2);
	ev_close(2, 5);
	ev_send_fd(2, 0xa, 5); /* its own sending does not count */
	ev_set(2, 6, 0xa, PS_F_RECEIVED);
	HOW(2, 0xa, "received", 1);
	ev_set(3, 8, 0xb, PS_F_RECEIVED); /* from outside */
	HOW(3, 0xb, "received", 0);
	ev_set(4, 8, 0xb, PS_F_RECEIVED); /* sent unseen: by who has it */
	HOW(4, 0xb, "received", 3);
	ev_set(1, 9, 0xb, PS_F_FETCHED);
	HOW(1, 0xb, "fetched", 3);
}

static void uncovered_exec(void **state)
{
	struct ps_event *e;
	uint64_t stamp;

	start_own(1);
	ev_socket(1, 3, 0xa);
	ev_socket(1, 4, 0xb);
	stamp = ev_exec(1, PS_SEEN_STATIC, "/opt/bin/static");
	e = ev(PS_EXEC_CLOSES, 1, 4);
	e->exec_closes.cookie = 0xb;
	done();
	FDS(1, 0xb, "4");
	for (int i = 0; i < 2; i++) {
		settle();
		FDS(1, 0xa, "3");
		FDS(1, 0xb, "");
		assert_int_equal(holder(1, 0xb)->until, stamp);
		assert_true(process(1)->live);
		assert_string_equal(process(1)->image->exe, "/opt/bin/static");
		assert_string_equal(process(1)->image->comm, "static");
		assert_int_equal(strncmp(process(1)->covered, "no: static", 10), 0);
	}
	ev_plain(PS_EXEC_FAILED, 1, -1);
	FDS(1, 0xb, "4");
	assert_int_equal(holder(1, 0xb)->until, 0);
	assert_string_equal(process(1)->image->exe, "/self");
	assert_null(process(1)->image->next);
	assert_string_equal(process(1)->covered, "preload");
	settle();
	FDS(1, 0xb, "4");
	assert_string_equal(process(1)->image->exe, "/self");
}

static void uncovered_exec_that_did_not_happen(void **state)
{
	start_own(1);
	ev_socket(1, 3, 0xa);
	ev_exec(1, PS_SEEN_SETUID, "/bin/su");
	ev_plain(PS_EXEC_CLOSES, 1, 3);
	settle();
	FDS(1, 0xa, "");
	ev_dup(1, 3, 5, 0xa);
	FDS(1, 0xa, "3,5");
	settle();
	FDS(1, 0xa, "3,5");
	assert_string_equal(process(1)->covered, "preload");
}

static void uncovered_exec_and_back(void **state)
{
	uint64_t stamp;

	ev_start(1, 0, 100, 0, "/x");
	ev_socket(1, 3, 0xa);
	ev_socket(1, 4, 0xb);
	stamp = ev_exec(1, PS_SEEN_STATIC, "/bin/busybox");
	ev_plain(PS_EXEC_CLOSES, 1, 4);
	settle();
	ev_start(1, 0, 100, PS_F_EXECED, "/bin/dynamic");
	ev_stock(1, 1);
	ev_set(1, 3, 0xa, PS_F_STOCK);
	assert_int_equal(holder(1, 0xb)->until, stamp);
	FDS(1, 0xa, "3");
	assert_string_equal(process(1)->first_image->next->exe, "/bin/busybox");
	assert_string_equal(process(1)->image->exe, "/bin/dynamic");
	assert_string_equal(process(1)->covered, "preload");
	ev_exec(1, PS_SEEN_LIBC, "/bin/odd"); /* was thought not to report, and does */
	ev_start(1, 0, 100, PS_F_EXECED, "/bin/odd");
	assert_string_equal(process(1)->image->exe, "/bin/odd");
	assert_string_equal(process(1)->first_image->next->next->exe, "/bin/dynamic");
	assert_ptr_equal(process(1)->first_image->next->next->next, process(1)->image);
}

static void exit_and_after(void **state)
{
	struct ps_event *e;
	uint64_t stamp, closed;

	ev_start(1, 0, NOBODY, 0, "/x");
	ev_socket(1, 3, 0xa);
	ev_socket(1, 4, 0xb);
	e = ev(PS_EXIT, 1, -1);
	e->exit.status = 7;
	stamp = done();
	FDS(1, 0xa, "3");
	closed = ev_close(1, 3);
	assert_true(process(1)->exited);
	assert_int_equal(process(1)->exit, 7);
	assert_int_equal(process(1)->ended, stamp);
	assert_int_equal(process(1)->last, closed);
	settle();
	FDS(1, 0xb, "");
	assert_int_equal(holder(1, 0xb)->until, stamp);
	assert_int_equal(holder(1, 0xa)->until, closed);
}

static void confined(void **state)
{
	struct ps_event *e;

	ev_start(1, 0, 100, 0, "/x");
	e = ev(PS_SANDBOX, 1, -1);
	e->sandbox.what = PS_SANDBOX_CHROOT;
	done();
	assert_string_equal(process(1)->covered, "partly: chroot");
	ev_fork(1, 2, 0);
	assert_string_equal(process(2)->covered, "partly: chroot");
	e = ev(PS_SANDBOX, 2, -1);
	e->sandbox.what = PS_SANDBOX_SHARED;
	done();
	assert_string_equal(process(2)->covered, "partly: chroot, shared");
	ev_fork(2, 3, 0); /* has a table and memory of its own again */
	assert_string_equal(process(3)->covered, "partly: chroot");
	for (int i = 0; i < 2; i++) {
		e = ev(PS_DROPPED, 1, -1);
		e->dropped.records = 6;
		done();
	}
	assert_string_equal(process(1)->covered, "partly: chroot, 12 records lost");
	assert_string_equal(process(2)->covered, "partly: chroot, shared");
	e = ev(PS_CREDENTIALS, 1, -1);
	e->credentials.uid = 33;
	done();
	assert_int_equal(process(1)->uid, 33);
}

static void no_ring_of_parents(void **state)
{
	ev_start(1, 2, 100, PS_F_UNSEEN, "/x");
	ev_start(2, 3, 101, PS_F_UNSEEN, "/x");
	ev_start(3, 1, 102, PS_F_UNSEEN, "/x");
	ev_start(4, 4, 103, PS_F_UNSEEN, "/x");
	ev_fork(4, 4, 0);
	ev_fork(3, 1, 0);
	for (uint64_t id = 1; id <= 4; id++) {
		int n = 0;

		for (struct process *p = process(id); p != NULL; p = p->parent)
			assert_true(++n < 10);
	}
	assert_string_equal(process(1)->parent->covered, "preload");
}

static void placeholder_parent(void **state)
{
	ev_start(2, 77, 101, PS_F_UNSEEN, "/x");
	assert_int_equal(strncmp(process(77)->covered, "no:", 3), 0);
	ev_start(77, 0, 100, 0, "/y");
	assert_string_equal(process(77)->covered, "preload");
	assert_ptr_equal(process(2)->parent, process(77));
}

/* Records that are read ahead of what explains them. */

static void fork_read_late(void **state)
{
	uint64_t fork_stamp;

	ev_start(1, 0, 100, 0, "/x");
	ev_socket(1, 3, 0xa);
	ev_socket(1, 4, 0xb);
	fork_stamp = now += MS;
	ev_born(2, 1, 101, 0);
	ev_close(2, 3);
	ev_fork(2, 3, 0); /* the grandchild waits as well */
	ev_born(3, 2, 102, 0);
	ev_close(3, 4);
	assert_null(model_process(m, 2));
	ev(PS_FORK, 1, -1)->fork.child = 2;
	last.ev.stamp = fork_stamp;
	done();
	FDS(2, 0xa, "");
	FDS(2, 0xb, "4");
	HOW(2, 0xb, "forked", 1);
	FDS(3, 0xa, "-");
	FDS(3, 0xb, "");
	HOW(3, 0xb, "forked", 2);
	assert_int_equal(process(3)->pid, 102);
}

static void fork_never_read(void **state)
{
	ev_start(1, 0, 100, 0, "/x");
	ev_socket(1, 3, 0xa);
	ev_born(2, 1, 101, 0);
	ev_socket(2, 5, 0xb);
	ev_socket(4, 5, 0xc);
	settle();
	assert_ptr_equal(process(2)->parent, process(1));
	assert_int_equal(periods(2, 0xb), 1);
	assert_int_equal(periods(4, 0xc), 1);
	ev_born(5, 1, 105, 0); /* FORKED alone is left of it */
	ev_close(5, 3);
	ev_forked(1, 5, 105, 0);
	FDS(5, 0xa, "");
	HOW(5, 0xa, "forked", 1);
}

static void fork_read_much_too_late(void **state)
{
	uint64_t fork_stamp;

	ev_start(1, 0, 100, 0, "/x");
	ev_socket(1, 3, 0xa);
	ev_socket(1, 4, 0xb);
	fork_stamp = now += MS;
	ev_born(2, 1, 101, 0);
	ev_close(2, 3);
	settle();
	ev(PS_FORK, 1, -1)->fork.child = 2;
	last.ev.stamp = fork_stamp;
	done();
	FDS(2, 0xa, "-");
	FDS(2, 0xb, "4");
	assert_int_equal(process(2)->started, fork_stamp);
}

/* Who stood in the way. */

static void check_in_the_way(uint64_t id, int fd, uint64_t cookie, const char *ip, uint16_t port,
			     uint64_t who, uint64_t what, int line)
{
	struct holder *h;

	ev_bind(id, fd, cookie, ip, port, EADDRINUSE);
	h = newest_failure()->stood_in_the_way;
	if ((h != NULL ? h->process->id : 0) != who || (h != NULL ? h->socket->cookie : 0) != what)
		fail_msg("line %d: in the way is process %d", line, h != NULL ? (int)h->process->id : 0);
}
#define IN_THE_WAY(fd, cookie, ip, port, who, what) \
	check_in_the_way(9, fd, cookie, ip, port, who, what, __LINE__)

static uint64_t ev_local(uint64_t id, int fd, uint64_t cookie, const char *ip, uint16_t port)
{
	struct ps_event *e = ev(PS_LOCAL, id, fd);

	e->local.cookie = cookie;
	e->local.address = inet(ip, port);
	return done();
}

static uint64_t ev_act(uint64_t id, int fd, uint64_t cookie, enum rule_action_kind action, int error,
		       const char *source)
{
	struct ps_event *e = ev(PS_ACT, id, fd);

	e->act.cookie = cookie;
	e->act.action = action;
	e->act.call = RULE_BIND;
	e->error = (uint16_t)error;
	tail(source, strlen(source) + 1);
	return done();
}

static void redirected_bind(void **state)
{
	ev_start(1, 0, 100, 0, "/x");
	ev_socket(1, 3, 0xa);
	ev_act(1, 3, 0xa, ACT_REDIRECT, 0, "web.rules:7");
	ev_bind(1, 3, 0xa, "127.0.0.1", 80, 0);
	ev_local(1, 3, 0xa, "127.0.0.1", 8080);
	ENDPOINT(holder(1, 0xa)->socket->local, "127.0.0.1:8080");
	ENDPOINT(*holder(1, 0xa)->socket->asked, "127.0.0.1:80");
	assert_string_equal(holder(1, 0xa)->socket->rule, "web.rules:7");
	/* Where nothing was moved, nothing else was asked for, whatever rule acted. */
	ev_socket(1, 4, 0xb);
	ev_act(1, 4, 0xb, ACT_CLOEXEC, 0, "-r #2");
	ev_bind(1, 4, 0xb, "127.0.0.1", 81, 0);
	assert_null(holder(1, 0xb)->socket->asked);
	assert_string_equal(holder(1, 0xb)->socket->rule, "-r #2");
	ev_socket(1, 5, 0xc);
	ev_bind(1, 5, 0xc, "127.0.0.1", 82, 0);
	assert_null(holder(1, 0xc)->socket->rule);
	/* The real name is what stands in another's way. */
	ev_socket(1, 6, 0xd);
	ev_bind(1, 6, 0xd, "127.0.0.1", 8080, EADDRINUSE);
	assert_ptr_equal(newest_failure()->stood_in_the_way, holder(1, 0xa));
	assert_null(newest_failure()->rule);
}

/* Who holds the port that was asked for has nothing to do with it; and what a rule did ends with the call. */
static void redirected_bind_fails(void **state)
{
	struct failure *f;
	struct endpoint to;

	ev_start(1, 0, 100, 0, "/x");
	ev_server(1, 3, 0xa, 80);
	ev_socket(1, 4, 0xb);
	ev_act(1, 4, 0xb, ACT_REDIRECT, 0, "web.rules:7");
	ev_bind(1, 4, 0xb, "127.0.0.1", 80, EADDRINUSE);
	assert_null(newest_failure()->stood_in_the_way);
	assert_int_equal(newest_failure()->taken, TAKEN_NOT);
	assert_string_equal(newest_failure()->rule, "web.rules:7");
	assert_true(newest_failure()->moved);
	f = newest_failure();
	to = f->asked;
	to.port = 8080;
	model_failure_moved(m, f, 0xb, &to);
	assert_null(f->stood_in_the_way);
	assert_int_equal(f->taken, TAKEN_UNKNOWN);
	to.port = 80;
	model_failure_moved(m, f, 0xb, &to);
	assert_ptr_equal(f->stood_in_the_way, holder(1, 0xa));
	assert_int_equal(f->taken, TAKEN_UNSHARED);
	ev_bind(1, 4, 0xb, "127.0.0.1", 81, 0);
	assert_null(holder(1, 0xb)->socket->asked);
	assert_null(holder(1, 0xb)->socket->rule);
}

static void denied_bind(void **state)
{
	ev_start(1, 0, 100, 0, "/x");
	ev_socket(1, 3, 0xa);
	ev_act(1, 3, 0xa, ACT_DENY, 0, "--deny 80");
	ev_bind(1, 3, 0xa, "127.0.0.1", 80, EACCES);
	assert_string_equal(newest_failure()->rule, "--deny 80");
	assert_int_equal(newest_failure()->taken, TAKEN_NOT);
	ev_bind(1, 3, 0xa, "127.0.0.1", 81, EACCES);
	assert_null(newest_failure()->rule);
	/* Whoever holds it was not asked. */
	ev_server(1, 4, 0xb, 82);
	ev_act(1, 3, 0xa, ACT_DENY, 0, "-r #1");
	ev_bind(1, 3, 0xa, "127.0.0.1", 82, EADDRINUSE);
	assert_true(newest_failure()->denied);
	assert_null(newest_failure()->stood_in_the_way);
	assert_int_equal(newest_failure()->taken, TAKEN_NOT);
	ev_bind(1, 3, 0xa, "127.0.0.1", 82, EADDRINUSE);
	assert_false(newest_failure()->denied);
	assert_ptr_equal(newest_failure()->stood_in_the_way, holder(1, 0xb));
}

static void why_taken(void **state)
{
	ev_start(1, 0, 100, 0, "/x");
	ev_start(9, 0, 101, 0, "/y");
	process(9)->uid = 1001;
	ev_socket(9, 4, 0xb);
	ev_bind(9, 4, 0xb, "127.0.0.1", 80, EADDRINUSE);
	assert_int_equal(newest_failure()->taken, TAKEN_UNKNOWN);
	ev_server(1, 3, 0xa, 80);
	ev_bind(9, 4, 0xb, "127.0.0.1", 80, EADDRINUSE);
	assert_int_equal(newest_failure()->taken, TAKEN_UNSHARED);
	holder(1, 0xa)->socket->reuseport = true;
	ev_bind(9, 4, 0xb, "127.0.0.1", 80, EADDRINUSE);
	assert_int_equal(newest_failure()->taken, TAKEN_HERE);
	holder(9, 0xb)->socket->reuseport = true;
	ev_bind(9, 4, 0xb, "127.0.0.1", 80, EADDRINUSE);
	assert_int_equal(newest_failure()->taken, TAKEN_OTHER_UID);
	process(9)->uid = process(1)->uid;
	ev_bind(9, 4, 0xb, "127.0.0.1", 80, EADDRINUSE);
	assert_int_equal(newest_failure()->taken, TAKEN_OTHERWISE);
}

static void shares_in_name_only(void **state)
{
	ev_start(1, 0, 100, 0, "/x");
	ev_server(1, 3, 0xa, 80);
	ev_socket(1, 4, 0xb);
	ev_act(1, 4, 0xb, ACT_REUSEPORT, 0, "--share");
	ev_bind(1, 4, 0xb, "0.0.0.0", 80, 0);
	assert_ptr_equal(holder(1, 0xb)->socket->unshared, holder(1, 0xa));
	/* At the same address it is shared. */
	ev_socket(1, 5, 0xc);
	ev_act(1, 5, 0xc, ACT_REUSEPORT, 0, "--share");
	ev_bind(1, 5, 0xc, "127.0.0.1", 81, 0);
	ev_socket(1, 6, 0xd);
	ev_act(1, 6, 0xd, ACT_REUSEPORT, 0, "--share");
	ev_bind(1, 6, 0xd, "127.0.0.1", 81, 0);
	assert_null(holder(1, 0xd)->socket->unshared);
	/* Without the rule nobody meant to share. */
	ev_socket(1, 7, 0xe);
	ev_bind(1, 7, 0xe, "0.0.0.0", 81, 0);
	assert_null(holder(1, 0xe)->socket->unshared);
}

static void failed_bind(void **state)
{
	struct failure *f;

	ev_start(1, 0, 100, 0, "/x");
	ev_start(9, 0, 101, 0, "/y");
	ev_server(1, 3, 0xa, 80);
	ev_socket(9, 4, 0xb);
	IN_THE_WAY(4, 0xb, "127.0.0.1", 80, 1, 0xa);
	f = newest_failure();
	assert_int_equal(f->error, EADDRINUSE);
	assert_int_equal(f->fd, 4);
	assert_int_equal(f->kind, PS_BIND);
	assert_ptr_equal(f->process, process(9));
	ENDPOINT(f->asked, "127.0.0.1:80");
	IN_THE_WAY(4, 0xb, "0.0.0.0", 80, 1, 0xa);
	IN_THE_WAY(4, 0xb, "127.0.0.2", 80, 0, 0);
	IN_THE_WAY(4, 0xb, "127.0.0.1", 81, 0, 0);
	ev_socket_of(9, 5, 0xc, AF_INET6, SOCK_STREAM);
	IN_THE_WAY(5, 0xc, "::", 80, 1, 0xa);
	IN_THE_WAY(5, 0xc, "::1", 80, 0, 0);
	IN_THE_WAY(5, 0xc, "::ffff:127.0.0.1", 80, 1, 0xa);
	ev_socket_of(9, 6, 0xd, AF_INET, SOCK_DGRAM);
	IN_THE_WAY(6, 0xd, "127.0.0.1", 80, 0, 0);
	ev_bind(9, 4, 0xb, "127.0.0.1", 80, EACCES);
	assert_null(newest_failure()->stood_in_the_way);
	ENDPOINT(holder(9, 0xb)->socket->local, "");
	/* The shell has gone, its child keeps the port. */
	ev_fork(1, 2, 0);
	ev_forked(1, 2, 103, 0);
	ev_close(1, 3);
	IN_THE_WAY(4, 0xb, "127.0.0.1", 80, 2, 0xa);
	ev_close(2, 3);
	IN_THE_WAY(4, 0xb, "127.0.0.1", 80, 0, 0);
}

static void failed_bind_beside_ipv6(void **state)
{
	struct ps_event *e;

	ev_start(1, 0, 100, 0, "/x");
	ev_start(9, 0, 101, 0, "/y");
	ev_socket_of(1, 3, 0xa, AF_INET6, SOCK_STREAM);
	ev_bind(1, 3, 0xa, "::", 80, 0);
	ev_socket(9, 4, 0xb);
	IN_THE_WAY(4, 0xb, "127.0.0.1", 80, 1, 0xa);
	e = ev(PS_OPTION, 1, 3);
	e->option.cookie = 0xa;
	e->option.level = IPPROTO_IPV6;
	e->option.name = IPV6_V6ONLY;
	e->option.value = 1;
	done();
	IN_THE_WAY(4, 0xb, "127.0.0.1", 80, 0, 0);
}

static void failed_bind_unix(void **state)
{
	ev_start(1, 0, 100, 0, "/x");
	ev_socket_of(1, 3, 0xa, AF_UNIX, SOCK_STREAM);
	ev_bind_unix(1, 3, 0xa, "/run/a", 6, 0);
	ENDPOINT(holder(1, 0xa)->socket->local, "/run/a");
	ev_socket_of(1, 4, 0xb, AF_UNIX, SOCK_DGRAM);
	ev_bind_unix(1, 4, 0xb, "/run/a", 6, EADDRINUSE); /* a path, for any type */
	assert_ptr_equal(newest_failure()->stood_in_the_way, holder(1, 0xa));
	ev_bind_unix(1, 4, 0xb, "/run/b", 6, EADDRINUSE);
	assert_null(newest_failure()->stood_in_the_way);
	ev_bind_unix(1, 4, 0xb, "\0abs", 4, 0);
	ev_socket_of(1, 5, 0xc, AF_UNIX, SOCK_STREAM);
	ev_bind_unix(1, 5, 0xc, "\0abs", 4, EADDRINUSE); /* an abstract name, of its type only */
	assert_null(newest_failure()->stood_in_the_way);
	ev_socket_of(1, 6, 0xd, AF_UNIX, SOCK_DGRAM);
	ev_bind_unix(1, 6, 0xd, "\0abs", 4, EADDRINUSE);
	assert_ptr_equal(newest_failure()->stood_in_the_way, holder(1, 0xb));
}

/* Against the kernel. */

static void the_dead_and_the_living(void **state)
{
	uint64_t stamp;

	ev_start(3, 0, (uint32_t)getpid(), 0, "/x"); /* an older process of the same pid */
	ev_socket(3, 3, 0xc);
	start_own(1);
	ev_socket(1, 3, 0xa);
	ev_start(2, 0, NOBODY, 0, "/x");
	ev_socket(2, 3, 0xb);
	ev_accept(2, 4, 0xb);
	for (int i = 0; i < 2; i++) {
		settle();
		assert_true(process(1)->live);
		assert_true(holder_live(holder(1, 0xa)));
		assert_false(process(2)->live);
		assert_false(process(3)->live);
		FDS(1, 0xa, "3");
		FDS(2, 0xb, "");
		FDS(3, 0xc, "");
		assert_int_equal(holder(2, 0xb)->until, 0);
		assert_false(holder_live(holder(2, 0xb)));
	}
	stamp = ev_close(2, 3); /* read after it was found dead */
	ev_dup(2, 4, 5, 0);
	assert_non_null(holder_of_fd(2, 5));
	assert_int_equal(holder(2, 0xb)->until, stamp);
	settle();
	assert_null(holder_of_fd(2, 5));
}

static void one_pid_two_processes(void **state)
{
	ev_start(1, 0, 0, 0, "/x");
	now = monotonic();
	ev_fork(1, 2, 0);
	ev_forked(1, 2, (uint32_t)getpid(), 0);
	now += 3600 * 1000 * MS;
	start_own(3);
	settle();
	assert_false(process(2)->live);
	assert_true(process(3)->live);
}

/* A child that never says anything is known by the time of its fork. */
static void by_start_time(void **state)
{
	struct kernel_process k;
	pid_t pid;
	uid_t uid;

	ev_start(1, 0, 0, 0, "/x");
	ev_socket(1, 3, 0xa);
	now = monotonic() - MS;
	ev_fork(1, 2, 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		pause();
		_exit(0);
	}
	now = monotonic();
	ev_forked(1, 2, (uint32_t)pid, 0);
	settle();
	assert_true(process(2)->live);
	assert_true(holder_live(holder(2, 0xa)));
	assert_int_equal(kernel_process(pid, &k), 0);
	assert_int_equal(process(2)->start, k.start);
	assert_int_equal(k.ppid, getpid());
	assert_int_equal(kernel_uid(pid, &uid), 0);
	assert_int_equal(uid, geteuid());
	kill(pid, SIGKILL);
	/* A zombie holds nothing. */
	siginfo_t info;

	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	settle();
	assert_false(process(2)->live);
	FDS(2, 0xa, "");
	waitpid(pid, NULL, 0);
	assert_int_equal(kernel_process(pid, &k), -ESRCH);
}

static void not_that_process(void **state)
{
	ev_start(1, 0, 0, 0, "/x");
	now = 5 * MS; /* long before this one started */
	ev_fork(1, 2, 0);
	ev_forked(1, 2, (uint32_t)getpid(), 0);
	settle();
	assert_false(process(2)->live);
}

/* A listener, a client's socket and the connection accepted between them, on the loopback. */
static void loopback(int *listener, int *client, int *accepted, struct sockaddr_in *name)
{
	socklen_t len = sizeof(*name);

	*name = (struct sockaddr_in){ .sin_family = AF_INET };
	name->sin_addr.s_addr = htonl(INADDR_ANY);
	*listener = socket(AF_INET, SOCK_STREAM, 0);
	assert_true(*listener >= 0);
	assert_int_equal(bind(*listener, (struct sockaddr *)name, sizeof(*name)), 0);
	assert_int_equal(listen(*listener, 1), 0);
	assert_int_equal(getsockname(*listener, (struct sockaddr *)name, &len), 0);
	name->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	*client = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(*client, (struct sockaddr *)name, sizeof(*name)), 0);
	*accepted = accept(*listener, NULL, NULL);
	assert_true(*accepted >= 0);
}

static void from_the_kernel(void **state)
{
	int listener, client, accepted, other;
	struct sockaddr_in name;
	char expected[64];
	struct holder *h;

	loopback(&listener, &client, &accepted, &name);
	other = dup(accepted);
	start_own(1);
	ev(PS_SOCKET, 1, listener)->socket.cookie = 0xa;
	last.ev.socket.family = AF_INET;
	last.ev.socket.type = SOCK_STREAM;
	done();
	ev_bind(1, listener, 0xa, "0.0.0.0", ntohs(name.sin_port), 0);
	ev_listen(1, listener, 0xa);
	ev_accept(1, accepted, 0xa);
	for (int i = 0; i < 2; i++)
		assert_int_equal(model_settle(m, true), 0);
	(void)snprintf(expected, sizeof(expected), "127.0.0.1:%d", ntohs(name.sin_port));
	h = holder_of_fd(1, accepted);
	ENDPOINT(h->socket->local, expected);
	assert_int_not_equal(h->socket->inode, 0);
	assert_string_equal(holder_how(h), "accepted");
	assert_ptr_equal(holder_of_fd(1, other), h); /* not recorded, but the same inode */
	h = holder_of_fd(1, client);
	assert_string_equal(holder_how(h), "created");
	assert_string_equal(socket_proto(h->socket), "tcp");
	assert_string_equal(socket_state(h->socket), "connected");
	ENDPOINT(h->socket->peer, expected);
	assert_int_equal(h->since, 0);
	/* The record of the client's comes after all. */
	ev(PS_SOCKET, 1, client)->socket.cookie = 0xc;
	done();
	HOW(1, 0xc, "created", 0);
	assert_int_equal(count_sockets(), 3);
	ev_close(1, other);
	ev_close(1, accepted);
	close(listener);
	close(client);
	close(accepted);
	close(other);
}

static void overwritten_accept(void **state)
{
	int listener, client, accepted;
	struct sockaddr_in name;
	struct holder *h;

	loopback(&listener, &client, &accepted, &name);
	start_own(1);
	ev_socket(1, listener, 0xa);
	ev_bind(1, listener, 0xa, "0.0.0.0", ntohs(name.sin_port), 0);
	ev_listen(1, listener, 0xa);
	ev_close(1, accepted); /* of the connection before */
	assert_int_equal(model_settle(m, true), 0);
	h = holder_of_fd(1, accepted);
	assert_non_null(h);
	assert_string_equal(holder_how(h), "accepted");
	ev_accept(1, accepted, 0xa); /* was only not read yet */
	assert_null(holder_of_fd(1, accepted)->next_of_socket);
	assert_int_equal(count_sockets(), 3);
	close(listener);
	close(client);
	close(accepted);
}

/* Sockets that records know by their cookies: the last is another one by now. */
static void learned_inodes(void **state)
{
	struct {
		uint64_t cookie, inode;
	} of[3];
	int fds[3];
	struct sockaddr_in any = { .sin_family = AF_INET };

	start_own(1);
	for (int i = 0; i < 3; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM, 0);
		assert_true(fds[i] >= 0);
		assert_int_equal(kernel_fd_socket(getpid(), fds[i], &of[i].cookie, &of[i].inode), 0);
		ev(PS_SOCKET, 1, fds[i])->socket.cookie = of[i].cookie + (i == 2);
		done();
	}
	assert_int_equal(bind(fds[0], (struct sockaddr *)&any, sizeof(any)), 0);
	assert_int_equal(model_settle(m, false), 0);
	assert_int_equal(holder_of_fd(1, fds[0])->socket->inode, 0);
	assert_int_equal(model_learn_inodes(m), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(holder_of_fd(1, fds[i])->socket->inode, i == 2 ? 0 : of[i].inode);
	assert_int_equal(kernel_fd_socket(getpid(), STDIN_FILENO, &of[0].cookie, &of[0].inode), -ENOTSOCK);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	assert_int_equal(kernel_fd_socket(getpid(), 1000, &of[0].cookie, &of[0].inode), -EBADF);
}

struct wanted {
	int32_t fd;
	uint64_t inode;
};

static int find_fd(int32_t fd, uint64_t inode, void *arg)
{
	struct wanted *w = arg;

	if (fd != w->fd)
		return 0;
	w->inode = inode;
	return 1;
}

static void kernel_side(void **state)
{
	int listener, client, accepted;
	struct sockaddr_in name;
	struct kernel_process k;
	struct kernel_net net;
	struct wanted w;
	char comm[16] = { 0 };

	prctl(PR_GET_NAME, comm);
	prctl(PR_SET_NAME, "a) R 1 (b) Z");
	assert_int_equal(kernel_process(getpid(), &k), 0);
	prctl(PR_SET_NAME, comm);
	assert_int_equal(k.ppid, getppid());
	assert_int_equal(k.state, 'R');
	assert_true(k.start > 0);
	assert_int_equal(kernel_process((pid_t)NOBODY, &k), -ESRCH);
	assert_int_equal(kernel_process(0, &k), -ESRCH);
	assert_int_equal(kernel_uid((pid_t)NOBODY, &(uid_t){ 0 }), -ESRCH);
	assert_int_equal(kernel_fds((pid_t)NOBODY, find_fd, &w), -ESRCH);
	assert_int_equal(kernel_net((pid_t)NOBODY, &net), -ESRCH);
	loopback(&listener, &client, &accepted, &name);
	assert_int_equal(kernel_net(getpid(), &net), 0);
	int fds[] = { listener, client, accepted };
	enum kernel_state states[] = { KERNEL_LISTEN, KERNEL_CONNECTED, KERNEL_CONNECTED };

	for (size_t i = 0; i < 3; i++) {
		const struct kernel_socket *s;

		w = (struct wanted){ .fd = fds[i] };
		assert_int_equal(kernel_fds(getpid(), find_fd, &w), 1);
		s = kernel_net_find(&net, w.inode);
		assert_non_null(s);
		assert_int_equal(s->state, states[i]);
		assert_int_equal(s->local.port == ntohs(name.sin_port), fds[i] != client);
		assert_int_equal(s->peer.family, i == 0 ? 0 : AF_INET);
		close(fds[i]);
	}
	kernel_net_free(&net);
	kernel_net_free(&net);
}

static void words(void **state)
{
	static const struct {
		uint16_t family, type;
		const char *proto, *word;
	} rows[] = {
		{ AF_INET, SOCK_STREAM, "tcp", "stream" },
		{ AF_INET6, SOCK_STREAM, "tcp6", "stream" },
		{ AF_INET, SOCK_DGRAM, "udp", "dgram" },
		{ AF_INET6, SOCK_DGRAM, "udp6", "dgram" },
		{ AF_INET, SOCK_RAW, "raw", "raw" },
		{ AF_INET6, SOCK_RAW, "raw6", "raw" },
		{ AF_UNIX, SOCK_SEQPACKET, "unix", "seqpacket" },
		{ AF_NETLINK, SOCK_RAW, "netlink", "raw" },
		{ AF_PACKET, SOCK_DGRAM, "packet", "dgram" },
		{ AF_VSOCK, SOCK_STREAM, "vsock", "stream" },
		{ 999, SOCK_RDM, "family-999", "rdm" },
		{ 0, 0, "", "" },
		{ AF_UNIX, 77, "unix", "type-77" },
	};

	ev_start(1, 0, 100, 0, "/x");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ev_socket_of(1, 3, 100 + i, rows[i].family, rows[i].type);
		assert_string_equal(socket_proto(holder(1, 100 + i)->socket), rows[i].proto);
		assert_string_equal(socket_type(holder(1, 100 + i)->socket), rows[i].word);
	}
}

/* What a program scribbles into its log. */

static uint64_t seed;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void scribble(struct record *r, const char *bytes, size_t len)
{
	uint64_t payload[4];

	memset(r, 0, sizeof(*r));
	for (size_t i = 0; i < 4; i++)
		payload[i] = rnd() % 4 == 0 ? rnd() : rnd() % 12;
	memcpy(r->ev.payload, payload, sizeof(r->ev.payload));
	r->ev.kind = (uint8_t)(rnd() % 8 == 0 ? rnd() : 1 + rnd() % PS_PAD);
	r->ev.error = (uint16_t)(rnd() % 8 == 0 ? (rnd() % 2 == 0 ? EADDRINUSE : rnd()) : 0);
	r->ev.stamp = rnd() % 16 == 0 ? rnd() : now++;
	r->ev.process = rnd() % 64 == 0 ? rnd() : rnd() % 12;
	r->ev.fd = (int32_t)(rnd() % 32 == 0 ? rnd() : rnd() % 12);
	r->ev.flags = (uint16_t)(rnd() % 2 == 0 ? 0 : rnd() & rnd());
	r->place = rnd() % 20;
	r->tail_len = (uint32_t)(rnd() % len);
	r->tail = rnd() % 2 == 0 ? NULL : &bytes[len - r->tail_len];
	if (r->ev.kind == PS_BIND || r->ev.kind == PS_LOCAL || r->ev.kind == PS_CONNECT) {
		static const uint16_t families[] = { AF_INET, AF_INET6, AF_UNIX };

		r->ev.bind.address.family = families[rnd() % 3];
		r->ev.bind.address.port = (uint16_t)(rnd() % 4);
	}
}

/* Both ends of each list, and what the tables say against what the holders say. */
static void check_consistency(void)
{
	for (struct process *p = model_processes(m); p != NULL; p = p->next) {
		size_t n = 0;

		for (struct holder *h = p->holders; h != NULL; h = h->next_of_process, n++) {
			assert_ptr_equal(h->process, p);
			assert_true(n < 10000000);
			for (size_t i = 1; i < h->n_fds; i++)
				assert_true(h->fds[i - 1] < h->fds[i]);
			assert_true(strlen(holder_how(h)) > 0);
			if (h->n_fds > 0 && h->fds[0] < 12)
				assert_ptr_equal(holder_of_fd(p->id, h->fds[0]), h);
		}
	}
	for (struct socket *s = model_sockets(m); s != NULL; s = s->next) {
		for (struct holder *h = s->holders; h != NULL; h = h->next_of_socket)
			assert_ptr_equal(h->socket, s);
		assert_non_null(socket_proto(s));
	}
}

static void hostile(void **state)
{
	static const char bytes[64] = "/bin/x\0comm\0argv\0-1 and no end";

	for (uint64_t round = 1; round <= 20; round++) {
		teardown(state);
		assert_int_equal(setup(state), 0);
		seed = round * 0x9e3779b97f4a7c15ull;
		for (int i = 0; i < 5000; i++) {
			struct record r;

			scribble(&r, bytes, sizeof(bytes));
			assert_int_equal(model_add(m, &r, 1), 0);
			if (rnd() % 500 == 0)
				assert_int_equal(model_settle(m, rnd() % 4 == 0), 0);
			if (rnd() % 1000 == 0)
				check_consistency();
		}
		settle();
		check_consistency();
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_server),
		T(local_tells_the_port),
		T(options),
		T(connects),
		T(a_pair_and_a_failed_socket),
		T(shutdown_of_a_listener),
		T(a_listener_is_dissolved),
		T(dup_and_close),
		T(dup_over_another),
		T(the_largest_stamp_wins),
		T(close_range_and_many_fds),
		T(first_road_wins),
		T(second_period),
		T(a_close_that_failed),
		T(unknown_descriptor),
		T(told_again),
		T(told_where_another_was),
		T(accepting),
		T(closed_connections_are_packed),
		T(a_packed_connection_is_told_of),
		T(accept_said_again),
		T(an_accepted_one_is_named),
		T(two_turn_out_to_be_one),
		T(two_holders_of_one),
		T(two_births_are_two),
		T(counts),
		T(master_and_workers),
		T(chain_of_forks),
		T(failed_fork),
		T(vfork_child),
		T(spawned_child),
		T(exec_with_cloexec),
		T(stock_replaces),
		T(stock_cut_short),
		T(stock_names_the_accepted),
		T(unseen_fork),
		T(unseen_child_of_a_fork),
		T(inherited),
		T(received),
		T(uncovered_exec),
		T(uncovered_exec_that_did_not_happen),
		T(uncovered_exec_and_back),
		T(exit_and_after),
		T(confined),
		T(no_ring_of_parents),
		T(placeholder_parent),
		T(fork_read_late),
		T(fork_never_read),
		T(fork_read_much_too_late),
		T(failed_bind),
		T(redirected_bind),
		T(redirected_bind_fails),
		T(denied_bind),
		T(why_taken),
		T(shares_in_name_only),
		T(failed_bind_beside_ipv6),
		T(failed_bind_unix),
		T(the_dead_and_the_living),
		T(one_pid_two_processes),
		T(by_start_time),
		T(not_that_process),
		T(from_the_kernel),
		T(overwritten_accept),
		T(learned_inodes),
		T(kernel_side),
		T(words),
		T(hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
