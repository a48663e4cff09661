/* SPDX-License-Identifier: MIT */
/* getsockname, getpeername, getsockopt, sendto, recvfrom, ioctl: no rule is about them here. */
#include "cases.h"

#include <netinet/tcp.h>
#include <sys/ioctl.h>

ssize_t __recvfrom_chk(int fd, void *buf, size_t n, size_t room, int flags, struct sockaddr *addr,
		       socklen_t *len);

/* ---- getsockname, getpeername ---- */

static void names_of_tcp(void)
{
	struct address a;
	int pair[2], listener = tcp_listener(&a);

	show_names(listener);
	tcp_pair(pair);
	show_names(pair[0]);
	show_names(pair[1]);
}

static void names_of_unix(void)
{
	struct address a = unix_path("x.sock");
	int fd = OK(socket(AF_UNIX, SOCK_STREAM, 0)), pair[2];

	show_names(fd);
	OK(bind(fd, &a.sa, a.len));
	show_names(fd);
	unix_pair(pair);
	show_names(pair[0]);
}

static void name_cut_off(void)
{
	struct address a = unix_path("x.sock");
	struct sockaddr_un un = { 0 };
	socklen_t len = 4;
	int fd = OK(socket(AF_UNIX, SOCK_STREAM, 0));

	OK(bind(fd, &a.sa, a.len));
	IS(0, getsockname(fd, (struct sockaddr *)&un, &len));
	say("length %u, \"%s\"\n", len, un.sun_path);
	len = 0;
	IS(0, getsockname(fd, (struct sockaddr *)&un, &len));
	say("length %u\n", len);
}

static void getsockname_errors(void)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	int fd = OK(socket(AF_INET, SOCK_STREAM, 0));

	FAILS(EBADF, getsockname(-1, (struct sockaddr *)&sa, &len));
	FAILS(ENOTSOCK, getsockname(0, (struct sockaddr *)&sa, &len));
	FAILS(EFAULT, getsockname(fd, bad_pointer, &len));
	FAILS(EFAULT, getsockname(fd, (struct sockaddr *)&sa, bad_pointer));
	FAILS(EFAULT, getsockname(fd, (struct sockaddr *)&sa, null_pointer));
}

static void getpeername_errors(void)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	int fd = OK(socket(AF_INET, SOCK_STREAM, 0));

	FAILS(EBADF, getpeername(-1, (struct sockaddr *)&sa, &len));
	FAILS(ENOTSOCK, getpeername(0, (struct sockaddr *)&sa, &len));
	FAILS(ENOTCONN, getpeername(fd, (struct sockaddr *)&sa, &len));
}

/* ---- getsockopt ---- */

static void show_option(int fd, int level, int name, const char *what)
{
	int value = -1;
	socklen_t len = sizeof(value);

	IS(0, getsockopt(fd, level, name, &value, &len));
	say("%s %d, length %u\n", what, value, len);
}

static void getsockopt_values(void)
{
	const int one = 1;
	int fd = OK(socket(AF_INET6, SOCK_STREAM, 0));

	show_option(fd, SOL_SOCKET, SO_DOMAIN, "SO_DOMAIN");
	show_option(fd, SOL_SOCKET, SO_TYPE, "SO_TYPE");
	show_option(fd, SOL_SOCKET, SO_PROTOCOL, "SO_PROTOCOL");
	OK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
	show_option(fd, IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY");
}

static void getsockopt_errors(void)
{
	int value, fd = OK(socket(AF_INET, SOCK_STREAM, 0));
	socklen_t len = sizeof(value);

	FAILS(EBADF, getsockopt(-1, SOL_SOCKET, SO_TYPE, &value, &len));
	FAILS(ENOTSOCK, getsockopt(0, SOL_SOCKET, SO_TYPE, &value, &len));
	FAILS(EFAULT, getsockopt(fd, SOL_SOCKET, SO_TYPE, bad_pointer, &len));
	FAILS(EFAULT, getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, bad_pointer));
	FAILS(ENOPROTOOPT, getsockopt(fd, SOL_SOCKET, 9999, &value, &len));
}

/* ---- sendto, recvfrom ---- */

static int udp(struct address *a)
{
	int fd = OK(socket(AF_INET, SOCK_DGRAM, 0));

	*a = ip4("127.0.0.1", 0);
	OK(bind(fd, &a->sa, a->len));
	*a = local_of(fd);
	return fd;
}

static void datagram(void)
{
	struct address to, from = { .len = sizeof(from.storage) };
	int receiver = udp(&to), sender = udp(&(struct address){ 0 });
	char buf[8] = "";

	IS(4, sendto(sender, "ping", 4, 0, &to.sa, to.len));
	IS(4, recvfrom(receiver, buf, sizeof(buf), 0, &from.sa, &from.len));
	say("%s\n", buf);
	show_address("from", &from.sa, from.len);
	IS(4, sendto(receiver, "pong", 4, 0, &from.sa, from.len));
	IS(4, recvfrom(sender, buf, sizeof(buf), 0, NULL, NULL));
	say("%s\n", buf);
}

static void checked_datagram(void)
{
	struct address to, from = { .len = sizeof(from.storage) };
	int receiver = udp(&to), sender = udp(&(struct address){ 0 });
	char buf[8] = "";

	IS(4, sendto(sender, "ping", 4, 0, &to.sa, to.len));
	IS(4, __recvfrom_chk(receiver, buf, sizeof(buf), sizeof(buf), 0, &from.sa, &from.len));
	show_address("from", &from.sa, from.len);
}

static void sendto_errors(void)
{
	struct address to;
	int fd = udp(&to);

	FAILS(EBADF, sendto(-1, "x", 1, 0, &to.sa, to.len));
	FAILS(ENOTSOCK, sendto(0, "x", 1, 0, &to.sa, to.len));
	FAILS(EFAULT, sendto(fd, "x", 1, 0, bad_pointer, to.len));
	FAILS(EINVAL, sendto(fd, "x", 1, 0, &to.sa, 1));
	FAILS(EDESTADDRREQ, sendto(fd, "x", 1, 0, NULL, 0));
}

static void recvfrom_errors(void)
{
	struct address a;
	int fd = udp(&a);
	char byte;

	FAILS(EBADF, recvfrom(-1, &byte, 1, 0, NULL, NULL));
	FAILS(ENOTSOCK, recvfrom(0, &byte, 1, 0, NULL, NULL));
	FAILS(EAGAIN, recvfrom(fd, &byte, 1, MSG_DONTWAIT, &a.sa, &a.len));
}

/* ---- ioctl ---- */

static void ioctl_close_on_exec(void)
{
	int fd = OK(socket(AF_INET, SOCK_STREAM, 0));

	OK(ioctl(fd, FIOCLEX));
	show_fd(fd);
	OK(ioctl(fd, FIONCLEX));
	show_fd(fd);
}

static void ioctl_others(void)
{
	int one = 1, pending = -1, pair[2];

	unix_pair(pair);
	OK(ioctl(pair[0], FIONBIO, &one));
	show_fd(pair[0]);
	put(pair[1], "abc");
	OK(ioctl(pair[0], FIONREAD, &pending));
	say("%d bytes wait\n", pending);
	FAILS(EBADF, ioctl(-1, FIONREAD, &pending));
	FAILS(EFAULT, ioctl(pair[0], FIONREAD, bad_pointer));
}

const struct test_case cases[] = {
	{ "getsockname", names_of_tcp },
	{ "getsockname/unix", names_of_unix },
	{ "getsockname/cut_off", name_cut_off },
	{ "getsockname/errors", getsockname_errors },
	{ "getpeername", getpeername_errors },
	{ "getsockopt", getsockopt_values },
	{ "getsockopt/errors", getsockopt_errors },
	{ "sendto", sendto_errors },
	{ "recvfrom", datagram },
	{ "recvfrom/errors", recvfrom_errors },
	{ "__recvfrom_chk", checked_datagram },
	{ "ioctl", ioctl_close_on_exec },
	{ "ioctl/others", ioctl_others },
	{ NULL, NULL },
};
