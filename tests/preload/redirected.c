/* SPDX-License-Identifier: MIT */
/*
 * What a program does with sockets that a rule has moved: the same, to all that it can see, as with those
 * that stayed.  Port numbers are fixed by the script that runs this, in ASKED, so that the rules can name
 * them; they are printed as they are.
 */
#include "cases.h"

#include <netinet/tcp.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

static unsigned asked_port(void)
{
	const char *text = getenv("ASKED");

	if (text == NULL)
		skip("ASKED is not set");
	return (unsigned)strtoul(text, NULL, 10);
}

static void show(const char *what, const struct sockaddr *sa, socklen_t len)
{
	const struct sockaddr_in *in = (const void *)sa;
	const struct sockaddr_in6 *in6 = (const void *)sa;

	if (sa->sa_family == AF_INET6)
		say("%s: AF_INET6 ::1 %s%s, length %u\n", what,
		    IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr) ? "yes" : "no",
		    ntohs(in6->sin6_port) == asked_port() ? ", the port asked for" : "", len);
	else if (sa->sa_family == AF_INET)
		say("%s: AF_INET 127.0.0.1 %s%s, length %u\n", what,
		    ntohl(in->sin_addr.s_addr) == INADDR_LOOPBACK ? "yes" : "no",
		    ntohs(in->sin_port) == asked_port() ? ", the port asked for" : "", len);
	else
		say("%s: family %d, length %u\n", what, sa->sa_family, len);
}

static void show_local(const char *what, int fd)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);

	IS(0, getsockname(fd, (struct sockaddr *)&sa, &len));
	show(what, (struct sockaddr *)&sa, len);
}

static void show_remote(const char *what, int fd)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);

	IS(0, getpeername(fd, (struct sockaddr *)&sa, &len));
	show(what, (struct sockaddr *)&sa, len);
}

static void show_kind(int fd)
{
	int value = -1;
	socklen_t len = sizeof(value);

	IS(0, getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &value, &len));
	say("SO_DOMAIN %d\n", value);
	IS(0, getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &len));
	say("SO_TYPE %d\n", value);
	IS(0, getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &value, &len));
	say("SO_PROTOCOL %d\n", value);
}

/* Earlier cases have left connections in TIME_WAIT. */
static int tcp(int flags)
{
	const int one = 1;
	int fd = OK(socket(AF_INET, SOCK_STREAM | flags, 0));

	OK(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	return fd;
}

/* On the port that the rules are about. */
static int listening(void)
{
	struct address a = ip4("127.0.0.1", asked_port());
	int fd = tcp(0);

	OK(bind(fd, &a.sa, a.len));
	OK(listen(fd, 8));
	return fd;
}

static int connected(void)
{
	struct address a = ip4("127.0.0.1", asked_port());
	int fd = OK(socket(AF_INET, SOCK_STREAM, 0));

	OK(connect(fd, &a.sa, a.len));
	return fd;
}

static int accepted(int listener)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	int fd = OK(accept(listener, (struct sockaddr *)&sa, &len));

	show("accepted from", (struct sockaddr *)&sa, len);
	return fd;
}

static void talk(int a, int b)
{
	put(a, "there");
	get(b, "there");
	put(b, "back");
	get(a, "back");
}

static void serve(int listener)
{
	int client = connected();

	talk(client, accepted(listener));
}

static void names(void)
{
	int listener = listening(), client = connected(), server = accepted(listener);

	show_kind(listener);
	show_local("listener", listener);
	show_remote("client's peer", client);
	show_local("server's end", server);
	talk(client, server);
	show_kind(server);
}

static void options(void)
{
	const int one = 1;
	int fd = listening(), client = connected(), server = accepted(fd), value = 0;
	socklen_t len = sizeof(value);

	OK(setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &one, sizeof(one)));
	OK(setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
	OK(setsockopt(client, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)));
	IS(0, getsockopt(client, SOL_SOCKET, SO_KEEPALIVE, &value, &len));
	say("SO_KEEPALIVE %d\n", value);
	IS(0, getsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &value, &len));
	say("SO_REUSEADDR %d\n", value);
	FAILS(EBADF, setsockopt(-1, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
}

static void options_before(void)
{
	static const int names[] = { TCP_NODELAY, TCP_KEEPIDLE, TCP_KEEPCNT, TCP_DEFER_ACCEPT,
				     TCP_USER_TIMEOUT };
	struct address a = ip4("127.0.0.1", asked_port());
	int fd = tcp(0), value = 1;
	socklen_t len = sizeof(value);

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		OK(setsockopt(fd, IPPROTO_TCP, names[i], &value, len));
	value = 0x10;
	OK(setsockopt(fd, IPPROTO_IP, IP_TOS, &value, len));
	OK(bind(fd, &a.sa, a.len));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		IS(0, getsockopt(fd, IPPROTO_TCP, names[i], &value, &len));
		say("%d\n", value);
	}
	IS(0, getsockopt(fd, IPPROTO_IP, IP_TOS, &value, &len));
	say("IP_TOS %d\n", value);
}

static void ipv6(void)
{
	struct address a = ip6("::1", asked_port());
	int fd = OK(socket(AF_INET6, SOCK_STREAM, 0)), client = OK(socket(AF_INET6, SOCK_STREAM, 0)), server;
	const int one = 1;

	OK(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	OK(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)));
	OK(bind(fd, &a.sa, a.len));
	OK(setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &one, sizeof(one)));
	OK(listen(fd, 1));
	OK(connect(client, &a.sa, a.len));
	server = accepted(fd);
	OK(setsockopt(server, IPPROTO_IPV6, IPV6_TCLASS, &one, sizeof(one)));
	show_local("listener", fd);
	show_local("server's end", server);
	show_local("client", client);
	show_remote("client's peer", client);
	talk(client, server);
}

static void flags(void)
{
	struct address a = ip4("127.0.0.1", asked_port());
	int fd = tcp(SOCK_NONBLOCK | SOCK_CLOEXEC);

	OK(bind(fd, &a.sa, a.len));
	show_fd(fd);
	OK(listen(fd, 1));
	OK(listen(fd, 2));
	FAILS(EAGAIN, accept(fd, NULL, NULL));
	FAILS(EINVAL, bind(fd, &a.sa, a.len));
	FAILS(EINVAL, bind(fd, NULL, 0));
}

static void second_bind(void)
{
	struct address a = ip4("127.0.0.1", asked_port());
	int first = tcp(0), second = tcp(0);

	OK(bind(first, &a.sa, a.len));
	OK(listen(first, 1));
	FAILS(EADDRINUSE, bind(second, &a.sa, a.len));
	OK(close(first));
	OK(bind(second, &a.sa, a.len));
	OK(listen(second, 1));
}

static void duplicates(void)
{
	int fd = listening(), copy = OK(dup(fd));

	OK(close(fd));
	serve(copy);
	OK(close(OK(dup(copy))));
	show_local("copy", copy);
	IS(0, dup2(0, copy) == copy ? 0 : -1);
	FAILS(ENOTSOCK, listen(copy, 1));
	show_fd(copy);
}

static void dup_before_bind(void)
{
	struct address a = ip4("127.0.0.1", asked_port());
	int fd = tcp(0), copy = OK(fcntl(fd, F_DUPFD_CLOEXEC, 20));

	OK(bind(fd, &a.sa, a.len));
	OK(listen(copy, 1));
	show_local("copy", copy);
	show_fd(copy);
	serve(copy);
}

static void epoll_before(void)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = 0x123456789abcdefull }, got = { 0 };
	struct address a = ip4("127.0.0.1", asked_port());
	int epoll = OK(epoll_create1(EPOLL_CLOEXEC)), fd = tcp(0);

	OK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
	OK(bind(fd, &a.sa, a.len));
	OK(listen(fd, 1));
	IS(0, epoll_wait(epoll, &got, 1, 0));
	connected();
	IS(1, epoll_wait(epoll, &got, 1, 10000));
	say("events %x data %llx\n", got.events, (unsigned long long)got.data.u64);
	event.events = EPOLLIN | EPOLLET;
	OK(epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event));
	OK(epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL));
}

static volatile sig_atomic_t signalled = -1;

static void on_signal(int number, siginfo_t *info, void *context)
{
	signalled = info->si_fd;
}

static void signals_before(void)
{
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART };
	struct f_owner_ex owner = { .type = F_OWNER_PID, .pid = getpid() }, got = { 0 };
	struct address a = ip4("127.0.0.1", asked_port());
	int fd = tcp(SOCK_NONBLOCK);

	CHECK(sigaction(SIGRTMIN, &action, NULL) == 0);
	OK(fcntl(fd, F_SETOWN_EX, &owner));
	OK(fcntl(fd, F_SETSIG, SIGRTMIN));
	OK(fcntl(fd, F_SETFL, O_NONBLOCK | O_ASYNC));
	OK(bind(fd, &a.sa, a.len));
	OK(listen(fd, 1));
	signalled = -1;
	connected();
	for (int i = 0; i < 1000 && signalled < 0; i++)
		usleep(10000);
	say("signalled for the listener: %s\n", signalled == fd ? "yes" : "no");
	OK(fcntl(fd, F_GETOWN_EX, &got));
	say("owner of type %d: %s\n", got.type, got.pid == getpid() ? "this process" : "another");
	say("signal: SIGRTMIN%+d, flags %x\n", fcntl(fd, F_GETSIG) - SIGRTMIN, fcntl(fd, F_GETFL));
}

static int serving;

static int in_a_fork(void)
{
	show_local("child's", serving);
	serve(serving);
	return 3;
}

static void forked(void)
{
	serving = listening();
	in_child(in_a_fork);
	show_local("still", serving);
	serve(serving);
}

/* The child that only had it must not take the name away from its parent. */
static int let_go(void)
{
	close(serving);
	return 0;
}

static void child_closes(void)
{
	serving = listening();
	in_child(let_go);
	serve(serving);
}

/* As daemon(3) between bind and listen. */
static void child_closes_early(void)
{
	struct address a = ip4("127.0.0.1", asked_port());

	serving = tcp(0);
	OK(bind(serving, &a.sa, a.len));
	in_child(let_go);
	OK(listen(serving, 1));
	serve(serving);
}

static void vforked(void)
{
	int listener = listening(), status;
	pid_t pid = vfork();

	if (pid == 0) {
		close(listener);
		_exit(7);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	say("status %d\n", WEXITSTATUS(status));
	show_local("listener", listener);
	serve(listener);
}

static void accept_one(void *arg)
{
	int fd = accept(*(int *)arg, NULL, NULL);

	CHECK(fd >= 0);
	if (fd >= 0)
		put(fd, "hello");
}

static void blocked_thread(void)
{
	int listener = listening();
	struct thread t = { 0 };

	thread_start(&t, accept_one, &listener);
	thread_wait_blocked(&t);
	get(connected(), "hello");
	thread_join(&t);
}

static void accept_cancelled(void)
{
	int listener = listening();
	struct thread t = { 0 };

	thread_start(&t, accept_one, &listener);
	thread_wait_blocked(&t);
	pthread_cancel(t.id);
	say("cancelled: %s\n", thread_join(&t) == PTHREAD_CANCELED ? "yes" : "no");
	show_local("listener", listener);
}

static void own_reuseport(void)
{
	struct address a = ip4("127.0.0.1", asked_port());
	const int one = 1;

	for (int i = 0; i < 2; i++) {
		int fd = tcp(0);

		OK(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)));
		OK(bind(fd, &a.sa, a.len));
		OK(listen(fd, 1));
		show_local("one of two", fd);
	}
}

/* ---- datagrams ---- */

static int udp_bound(void)
{
	struct address a = ip4("127.0.0.1", asked_port());
	int fd = OK(socket(AF_INET, SOCK_DGRAM, 0));

	OK(bind(fd, &a.sa, a.len));
	return fd;
}

static void ping(int client, int server)
{
	struct address to = ip4("127.0.0.1", asked_port()), from = { .len = sizeof(from.storage) };
	char buf[8] = "";

	IS(4, sendto(client, "ping", 4, 0, &to.sa, to.len));
	IS(4, recvfrom(server, buf, sizeof(buf), 0, &from.sa, &from.len));
	IS(4, sendto(server, "pong", 4, 0, &from.sa, from.len));
	from.len = sizeof(from.storage);
	IS(4, recvfrom(client, buf, sizeof(buf), 0, &from.sa, &from.len));
	show("answer from", &from.sa, from.len);
}

static void datagrams(void)
{
	int server = udp_bound();

	ping(OK(socket(AF_INET, SOCK_DGRAM, 0)), server);
	show_local("server", server);
}

static void messages(void)
{
	struct address to = ip4("127.0.0.1", asked_port()), from = { .len = sizeof(from.storage) };
	int server = udp_bound(), client = OK(socket(AF_INET, SOCK_DGRAM, 0));
	char buf[8] = "ping";
	struct iovec part = { .iov_base = buf, .iov_len = 4 };
	struct msghdr out = { .msg_name = &to.sa, .msg_namelen = to.len, .msg_iov = &part, .msg_iovlen = 1 };
	struct msghdr in = {
		.msg_name = &from.sa, .msg_namelen = from.len, .msg_iov = &part, .msg_iovlen = 1
	};
	struct mmsghdr many[2] = { { .msg_hdr = out }, { .msg_hdr = out } };

	IS(4, sendmsg(client, &out, 0));
	IS(4, recvmsg(server, &in, 0));
	out.msg_name = in.msg_name;
	out.msg_namelen = in.msg_namelen;
	IS(4, sendmsg(server, &out, 0));
	in.msg_namelen = sizeof(from.storage);
	IS(4, recvmsg(client, &in, 0));
	show("answer from", &from.sa, in.msg_namelen);
	IS(2, sendmmsg(client, many, 2, 0));
	say("%u and %u bytes\n", many[0].msg_len, many[1].msg_len);
	IS(4, recv(server, buf, sizeof(buf), 0));
	IS(4, recv(server, buf, sizeof(buf), 0));
}

static void datagrams_connected(void)
{
	struct address to = ip4("127.0.0.1", asked_port()), from = { .len = sizeof(from.storage) };
	int server = udp_bound(), client = OK(socket(AF_INET, SOCK_DGRAM, 0));
	char buf[8] = "";

	OK(connect(client, &to.sa, to.len));
	show_remote("client's peer", client);
	IS(4, send(client, "ping", 4, 0));
	IS(4, recvfrom(server, buf, sizeof(buf), 0, &from.sa, &from.len));
	IS(4, sendto(server, "pong", 4, 0, &from.sa, from.len));
	from.len = sizeof(from.storage);
	IS(4, recvfrom(client, buf, sizeof(buf), 0, &from.sa, &from.len));
	show("answer from", &from.sa, from.len);
}

/* Whatever becomes of what it sends: a bound socket is still bound to the same name afterwards. */
static void datagrams_keep_name(void)
{
	struct address to = ip4("127.0.0.1", 9);
	int server = udp_bound();

	(void)!sendto(server, "x", 1, 0, &to.sa, to.len);
	show_local("server", server);
}

/* An IPv4 socket takes an address without a family for one of its own. */
static void no_family(void)
{
	struct address a = ip4("0.0.0.0", asked_port());
	int fd = tcp(0);

	a.sa.sa_family = AF_UNSPEC;
	OK(bind(fd, &a.sa, a.len));
	OK(listen(fd, 1));
	show_local("listener", fd);
	a = ip4("127.0.0.1", asked_port());
	a.sa.sa_family = AF_UNSPEC;
	FAILS(EAFNOSUPPORT, bind(tcp(0), &a.sa, a.len));
	a = ip6("::", asked_port());
	a.sa.sa_family = AF_UNSPEC;
	FAILS(EAFNOSUPPORT, bind(OK(socket(AF_INET6, SOCK_STREAM, 0)), &a.sa, a.len));
}

static void stream_with_address(void)
{
	struct address to = ip4("127.0.0.1", asked_port());
	int listener = listening(), client = connected(), server = accepted(listener);

	IS(4, sendto(client, "ping", 4, 0, &to.sa, to.len));
	get(server, "ping");
	IS(4, sendto(server, "pong", 4, 0, &to.sa, to.len));
	get(client, "pong");
}

static void datagrams_by_ipv6(void)
{
	int server = udp_bound();

	ping(OK(socket(AF_INET6, SOCK_DGRAM, 0)), server);
}

static void datagrams_no_family(void)
{
	struct address to = ip4("127.0.0.1", asked_port());
	int server = udp_bound(), client = OK(socket(AF_INET, SOCK_DGRAM, 0));

	to.sa.sa_family = AF_UNSPEC;
	IS(4, sendto(client, "ping", 4, 0, &to.sa, to.len));
	get(server, "ping");
	OK(connect(client, &to.sa, to.len));
}

static void bad_addresses(void)
{
	struct address a = ip4("127.0.0.1", asked_port());
	int fd = tcp(0);

	FAILS(EINVAL, bind(fd, NULL, 0));
	FAILS(EFAULT, bind(fd, bad_pointer, a.len));
	FAILS(EINVAL, bind(fd, &a.sa, 3));
	FAILS(EBADF, bind(-1, &a.sa, a.len));
	FAILS(ENOTSOCK, bind(0, &a.sa, a.len));
	FAILS(EFAULT, connect(fd, bad_pointer, a.len));
	FAILS(EBADF, connect(-1, &a.sa, a.len));
	FAILS(ENOTSOCK, connect(0, &a.sa, a.len));
}

static void refused(void)
{
	struct address a = ip4("127.0.0.1", asked_port());
	int fd = tcp(0);

	FAILS(ECONNREFUSED, connect(fd, &a.sa, a.len));
}

static void not_ours(void)
{
	struct address a;
	int listener = tcp_listener(&a), client = tcp_connected(&a);
	int server = OK(accept(listener, NULL, NULL));

	talk(client, server);
	show_names(server);
}

static int exec_child(void)
{
	fcntl(serving, F_SETFD, 0);
	execl(self, self, "exec/image", (char *)NULL);
	return 99;
}

/* The second half of exec: what the new image sees of the listener that it was given as fd 9. */
static void exec_image(void)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);

	if (getsockname(9, (struct sockaddr *)&sa, &len) != 0)
		skip("fd 9 is no socket: run by exec alone");
	show_kind(9);
	show_local("after exec", 9);
	serve(9);
}

static void over_exec(void)
{
	serving = OK(dup2(listening(), 9));
	in_child(exec_child);
}

const struct test_case cases[] = {
	{ "names", names },
	{ "options", options },
	{ "options_before", options_before },
	{ "ipv6", ipv6 },
	{ "flags", flags },
	{ "second_bind", second_bind },
	{ "duplicates", duplicates },
	{ "dup_before_bind", dup_before_bind },
	{ "epoll_before", epoll_before },
	{ "signals_before", signals_before },
	{ "forked", forked },
	{ "child_closes", child_closes },
	{ "child_closes_early", child_closes_early },
	{ "vforked", vforked },
	{ "blocked_thread", blocked_thread },
	{ "accept_cancelled", accept_cancelled },
	{ "own_reuseport", own_reuseport },
	{ "datagrams", datagrams },
	{ "messages", messages },
	{ "datagrams_keep_name", datagrams_keep_name },
	{ "datagrams_connected", datagrams_connected },
	{ "no_family", no_family },
	{ "datagrams_no_family", datagrams_no_family },
	{ "datagrams_by_ipv6", datagrams_by_ipv6 },
	{ "stream_with_address", stream_with_address },
	{ "bad_addresses", bad_addresses },
	{ "refused", refused },
	{ "not_ours", not_ours },
	{ "exec", over_exec },
	{ "exec/image", exec_image },
	{ NULL, NULL },
};
