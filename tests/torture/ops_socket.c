/* SPDX-License-Identifier: MIT */
/* Sockets: made, named, connected, accepted, sent away and received. */

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "torture.h"

#define MAILBOXES 4
#define PASSED_MAX 3

static int cloexec(void)
{
	return dice(2) == 0 ? SOCK_CLOEXEC : 0;
}

/* Non-blocking all of them: no operation may wait. */
static int make(int domain, int type)
{
	int fd = socket(domain, type | SOCK_NONBLOCK | cloexec(), 0);

	hint_add(HINT_SOCKET, fd);
	return fd;
}

static socklen_t loopback(int domain, uint16_t port, struct sockaddr_storage *out)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	if (domain == AF_INET6) {
		v6->sin6_family = AF_INET6;
		v6->sin6_addr = in6addr_loopback;
		v6->sin6_port = htons(port);
		return sizeof(*v6);
	}
	v4->sin_family = AF_INET;
	v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	v4->sin_port = htons(port);
	return sizeof(*v4);
}

/* In the abstract namespace: nothing to remove afterwards. */
static socklen_t unix_name(const char *what, unsigned n, struct sockaddr_storage *out)
{
	struct sockaddr_un *un = (struct sockaddr_un *)out;
	int len;

	memset(out, 0, sizeof(*out));
	un->sun_family = AF_UNIX;
	len = snprintf(un->sun_path + 1, sizeof(un->sun_path) - 1, "%s-%s%u", board->name, what, n);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
}

static void op_socket(void)
{
	static const int kinds[][2] = { { AF_INET, SOCK_STREAM },  { AF_INET, SOCK_DGRAM },
					{ AF_INET6, SOCK_STREAM }, { AF_INET6, SOCK_DGRAM },
					{ AF_UNIX, SOCK_STREAM },  { AF_UNIX, SOCK_DGRAM } };
	const int *kind = kinds[dice(6)];

	make(kind[0], kind[1]);
}

static void op_socketpair(void)
{
	int ends[2], type = dice(2) == 0 ? SOCK_STREAM : SOCK_SEQPACKET;

	if (socketpair(AF_UNIX, type | SOCK_NONBLOCK | cloexec(), 0, ends) < 0)
		return;
	hint_add(HINT_CARRIER, ends[0]);
	hint_add(HINT_CARRIER, ends[1]);
}

static void op_bind(void)
{
	int fd = hint_any(HINT_SOCKET);
	struct sockaddr_storage addr = { 0 };
	socklen_t len = sizeof(addr);

	if (getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		return;
	len = addr.ss_family == AF_UNIX ? sizeof(sa_family_t) : loopback(addr.ss_family, 0, &addr);
	bind(fd, (struct sockaddr *)&addr, len);
}

/* Tells the others its port. */
static void publish(int fd)
{
	struct sockaddr_storage addr = { 0 };
	socklen_t len = sizeof(addr);

	if (getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		return;
	if (addr.ss_family == AF_INET || addr.ss_family == AF_INET6)
		atomic_store(&board->ports[dice(PORTS)], ntohs(((struct sockaddr_in *)&addr)->sin_port) |
								 (addr.ss_family == AF_INET6 ? 1u << 16 : 0));
}

static void op_listen(void)
{
	static const int domains[] = { AF_INET, AF_INET6, AF_UNIX };
	int domain = domains[dice(3)], fd = dice(8) == 0 ? hint_any(HINT_SOCKET) : make(domain, SOCK_STREAM);
	struct sockaddr_storage addr;
	socklen_t len;

	if (dice(4) != 0) {
		len = domain == AF_UNIX ? unix_name("listener", dice(8), &addr) : loopback(domain, 0, &addr);
		bind(fd, (struct sockaddr *)&addr, len);
	}
	if (listen(fd, 8) < 0)
		return;
	hint_add(HINT_LISTENER, fd);
	publish(fd);
}

static void op_connect(void)
{
	uint32_t port = atomic_load(&board->ports[dice(PORTS)]);
	int domain = port == 0 || dice(4) == 0 ? AF_UNIX : port >> 16 ? AF_INET6 : AF_INET;
	int fd = dice(8) == 0 ? hint_any(HINT_SOCKET) : make(domain, SOCK_STREAM);
	struct sockaddr_storage addr;
	socklen_t len = domain == AF_UNIX ? unix_name("listener", dice(8), &addr)
					  : loopback(domain, (uint16_t)port, &addr);

	/* Whatever the number is by now: accept(2) makes sockets that block. */
	fcntl(fd, F_SETFL, O_NONBLOCK);
	if (connect(fd, (struct sockaddr *)&addr, len) == 0 && domain == AF_UNIX)
		hint_add(HINT_CARRIER, fd);
}

/* Of a socket that blocks there is none; what else the number is now, accept refuses. */
static void op_accept(void)
{
	int listener = hint_any(HINT_LISTENER), fd;
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);
	bool ask = dice(3) != 0;

	if (dice(4) == 0)
		fd = accept(listener, ask ? (struct sockaddr *)&peer : NULL, ask ? &len : NULL);
	else
		fd = accept4(listener, ask ? (struct sockaddr *)&peer : NULL, ask ? &len : NULL,
			     SOCK_NONBLOCK | cloexec());
	hint_add(HINT_SOCKET, fd);
	hint_add(HINT_CARRIER, fd);
}

static void op_shutdown(void)
{
	shutdown(hint_any(HINT_SOCKET), (int)dice(3));
}

/* The places where strangers meet. */
static void op_mailbox(void)
{
	int fd = make(AF_UNIX, SOCK_DGRAM);
	struct sockaddr_storage addr;
	socklen_t len = unix_name("mail", dice(MAILBOXES), &addr);

	if (bind(fd, (struct sockaddr *)&addr, len) == 0)
		hint_add(HINT_CARRIER, fd);
	else
		close(fd);
}

union passed {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(PASSED_MAX * sizeof(int))];
};

static int pick_passed(void)
{
	return dice(3) == 0 ? any_fd() : hint_any(dice(2) == 0 ? HINT_SOCKET : HINT_LISTENER);
}

static void send_some(int over, struct sockaddr_storage *to, socklen_t len)
{
	uint32_t n = 1 + dice(PASSED_MAX);
	union passed control = { .align = { .cmsg_level = SOL_SOCKET,
					    .cmsg_type = SCM_RIGHTS,
					    .cmsg_len = CMSG_LEN(n * sizeof(int)) } };
	char byte = 'x';
	struct iovec iov = { &byte, 1 };
	struct mmsghdr m = { .msg_hdr = { .msg_name = to,
					  .msg_namelen = len,
					  .msg_iov = &iov,
					  .msg_iovlen = 1,
					  .msg_control = control.bytes,
					  .msg_controllen = CMSG_SPACE(n * sizeof(int)) } };

	for (uint32_t i = 0; i < n; i++) {
		int fd = pick_passed();

		memcpy(CMSG_DATA(&control.align) + i * sizeof(int), &fd, sizeof(fd));
	}
	if (dice(4) == 0)
		sendmmsg(over, &m, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	else
		sendmsg(over, &m.msg_hdr, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void op_mail(void)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_storage addr;
	socklen_t len = unix_name("mail", dice(MAILBOXES), &addr);

	send_some(fd, &addr, len);
	close(fd);
}

static void op_send(void)
{
	send_some(hint_any(HINT_CARRIER), NULL, 0);
}

/* With too little room the kernel drops what does not fit. */
static void op_receive(void)
{
	union passed control;
	char byte;
	struct iovec iov = { &byte, 1 };
	struct mmsghdr m = { .msg_hdr = { .msg_iov = &iov,
					  .msg_iovlen = 1,
					  .msg_control = control.bytes,
					  .msg_controllen =
						  dice(4) == 0 ? CMSG_LEN(sizeof(int)) : sizeof(control) } };
	int over = hint_any(HINT_CARRIER), flags = MSG_DONTWAIT | (dice(2) == 0 ? MSG_CMSG_CLOEXEC : 0);
	ssize_t got = dice(4) == 0 ? recvmmsg(over, &m, 1, flags, NULL) : recvmsg(over, &m.msg_hdr, flags);
	struct cmsghdr *c = got < 0 ? NULL : CMSG_FIRSTHDR(&m.msg_hdr);

	for (size_t at = CMSG_LEN(0); c != NULL && c->cmsg_type == SCM_RIGHTS && at < c->cmsg_len;
	     at += sizeof(int)) {
		int fd;

		memcpy(&fd, (char *)c + at, sizeof(fd));
		hint_add((enum hint)dice(HINTS), fd);
	}
}

const struct op socket_ops[] = {
	{ "socket", op_socket, 30, 0, NULL },	 { "socketpair", op_socketpair, 16, 0, NULL },
	{ "bind", op_bind, 16, 0, NULL },	 { "listen", op_listen, 24, 0, NULL },
	{ "connect", op_connect, 24, 0, NULL },	 { "accept", op_accept, 40, 0, NULL },
	{ "shutdown", op_shutdown, 4, 0, NULL }, { "mailbox", op_mailbox, 8, 0, NULL },
	{ "mail", op_mail, 24, 0, NULL },	 { "send", op_send, 30, 0, NULL },
	{ "receive", op_receive, 50, 0, NULL },	 { 0 },
};
