/* SPDX-License-Identifier: MIT */
/* socket, socketpair, bind, listen, accept, connect, shutdown, setsockopt. */
#include "cases.h"

#include <netinet/tcp.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>

int __connect(int fd, const struct sockaddr *sa, socklen_t len);

static void limit_fds(unsigned n)
{
	struct rlimit limit;

	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = n;
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

/* ---- socket ---- */

static void socket_families(void)
{
	show_fd(OK(socket(AF_INET, SOCK_STREAM, 0)));
	show_fd(OK(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP)));
	show_fd(OK(socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_TCP)));
	show_fd(OK(socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)));
	show_fd(OK(socket(AF_UNIX, SOCK_STREAM, 0)));
	show_fd(OK(socket(AF_UNIX, SOCK_DGRAM, 0)));
	show_fd(OK(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)));
	OK(socket(AF_NETLINK, SOCK_RAW, 0));
}

static void socket_errors(void)
{
	FAILS(EAFNOSUPPORT, socket(-1, SOCK_STREAM, 0));
	FAILS(EAFNOSUPPORT, socket(AF_UNSPEC, SOCK_STREAM, 0));
	FAILS(EINVAL, socket(AF_INET, 99, 0));
	FAILS(EPROTONOSUPPORT, socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
	FAILS(EINVAL, socket(AF_INET, SOCK_STREAM | 0x100000, 0));
	FAILS(EPROTONOSUPPORT, socket(AF_UNIX, SOCK_STREAM, 99));
}

static void socket_emfile(void)
{
	limit_fds(5);
	OK(socket(AF_INET, SOCK_STREAM, 0));
	OK(socket(AF_INET, SOCK_STREAM, 0));
	FAILS(EMFILE, socket(AF_INET, SOCK_STREAM, 0));
	IS(0, close(4));
	IS(4, socket(AF_UNIX, SOCK_STREAM, 0));
	limit_fds(1024);
}

static int no_standard_fds(void)
{
	for (int fd = 0; fd < 3; fd++)
		close(fd);
	CHECK(socket(AF_INET, SOCK_STREAM, 0) == 0);
	CHECK(socket(AF_INET, SOCK_STREAM, 0) == 1);
	CHECK(socket(AF_INET, SOCK_STREAM, 0) == 2);
	CHECK(socket(AF_INET, SOCK_STREAM, 0) == 3);
	return 5;
}

static void socket_standard(void)
{
	in_child(no_standard_fds);
}

static void open_and_close(void *arg)
{
	for (int i = 0; i < 300; i++) {
		int fd = socket((uintptr_t)arg % 2 ? AF_UNIX : AF_INET, SOCK_STREAM, 0);

		CHECK(fd > 2);
		CHECK(close(fd) == 0);
	}
}

static void socket_threads(void)
{
	many_threads(8, open_and_close);
}

static void make_socket(void)
{
	OK(socket(AF_INET, SOCK_STREAM, 0));
}

static void socket_handler(void)
{
	in_handler(make_socket);
}

/* ---- socketpair ---- */

static void socketpair_success(void)
{
	int p[2] = { -1, -1 };

	IS(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p));
	show_fd(p[0]);
	show_fd(p[1]);
	show_names(p[0]);
	put(p[0], "there");
	get(p[1], "there");
	IS(0, socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, p));
	show_fd(p[1]);
	IS(0, socketpair(AF_UNIX, SOCK_SEQPACKET, 0, p));
	put(p[1], "back");
	get(p[0], "back");
}

static void socketpair_errors(void)
{
	int p[2] = { 77, 78 };

	FAILS(EOPNOTSUPP, socketpair(AF_INET, SOCK_STREAM, 0, p));
	FAILS(EAFNOSUPPORT, socketpair(-1, SOCK_STREAM, 0, p));
	FAILS(EINVAL, socketpair(AF_UNIX, 99, 0, p));
	FAILS(EFAULT, socketpair(AF_UNIX, SOCK_STREAM, 0, bad_pointer));
	FAILS(EFAULT, socketpair(AF_UNIX, SOCK_STREAM, 0, null_pointer));
	/* The kernel may have written numbers that it took back. */
	say("left %d %d\n", p[0], p[1]);
	limit_fds(4);
	FAILS(EMFILE, socketpair(AF_UNIX, SOCK_STREAM, 0, p));
	limit_fds(1024);
}

/* ---- bind ---- */

static void bind_tcp(void)
{
	struct address a = ip4("127.0.0.1", 0), same;
	int s = OK(socket(AF_INET, SOCK_STREAM, 0));
	int t = OK(socket(AF_INET, SOCK_STREAM, 0));

	show_names(s);
	IS(0, bind(s, &a.sa, a.len));
	show_names(s);
	same = local_of(s);
	CHECK(same.in.sin_port != 0);
	FAILS(EINVAL, bind(s, &a.sa, a.len));
	/* Not yet listening, it is in the way all the same. */
	FAILS(EADDRINUSE, bind(t, &same.sa, same.len));
	IS(0, bind(t, &a.sa, a.len));
	show_names(t);
}

static void bind_udp(void)
{
	struct address a = ip4("127.0.0.2", 0), same;
	int s = OK(socket(AF_INET, SOCK_DGRAM, 0));
	int t = OK(socket(AF_INET, SOCK_DGRAM, 0));

	IS(0, bind(s, &a.sa, a.len));
	same = local_of(s);
	show_names(s);
	FAILS(EADDRINUSE, bind(t, &same.sa, same.len));
	IS(2, sendto(t, "hi", 2, 0, &same.sa, same.len));
	get(s, "hi");
}

static void bind_ip6(void)
{
	struct address a = ip6("::1", 0), b = ip4("127.0.0.1", 0);
	int s = OK(socket(AF_INET6, SOCK_STREAM, 0));

	FAILS(EINVAL, bind(s, &b.sa, b.len));
	IS(0, bind(s, &a.sa, a.len));
	show_names(s);
	IS(0, listen(s, 1));
	show_fd(s);
}

static void bind_unix(void)
{
	struct address path = unix_path("x.sock"), abstract = unix_abstract("x"),
		       none = unix_path("no/such/dir");
	int s = OK(socket(AF_UNIX, SOCK_STREAM, 0));
	int t = OK(socket(AF_UNIX, SOCK_STREAM, 0));
	int u = OK(socket(AF_UNIX, SOCK_DGRAM, 0));

	FAILS(ENOENT, bind(s, &none.sa, none.len));
	IS(0, bind(s, &path.sa, path.len));
	show_names(s);
	FAILS(EADDRINUSE, bind(t, &path.sa, path.len));
	IS(0, bind(t, &abstract.sa, abstract.len));
	show_names(t);
	FAILS(EINVAL, bind(u, &abstract.sa, sizeof(struct sockaddr_un) + 1));
	/* The family alone asks for a name of the kernel's. */
	IS(0, bind(u, &abstract.sa, sizeof(sa_family_t)));
	show_names(u);
}

static void bind_long_unix(void)
{
	struct address a = { .un = { .sun_family = AF_UNIX }, .len = sizeof(a.un) };
	int s = OK(socket(AF_UNIX, SOCK_STREAM, 0));

	/* All 108 bytes, no NUL: allowed, and the kernel counts one more. */
	memset(a.un.sun_path, 'y', sizeof(a.un.sun_path));
	IS(0, bind(s, &a.sa, a.len));
	show_names(s);
}

static void bind_nothing(void)
{
	int s = OK(socket(AF_INET, SOCK_STREAM, 0));
	int u = OK(socket(AF_UNIX, SOCK_STREAM, 0));

	FAILS(EINVAL, bind(s, NULL, 0));
	FAILS(EINVAL, bind(u, NULL, 0));
	FAILS(EFAULT, bind(s, NULL, 16));
	FAILS(EINVAL, bind(s, bad_pointer, 0));
	show_names(s);
	IS(0, listen(s, 1));
}

static void bind_errors(void)
{
	struct address a = ip4("127.0.0.1", 0), away = ip4("203.0.113.7", 0);
	int s = OK(socket(AF_INET, SOCK_STREAM, 0)), p[2];

	FAILS(EBADF, bind(-1, &a.sa, a.len));
	FAILS(EBADF, bind(99, &a.sa, a.len));
	CHECK(pipe(p) == 0);
	FAILS(ENOTSOCK, bind(p[0], &a.sa, a.len));
	FAILS(EFAULT, bind(s, bad_pointer, sizeof(a.in)));
	FAILS(EINVAL, bind(s, &a.sa, 4));
	FAILS(EINVAL, bind(s, &a.sa, 4096));
	FAILS(EINVAL, bind(s, &a.sa, (socklen_t)-1));
	FAILS(EADDRNOTAVAIL, bind(s, &away.sa, away.len));
	a.sa.sa_family = 99;
	FAILS(EAFNOSUPPORT, bind(s, &a.sa, a.len));
}

static void bind_reuseport(void)
{
	struct address a = ip4("127.0.0.1", 0);
	int on = 1;
	int s = OK(socket(AF_INET, SOCK_STREAM, 0));
	int t = OK(socket(AF_INET, SOCK_STREAM, 0));

	IS(0, setsockopt(s, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)));
	IS(0, bind(s, &a.sa, a.len));
	a = local_of(s);
	FAILS(EADDRINUSE, bind(t, &a.sa, a.len));
	IS(0, setsockopt(t, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)));
	IS(0, bind(t, &a.sa, a.len));
	show_names(s);
	show_names(t);
	IS(0, listen(s, 5));
	IS(0, listen(t, 5));
}

static void bind_one(void *arg)
{
	struct address a = ip4("127.0.0.1", 0);

	for (int i = 0; i < 100; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		CHECK(bind(fd, &a.sa, a.len) == 0);
		CHECK(listen(fd, 1) == 0);
		CHECK(close(fd) == 0);
	}
}

static void bind_threads(void)
{
	many_threads(6, bind_one);
}

/* ---- listen ---- */

static void listen_success(void)
{
	int s = OK(socket(AF_INET, SOCK_STREAM, 0));
	int v = OK(socket(AF_INET6, SOCK_STREAM, 0));

	/* Unbound: the kernel chooses a port. */
	IS(0, listen(s, 5));
	show_fd(s);
	CHECK(local_of(s).in.sin_port != 0);
	IS(0, listen(s, 50));
	IS(0, listen(s, 0));
	IS(0, listen(s, -1));
	IS(0, listen(v, 1));
	show_fd(v);
}

static void listen_errors(void)
{
	int u = OK(socket(AF_INET, SOCK_DGRAM, 0));
	int x = OK(socket(AF_UNIX, SOCK_STREAM, 0));
	int p[2], t[2];

	CHECK(pipe(p) == 0);
	tcp_pair(t);
	FAILS(EBADF, listen(-1, 1));
	FAILS(ENOTSOCK, listen(p[0], 1));
	FAILS(EOPNOTSUPP, listen(u, 1));
	FAILS(EINVAL, listen(x, 1));
	FAILS(EINVAL, listen(t[0], 1));
}

static void listen_address_in_use(void)
{
	struct address a = ip4("127.0.0.1", 0);
	int on = 1;
	int s = OK(socket(AF_INET, SOCK_STREAM, 0));
	int t = OK(socket(AF_INET, SOCK_STREAM, 0));

	/* With SO_REUSEADDR both binds succeed; the second listen is what fails. */
	IS(0, setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
	IS(0, setsockopt(t, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
	IS(0, bind(s, &a.sa, a.len));
	a = local_of(s);
	IS(0, bind(t, &a.sa, a.len));
	IS(0, listen(s, 1));
	FAILS(EADDRINUSE, listen(t, 1));
	show_fd(t);
}

/* ---- accept, accept4 ---- */

typedef int accept_fn(int fd, struct sockaddr *sa, socklen_t *len);

static int accept4_plain(int fd, struct sockaddr *sa, socklen_t *len)
{
	return accept4(fd, sa, len, 0);
}

static void accept_success_of(accept_fn *call)
{
	struct address a, peer = { .len = sizeof(peer.storage) };
	int s = tcp_listener(&a), c = tcp_connected(&a), got;

	got = OK(call(s, &peer.sa, &peer.len));
	show_address("from", &peer.sa, peer.len);
	show_fd(got);
	show_names(got);
	put(c, "question");
	get(got, "question");
	put(got, "answer");
	get(c, "answer");
	IS(0, close(c));
	get(got, "");
	c = tcp_connected(&a);
	got = OK(call(s, NULL, NULL));
	show_names(got);
	c = tcp_connected(&a);
	/* Room for a part of the address only. */
	memset(&peer, 0, sizeof(peer));
	peer.len = 4;
	got = OK(call(s, &peer.sa, &peer.len));
	CHECK(peer.len == sizeof(struct sockaddr_in) && peer.in.sin_addr.s_addr == 0);
	IS(0, close(s));
	FAILS(EBADF, call(s, NULL, NULL));
}

static void accept_success(void)
{
	accept_success_of(accept);
}

static void accept4_success(void)
{
	accept_success_of(accept4_plain);
}

/* As good as any pointer to look at. */
static void *unreadable(void)
{
	void *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(page != MAP_FAILED);
	return page;
}

static void accept_errors_of(accept_fn *call)
{
	struct address a, peer = { .len = sizeof(peer.storage) };
	int s = tcp_listener(&a), c, p[2];
	int unbound = OK(socket(AF_INET, SOCK_STREAM, 0));
	int udp = OK(socket(AF_INET, SOCK_DGRAM, 0));

	CHECK(pipe(p) == 0);
	FAILS(EBADF, call(-1, NULL, NULL));
	FAILS(ENOTSOCK, call(p[0], NULL, NULL));
	FAILS(EINVAL, call(unbound, NULL, NULL));
	FAILS(EOPNOTSUPP, call(udp, NULL, NULL));
	CHECK(fcntl(s, F_SETFL, O_NONBLOCK) == 0);
	FAILS(EAGAIN, call(s, &peer.sa, &peer.len));
	FAILS(EAGAIN, call(s, NULL, NULL));
	/* The connection is taken from the queue, and lost. */
	c = tcp_connected(&a);
	FAILS(EFAULT, call(s, bad_pointer, &peer.len));
	FAILS(EAGAIN, call(s, &peer.sa, &peer.len));
	get(c, "");
	c = tcp_connected(&a);
	FAILS(EFAULT, call(s, &peer.sa, bad_pointer));
	c = tcp_connected(&a);
	FAILS(EFAULT, call(s, &peer.sa, unreadable()));
	FAILS(EAGAIN, call(s, &peer.sa, unreadable()));
	peer.len = (socklen_t)-1;
	c = tcp_connected(&a);
	FAILS(EINVAL, call(s, &peer.sa, &peer.len));
	c = tcp_connected(&a);
	limit_fds((unsigned)c + 1);
	FAILS(EMFILE, call(s, NULL, NULL));
	limit_fds(1024);
	OK(call(s, NULL, NULL));
}

static void accept_errors(void)
{
	accept_errors_of(accept);
}

static void accept4_errors(void)
{
	struct address a;
	int s = tcp_listener(&a);

	FAILS(EINVAL, accept4(s, NULL, NULL, 1));
	IS(0, close(s));
	accept_errors_of(accept4_plain);
}

static void accept4_flags(void)
{
	struct address a;
	int s = tcp_listener(&a);

	tcp_connected(&a);
	tcp_connected(&a);
	tcp_connected(&a);
	show_fd(OK(accept4(s, NULL, NULL, SOCK_CLOEXEC)));
	show_fd(OK(accept4(s, NULL, NULL, SOCK_NONBLOCK)));
	show_fd(OK(accept4(s, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)));
	/* Flags of the listener are not handed on. */
	CHECK(fcntl(s, F_SETFL, O_NONBLOCK) == 0 && fcntl(s, F_SETFD, FD_CLOEXEC) == 0);
	tcp_connected(&a);
	show_fd(OK(accept4(s, NULL, NULL, 0)));
	FAILS(EAGAIN, accept4(s, NULL, NULL, SOCK_CLOEXEC));
}

static void accept_unix(void)
{
	struct address a = unix_path("u.sock"), peer = { .len = sizeof(peer.storage) };
	int s = OK(socket(AF_UNIX, SOCK_STREAM, 0)), c = OK(socket(AF_UNIX, SOCK_STREAM, 0)), got;

	IS(0, bind(s, &a.sa, a.len));
	IS(0, listen(s, 3));
	IS(0, connect(c, &a.sa, a.len));
	got = OK(accept(s, &peer.sa, &peer.len));
	show_address("from", &peer.sa, peer.len);
	show_names(got);
	show_names(c);
	put(got, "x");
	get(c, "x");
}

static int handler_listener;

static void accept_one(void)
{
	OK(accept(handler_listener, NULL, NULL));
}

static void accept4_one(void)
{
	show_fd(OK(accept4(handler_listener, NULL, NULL, SOCK_CLOEXEC)));
}

static void accept_in_handler(void)
{
	struct address a;

	handler_listener = tcp_listener(&a);
	tcp_connected(&a);
	in_handler(accept_one);
}

static void accept4_in_handler(void)
{
	struct address a;

	handler_listener = tcp_listener(&a);
	tcp_connected(&a);
	in_handler(accept4_one);
}

static atomic_int returned, cleaned;

static void cleanup(void *arg)
{
	cleaned++;
}

static void blocked_accept(void *arg)
{
	pthread_cleanup_push(cleanup, NULL);
	accept(*(int *)arg, NULL, NULL);
	returned++;
	pthread_cleanup_pop(0);
}

static void blocked_accept4(void *arg)
{
	pthread_cleanup_push(cleanup, NULL);
	accept4(*(int *)arg, NULL, NULL, SOCK_CLOEXEC);
	returned++;
	pthread_cleanup_pop(0);
}

static int opens_one(void)
{
	return OK(socket(AF_INET, SOCK_STREAM, 0));
}

/* A blocked thread can be cancelled, and meanwhile nobody else is held up. */
static void cancel_blocked(void (*fn)(void *))
{
	struct address a;
	struct thread t;
	int s = tcp_listener(&a), got;

	thread_start(&t, fn, &s);
	thread_wait_blocked(&t);
	OK(socket(AF_INET, SOCK_STREAM, 0));
	IS(0, listen(s, 10));
	in_child(opens_one);
	IS(0, pthread_cancel(t.id));
	CHECK(thread_join(&t) == PTHREAD_CANCELED);
	CHECK(returned == 0 && cleaned == 1);
	/* The listener serves on. */
	tcp_connected(&a);
	got = OK(accept(s, NULL, NULL));
	show_fd(got);
}

static void accept_cancel(void)
{
	cancel_blocked(blocked_accept);
}

static void accept4_cancel(void)
{
	cancel_blocked(blocked_accept4);
}

static void accept_interrupted(void *arg)
{
	/* Whatever the thread has met before: the handler does not restart the call. */
	FAILS(EINTR, accept(*(int *)arg, NULL, NULL));
}

static void accept_eintr(void)
{
	struct address a;
	struct thread t;
	int s = tcp_listener(&a);

	catch_usr1(0);
	thread_start(&t, accept_interrupted, &s);
	thread_wait_blocked(&t);
	CHECK(pthread_kill(t.id, SIGUSR1) == 0);
	CHECK(thread_join(&t) == (void *)1);
}

static void accept_served(void *arg)
{
	OK(accept(*(int *)arg, NULL, NULL));
}

static void accept_restart(void)
{
	struct address a;
	struct thread t;
	int s = tcp_listener(&a);

	catch_usr1(SA_RESTART);
	thread_start(&t, accept_served, &s);
	thread_wait_blocked(&t);
	CHECK(pthread_kill(t.id, SIGUSR1) == 0);
	thread_wait_blocked(&t);
	tcp_connected(&a);
	CHECK(thread_join(&t) == (void *)1);
}

static void accept_timeout(void)
{
	struct address a;
	struct timeval little = { .tv_usec = 20000 };
	int s = tcp_listener(&a);

	IS(0, setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &little, sizeof(little)));
	FAILS(EAGAIN, accept(s, NULL, NULL));
	FAILS(EAGAIN, accept4(s, NULL, NULL, 0));
}

static int shared_listener;
static atomic_int accepted;

static void accept_many(void *arg)
{
	int fd;

	while ((fd = (uintptr_t)arg % 2 ? accept(shared_listener, NULL, NULL)
					: accept4(shared_listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		accepted++;
		CHECK(close(fd) == 0);
	}
	/* Woken by the shutdown, or came after it. */
	CHECK(errno == EINVAL);
}

static void accept_threads(void)
{
	struct address a;
	struct thread threads[4];

	shared_listener = tcp_listener(&a);
	for (unsigned i = 0; i < 4; i++)
		thread_start(&threads[i], accept_many, (void *)(uintptr_t)i);
	for (int i = 0; i < 400; i++) {
		int c = tcp_connected(&a);
		char byte;

		/* Its end means that it was accepted. */
		CHECK(read(c, &byte, 1) <= 0);
		CHECK(close(c) == 0);
	}
	IS(0, shutdown(shared_listener, SHUT_RDWR));
	for (unsigned i = 0; i < 4; i++)
		CHECK(thread_join(&threads[i]) == (void *)1);
	say("accepted %d\n", accepted);
	CHECK(accepted == 400);
}

static int child_accepts(void)
{
	int got = OK(accept(shared_listener, NULL, NULL));

	show_fd(got);
	put(got, "child");
	return 3;
}

static void accept_forked(void)
{
	struct address a;
	int c;

	shared_listener = tcp_listener(&a);
	c = tcp_connected(&a);
	in_child(child_accepts);
	get(c, "child");
	get(c, "");
}

/* ---- connect ---- */

typedef int connect_fn(int fd, const struct sockaddr *sa, socklen_t len);

static void connect_success_of(connect_fn *call)
{
	struct address a, any = { .sa = { .sa_family = AF_UNSPEC }, .len = sizeof(any.in) };
	int s = tcp_listener(&a), got;
	int c = OK(socket(AF_INET, SOCK_STREAM, 0));
	int u = OK(socket(AF_INET, SOCK_DGRAM, 0));

	IS(0, call(c, &a.sa, a.len));
	show_names(c);
	got = OK(accept(s, NULL, NULL));
	put(c, "abc");
	get(got, "abc");
	FAILS(EISCONN, call(c, &a.sa, a.len));
	IS(0, call(u, &a.sa, a.len));
	show_names(u);
	IS(0, call(u, &any.sa, any.len));
	show_names(u);
}

static void connect_success(void)
{
	connect_success_of(connect);
}

static void under_connect_success(void)
{
	connect_success_of(__connect);
}

static void connect_errors_of(connect_fn *call)
{
	struct address a, closed = ip4("127.0.0.1", 1), none = unix_path("none.sock");
	int p[2];
	int s = tcp_listener(&a);
	int c = OK(socket(AF_INET, SOCK_STREAM, 0));
	int u = OK(socket(AF_UNIX, SOCK_STREAM, 0));

	none.len = sizeof(none.un);
	CHECK(pipe(p) == 0);
	FAILS(EBADF, call(-1, &a.sa, a.len));
	FAILS(ENOTSOCK, call(p[0], &a.sa, a.len));
	FAILS(EFAULT, call(c, bad_pointer, a.len));
	FAILS(EINVAL, call(c, &a.sa, 3));
	FAILS(EINVAL, call(c, &a.sa, (socklen_t)-1));
	FAILS(EAFNOSUPPORT, call(c, &none.sa, none.len));
	FAILS(ECONNREFUSED, call(c, &closed.sa, closed.len));
	FAILS(EISCONN, call(s, &a.sa, a.len));
	FAILS(ENOENT, call(u, &none.sa, none.len));
	FAILS(EINVAL, call(u, NULL, 0));
	/* A failed connect does not spoil the socket. */
	IS(0, call(c, &a.sa, a.len));
}

static void connect_errors(void)
{
	connect_errors_of(connect);
}

static void under_connect_errors(void)
{
	connect_errors_of(__connect);
}

static void connect_nonblocking(void)
{
	struct address a;
	int s = tcp_listener(&a), got, error = -1;
	socklen_t len = sizeof(error);
	int c = OK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));

	FAILS(EINPROGRESS, connect(c, &a.sa, a.len));
	got = OK(accept(s, NULL, NULL));
	CHECK(getsockopt(c, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0);
	IS(0, connect(c, &a.sa, a.len));
	FAILS(EISCONN, connect(c, &a.sa, a.len));
	show_names(got);
}

static struct address full;

/* A UNIX listener of backlog 0 takes one connection; the next one waits. */
static void fill_queue(int *listener)
{
	int c = socket(AF_UNIX, SOCK_STREAM, 0);

	full = unix_path("full.sock");
	*listener = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK(bind(*listener, &full.sa, full.len) == 0);
	CHECK(listen(*listener, 0) == 0);
	CHECK(connect(c, &full.sa, full.len) == 0);
}

static void blocked_connect(void *arg)
{
	pthread_cleanup_push(cleanup, NULL);
	connect(*(int *)arg, &full.sa, full.len);
	returned++;
	pthread_cleanup_pop(0);
}

static void connect_cancel(void)
{
	struct thread t;
	int s, c;

	fill_queue(&s);
	c = OK(socket(AF_UNIX, SOCK_STREAM, 0));
	thread_start(&t, blocked_connect, &c);
	thread_wait_blocked(&t);
	OK(socket(AF_UNIX, SOCK_STREAM, 0));
	IS(0, pthread_cancel(t.id));
	CHECK(thread_join(&t) == PTHREAD_CANCELED);
	CHECK(returned == 0 && cleaned == 1);
	OK(accept(s, NULL, NULL));
	IS(0, connect(c, &full.sa, full.len));
}

static void interrupted_connect(void *arg)
{
	FAILS(EINTR, connect(*(int *)arg, &full.sa, full.len));
}

static void connect_eintr(void)
{
	struct thread t;
	int s, c;

	fill_queue(&s);
	c = OK(socket(AF_UNIX, SOCK_STREAM, 0));
	catch_usr1(0);
	thread_start(&t, interrupted_connect, &c);
	thread_wait_blocked(&t);
	CHECK(pthread_kill(t.id, SIGUSR1) == 0);
	CHECK(thread_join(&t) == (void *)1);
	CHECK(fcntl(c, F_SETFL, O_NONBLOCK) == 0);
	FAILS(EAGAIN, connect(c, &full.sa, full.len));
}

static int handler_client;

static void connect_one(void)
{
	IS(0, connect(handler_client, &full.sa, full.len));
}

static void connect_in_handler(void)
{
	int s = tcp_listener(&full);

	handler_client = OK(socket(AF_INET, SOCK_STREAM, 0));
	in_handler(connect_one);
	OK(accept(s, NULL, NULL));
}

/* ---- shutdown ---- */

static void shutdown_stream(void)
{
	int t[2];

	tcp_pair(t);
	put(t[0], "last");
	IS(0, shutdown(t[0], SHUT_WR));
	get(t[1], "last");
	get(t[1], "");
	put(t[1], "reply");
	get(t[0], "reply");
	IS(0, shutdown(t[1], SHUT_RDWR));
	get(t[0], "");
	show_fd(t[0]);
	unix_pair(t);
	IS(0, shutdown(t[0], SHUT_RD));
	get(t[0], "");
}

static void shutdown_errors(void)
{
	int c = OK(socket(AF_INET, SOCK_STREAM, 0)), p[2], t[2];

	CHECK(pipe(p) == 0);
	tcp_pair(t);
	FAILS(EBADF, shutdown(-1, SHUT_RD));
	FAILS(ENOTSOCK, shutdown(p[0], SHUT_RD));
	FAILS(ENOTCONN, shutdown(c, SHUT_RDWR));
	FAILS(EINVAL, shutdown(t[0], 9));
	FAILS(EINVAL, shutdown(t[0], -1));
}

static void woken_accept(void *arg)
{
	CHECK(accept(*(int *)arg, NULL, NULL) == -1 && errno == EINVAL);
}

static void shutdown_listener(void)
{
	struct address a;
	struct thread t;
	int s = tcp_listener(&a);
	int c = OK(socket(AF_INET, SOCK_STREAM, 0));

	thread_start(&t, woken_accept, &s);
	thread_wait_blocked(&t);
	IS(0, shutdown(s, SHUT_RD));
	CHECK(thread_join(&t) == (void *)1);
	show_fd(s);
	FAILS(ECONNREFUSED, connect(c, &a.sa, a.len));
	/* It can listen again, on another port. */
	IS(0, listen(s, 1));
	a = local_of(s);
	IS(0, connect(c, &a.sa, a.len));
}

/* ---- setsockopt ---- */

static int value_of(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	CHECK(getsockopt(fd, level, name, &value, &len) == 0);
	return value;
}

static void setsockopt_success(void)
{
	int on = 1, off = 0, size = 8192, seven = 7;
	struct linger linger = { .l_onoff = 1, .l_linger = 3 };
	int s = OK(socket(AF_INET, SOCK_STREAM, 0));
	int v = OK(socket(AF_INET6, SOCK_STREAM, 0));

	IS(0, setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
	IS(1, value_of(s, SOL_SOCKET, SO_REUSEADDR));
	IS(0, setsockopt(s, SOL_SOCKET, SO_REUSEPORT, &seven, sizeof(seven)));
	IS(1, value_of(s, SOL_SOCKET, SO_REUSEPORT));
	IS(0, setsockopt(s, SOL_SOCKET, SO_REUSEPORT, &off, sizeof(off)));
	IS(0, value_of(s, SOL_SOCKET, SO_REUSEPORT));
	IS(0, setsockopt(s, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)));
	TRY(value_of(s, SOL_SOCKET, SO_RCVBUF));
	IS(0, setsockopt(s, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
	IS(0, setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)));
	IS(1, value_of(s, IPPROTO_TCP, TCP_NODELAY));
	IS(0, setsockopt(v, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)));
	IS(1, value_of(v, IPPROTO_IPV6, IPV6_V6ONLY));
}

static void setsockopt_errors(void)
{
	int on = 1, p[2];
	int s = OK(socket(AF_INET, SOCK_STREAM, 0));
	int u = OK(socket(AF_UNIX, SOCK_STREAM, 0));

	CHECK(pipe(p) == 0);
	FAILS(EBADF, setsockopt(-1, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
	FAILS(ENOTSOCK, setsockopt(p[1], SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
	FAILS(ENOPROTOOPT, setsockopt(s, SOL_SOCKET, 9999, &on, sizeof(on)));
	FAILS(EFAULT, setsockopt(s, SOL_SOCKET, SO_REUSEPORT, bad_pointer, sizeof(on)));
	FAILS(EFAULT, setsockopt(s, SOL_SOCKET, SO_REUSEPORT, null_pointer, sizeof(on)));
	FAILS(EINVAL, setsockopt(s, SOL_SOCKET, SO_REUSEPORT, &on, 1));
	FAILS(EINVAL, setsockopt(s, SOL_SOCKET, SO_REUSEADDR, bad_pointer, 0));
	FAILS(EINVAL, setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, (socklen_t)-1));
	FAILS(EOPNOTSUPP, setsockopt(u, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)));
	IS(0, value_of(s, SOL_SOCKET, SO_REUSEPORT));
}

const struct test_case cases[] = {
	{ "socket", socket_families },
	{ "socket/errors", socket_errors },
	{ "socket/emfile", socket_emfile },
	{ "socket/no standard fds", socket_standard },
	{ "socket/threads", socket_threads },
	{ "socket/handler", socket_handler },
	{ "socketpair", socketpair_success },
	{ "socketpair/errors", socketpair_errors },
	{ "bind", bind_tcp },
	{ "bind/udp", bind_udp },
	{ "bind/ipv6", bind_ip6 },
	{ "bind/unix", bind_unix },
	{ "bind/unix, longest path", bind_long_unix },
	{ "bind/NULL", bind_nothing },
	{ "bind/errors", bind_errors },
	{ "bind/SO_REUSEPORT", bind_reuseport },
	{ "bind/threads", bind_threads },
	{ "listen", listen_success },
	{ "listen/errors", listen_errors },
	{ "listen/EADDRINUSE", listen_address_in_use },
	{ "accept", accept_success },
	{ "accept/errors", accept_errors },
	{ "accept/unix", accept_unix },
	{ "accept/handler", accept_in_handler },
	{ "accept/cancel", accept_cancel },
	{ "accept/EINTR", accept_eintr },
	{ "accept/SA_RESTART", accept_restart },
	{ "accept/SO_RCVTIMEO", accept_timeout },
	{ "accept/threads", accept_threads },
	{ "accept/forked", accept_forked },
	{ "accept4", accept4_success },
	{ "accept4/errors", accept4_errors },
	{ "accept4/flags", accept4_flags },
	{ "accept4/handler", accept4_in_handler },
	{ "accept4/cancel", accept4_cancel },
	{ "connect", connect_success },
	{ "connect/errors", connect_errors },
	{ "connect/nonblocking", connect_nonblocking },
	{ "connect/cancel", connect_cancel },
	{ "connect/EINTR", connect_eintr },
	{ "connect/handler", connect_in_handler },
	{ "__connect", under_connect_success },
	{ "__connect/errors", under_connect_errors },
	{ "shutdown", shutdown_stream },
	{ "shutdown/errors", shutdown_errors },
	{ "shutdown/listener", shutdown_listener },
	{ "setsockopt", setsockopt_success },
	{ "setsockopt/errors", setsockopt_errors },
	{ NULL, NULL },
};
