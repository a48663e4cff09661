/* SPDX-License-Identifier: MIT */
/* sendmsg, sendmmsg, recvmsg, recvmmsg: descriptors passed over UNIX sockets, and plain messages. */
#include "cases.h"

#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/uio.h>

#define FDS_MAX 8

/* One message with its buffers, as long as it lives. */
struct message {
	struct msghdr header;
	struct iovec iov;
	char text[64];
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
	} control;
};

static void message(struct message *m, const char *text)
{
	memset(m, 0, sizeof(*m));
	snprintf(m->text, sizeof(m->text), "%s", text);
	m->iov = (struct iovec){ m->text, strlen(text) };
	m->header.msg_iov = &m->iov;
	m->header.msg_iovlen = 1;
}

static void attach(struct message *m, const int *fds, unsigned n)
{
	struct cmsghdr *c;

	m->header.msg_control = m->control.bytes;
	m->header.msg_controllen = CMSG_SPACE(n * sizeof(int));
	c = CMSG_FIRSTHDR(&m->header);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n * sizeof(int));
}

/* To receive into, with room for n descriptors. */
static void empty(struct message *m, unsigned n)
{
	memset(m, 0, sizeof(*m));
	m->iov = (struct iovec){ m->text, sizeof(m->text) };
	m->header.msg_iov = &m->iov;
	m->header.msg_iovlen = 1;
	if (n > 0) {
		m->header.msg_control = m->control.bytes;
		m->header.msg_controllen = CMSG_LEN(n * sizeof(int));
	}
}

/* Prints what came; the descriptors to fds, their number is returned. */
static unsigned show_message(struct message *m, ssize_t len, int fds[FDS_MAX])
{
	unsigned n = 0;
	int flags = m->header.msg_flags;

	say("\"%.*s\"%s%s%s%s controllen %zu\n", (int)(len > 0 ? len : 0), m->text,
	    flags & MSG_TRUNC ? " TRUNC" : "", flags & MSG_CTRUNC ? " CTRUNC" : "",
	    flags & MSG_EOR ? " EOR" : "", flags & MSG_CMSG_CLOEXEC ? " CMSG_CLOEXEC" : "",
	    m->header.msg_controllen);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m->header); c != NULL; c = CMSG_NXTHDR(&m->header, c)) {
		say("control %d %d of %zu\n", c->cmsg_level, c->cmsg_type, c->cmsg_len);
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; CMSG_LEN((i + 1) * sizeof(int)) <= c->cmsg_len && n < FDS_MAX; i++) {
			memcpy(&fds[n], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			show_fd(fds[n++]);
		}
	}
	return n;
}

static unsigned receive(int fd, unsigned room, int flags, int fds[FDS_MAX])
{
	struct message m;
	ssize_t len;

	empty(&m, room);
	len = OK(recvmsg(fd, &m.header, flags));
	return show_message(&m, len, fds);
}

/* ---- sendmsg and recvmsg of descriptors ---- */

/* A socket, a file and a pipe in one message. */
static void rights(void)
{
	struct address a;
	struct message m;
	int u[2], p[2], got[FDS_MAX], three[3];

	unix_pair(u);
	CHECK(pipe(p) == 0);
	three[0] = tcp_listener(&a);
	three[1] = open("file", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	three[2] = p[1];
	message(&m, "three");
	attach(&m, three, 3);
	IS(5, sendmsg(u[0], &m.header, 0));
	IS(0, close(three[0]));
	IS(0, close(p[1]));
	IS(3, receive(u[1], 3, 0, got));
	put(got[2], "by the passed pipe");
	get(p[0], "by the passed pipe");
	/* The listener is held by its passed copy alone. */
	tcp_connected(&a);
	show_fd(OK(accept(got[0], NULL, NULL)));
}

static void rights_cloexec(void)
{
	struct message m;
	int u[2], s = OK(socket(AF_INET, SOCK_STREAM, 0)), got[FDS_MAX];

	unix_pair(u);
	message(&m, "x");
	attach(&m, &s, 1);
	IS(1, sendmsg(u[0], &m.header, 0));
	IS(1, receive(u[1], 1, MSG_CMSG_CLOEXEC, got));
}

/* Room for one of three: the rest is dropped, and said so. */
static void rights_truncated(void)
{
	struct message m;
	int u[2], t[2], got[FDS_MAX], three[3];

	unix_pair(u);
	tcp_pair(t);
	three[0] = OK(socket(AF_INET, SOCK_DGRAM, 0));
	three[1] = t[0];
	three[2] = 0;
	message(&m, "x");
	attach(&m, three, 3);
	IS(1, sendmsg(u[0], &m.header, 0));
	IS(0, close(t[0]));
	IS(1, receive(u[1], 1, 0, got));
	get(t[1], "");
	/* Meanwhile its number is the received one's. */
	show_fd(three[1]);
	three[1] = 0;
	attach(&m, three, 3);
	IS(1, sendmsg(u[0], &m.header, 0));
	IS(0, receive(u[1], 0, 0, got));
}

/* Each look gives new descriptors. */
static void rights_peek(void)
{
	struct message m;
	int u[2], s = OK(socket(AF_INET, SOCK_STREAM, 0)), got[FDS_MAX];

	unix_pair(u);
	message(&m, "peek");
	attach(&m, &s, 1);
	IS(4, sendmsg(u[0], &m.header, 0));
	IS(1, receive(u[1], 1, MSG_PEEK, got));
	IS(1, receive(u[1], 1, MSG_PEEK | MSG_CMSG_CLOEXEC, got));
	IS(1, receive(u[1], 1, 0, got));
	FAILS(EAGAIN, recvmsg(u[1], &m.header, MSG_DONTWAIT));
}

static void rights_emfile(void)
{
	struct message m;
	struct rlimit limit;
	int u[2], got[FDS_MAX], three[3] = { 0, 0, 0 };

	unix_pair(u);
	message(&m, "x");
	attach(&m, three, 3);
	IS(1, sendmsg(u[0], &m.header, 0));
	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = (rlim_t)u[1] + 2;
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	IS(1, receive(u[1], 3, 0, got));
	limit.rlim_cur = 1024;
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

/* Over a seqpacket and a datagram socket, the carrier itself among the passed. */
static void rights_kinds(void)
{
	struct message m;
	int u[2], got[FDS_MAX];

	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, u) == 0);
	message(&m, "seq");
	attach(&m, u, 2);
	IS(3, sendmsg(u[0], &m.header, MSG_EOR));
	IS(2, receive(u[1], 2, 0, got));
	CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, u) == 0);
	message(&m, "");
	attach(&m, u, 1);
	IS(0, sendmsg(u[0], &m.header, 0));
	IS(1, receive(u[1], 1, 0, got));
}

static int carrier[2];

static int child_sends(void)
{
	struct address a;
	struct message m;
	int s = tcp_listener(&a);

	message(&m, "from the child");
	attach(&m, &s, 1);
	IS(14, sendmsg(carrier[1], &m.header, 0));
	return 2;
}

static void rights_from_child(void)
{
	struct address a;
	int got[FDS_MAX];

	unix_pair(carrier);
	in_child(child_sends);
	IS(1, receive(carrier[0], 1, 0, got));
	a = local_of(got[0]);
	tcp_connected(&a);
	OK(accept(got[0], NULL, NULL));
}

/* ---- sendmsg ---- */

static void sendmsg_errors(void)
{
	struct message m;
	int u[2], p[2], bad = 99;
	int tcp = OK(socket(AF_INET, SOCK_STREAM, 0));

	signal(SIGPIPE, SIG_IGN);
	unix_pair(u);
	CHECK(pipe(p) == 0);
	message(&m, "x");
	FAILS(EBADF, sendmsg(-1, &m.header, 0));
	FAILS(ENOTSOCK, sendmsg(p[1], &m.header, 0));
	FAILS(EFAULT, sendmsg(u[0], bad_pointer, 0));
	FAILS(EPIPE, sendmsg(tcp, &m.header, 0));
	attach(&m, &bad, 1);
	FAILS(EBADF, sendmsg(u[0], &m.header, 0));
	bad = -1;
	attach(&m, &bad, 1);
	FAILS(EBADF, sendmsg(u[0], &m.header, 0));
	m.control.align.cmsg_len = 3;
	FAILS(EINVAL, sendmsg(u[0], &m.header, 0));
	m.control.align.cmsg_len = 4000;
	FAILS(EINVAL, sendmsg(u[0], &m.header, 0));
	m.header.msg_control = bad_pointer;
	FAILS(EFAULT, sendmsg(u[0], &m.header, 0));
	message(&m, "x");
	m.header.msg_iov = bad_pointer;
	FAILS(EFAULT, sendmsg(u[0], &m.header, 0));
	message(&m, "x");
	m.header.msg_iovlen = (size_t)-1;
	FAILS(EMSGSIZE, sendmsg(u[0], &m.header, 0));
	IS(0, close(u[1]));
	message(&m, "x");
	FAILS(EPIPE, sendmsg(u[0], &m.header, MSG_NOSIGNAL));
}

/* Datagrams with an address, and control data that is no descriptor. */
static void sendmsg_udp(void)
{
	struct address a = ip4("127.0.0.1", 0), from = { .len = sizeof(from.storage) };
	struct message m;
	int s = OK(socket(AF_INET, SOCK_DGRAM, 0));
	int c = OK(socket(AF_INET, SOCK_DGRAM, 0));
	int on = 1, none[FDS_MAX];
	ssize_t len;

	IS(0, bind(s, &a.sa, a.len));
	a = local_of(s);
	CHECK(setsockopt(s, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) == 0);
	message(&m, "datagram");
	m.header.msg_name = &a.sa;
	m.header.msg_namelen = a.len;
	IS(8, sendmsg(c, &m.header, 0));
	empty(&m, FDS_MAX);
	m.header.msg_name = &from.sa;
	m.header.msg_namelen = from.len;
	len = OK(recvmsg(s, &m.header, 0));
	IS(0, show_message(&m, len, none));
	show_address("from", &from.sa, m.header.msg_namelen);
	/* No address, no peer. */
	message(&m, "x");
	FAILS(EDESTADDRREQ, sendmsg(c, &m.header, 0));
}

static void sendmsg_credentials(void)
{
	struct message m;
	struct ucred own = { getpid(), getuid(), getgid() }, got;
	struct cmsghdr *c;
	int u[2], on = 1;

	unix_pair(u);
	CHECK(setsockopt(u[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) == 0);
	message(&m, "who");
	m.header.msg_control = m.control.bytes;
	m.header.msg_controllen = CMSG_SPACE(sizeof(own));
	c = CMSG_FIRSTHDR(&m.header);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_CREDENTIALS;
	c->cmsg_len = CMSG_LEN(sizeof(own));
	memcpy(CMSG_DATA(c), &own, sizeof(own));
	IS(3, sendmsg(u[0], &m.header, 0));
	empty(&m, FDS_MAX);
	IS(3, recvmsg(u[1], &m.header, 0));
	c = CMSG_FIRSTHDR(&m.header);
	CHECK(c != NULL && c->cmsg_type == SCM_CREDENTIALS);
	memcpy(&got, CMSG_DATA(c), sizeof(got));
	CHECK(got.pid == own.pid && got.uid == own.uid && got.gid == own.gid);
}

static int handler_fd;

static void handler_send_receive(void)
{
	struct message m;
	int got[FDS_MAX];

	message(&m, "signal");
	attach(&m, &handler_fd, 1);
	IS(6, sendmsg(carrier[0], &m.header, 0));
	IS(1, receive(carrier[1], 1, 0, got));
	IS(0, close(got[0]));
}

static void in_signal_handler(void)
{
	unix_pair(carrier);
	handler_fd = OK(socket(AF_INET, SOCK_STREAM, 0));
	in_handler(handler_send_receive);
}

static void pass_around(void *arg)
{
	int u[2], s = socket(AF_INET, SOCK_STREAM, 0);

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, u) == 0);
	for (int i = 0; i < 100; i++) {
		struct message m;
		int fd = -1;

		message(&m, "x");
		attach(&m, &s, 1);
		CHECK(sendmsg(u[0], &m.header, 0) == 1);
		empty(&m, 1);
		CHECK(recvmsg(u[1], &m.header, 0) == 1);
		memcpy(&fd, CMSG_DATA(&m.control.align), sizeof(fd));
		CHECK(fd > 2 && fd != s);
		CHECK(close(fd) == 0);
	}
	CHECK(close(u[0]) == 0 && close(u[1]) == 0 && close(s) == 0);
}

static void in_threads(void)
{
	many_threads(6, pass_around);
}

/* ---- recvmsg ---- */

static void recvmsg_errors(void)
{
	struct message m;
	int u[2], p[2], got[FDS_MAX];
	int tcp = OK(socket(AF_INET, SOCK_STREAM, 0));

	unix_pair(u);
	CHECK(pipe(p) == 0);
	empty(&m, 1);
	FAILS(EBADF, recvmsg(-1, &m.header, 0));
	FAILS(ENOTSOCK, recvmsg(p[0], &m.header, 0));
	FAILS(EFAULT, recvmsg(u[0], bad_pointer, 0));
	FAILS(ENOTCONN, recvmsg(tcp, &m.header, 0));
	FAILS(EAGAIN, recvmsg(u[0], &m.header, MSG_DONTWAIT));
	m.header.msg_iov = bad_pointer;
	FAILS(EFAULT, recvmsg(u[0], &m.header, 0));
	put(u[1], "text");
	empty(&m, 1);
	m.iov.iov_base = bad_pointer;
	FAILS(EFAULT, recvmsg(u[0], &m.header, MSG_DONTWAIT));
	IS(0, close(u[1]));
	IS(0, receive(u[0], 1, 0, got));
	IS(0, receive(u[0], 1, 0, got));
}

static void recvmsg_truncated(void)
{
	struct message m;
	int u[2], none[FDS_MAX];

	CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, u) == 0);
	put(u[1], "0123456789");
	put(u[1], "0123456789");
	empty(&m, 0);
	m.iov.iov_len = 4;
	IS(4, recvmsg(u[0], &m.header, 0));
	show_message(&m, 4, none);
	empty(&m, 0);
	m.iov.iov_len = 4;
	IS(10, recvmsg(u[0], &m.header, MSG_TRUNC));
	show_message(&m, 4, none);
}

static atomic_int returned, cleaned;

static void cleanup(void *arg)
{
	cleaned++;
}

static void blocked_recvmsg(void *arg)
{
	struct message m;

	empty(&m, 1);
	pthread_cleanup_push(cleanup, NULL);
	recvmsg(*(int *)arg, &m.header, 0);
	returned++;
	pthread_cleanup_pop(0);
}

static void blocked_recvmmsg(void *arg)
{
	struct message m;
	struct mmsghdr vector[1];

	empty(&m, 1);
	vector[0].msg_hdr = m.header;
	pthread_cleanup_push(cleanup, NULL);
	recvmmsg(*(int *)arg, vector, 1, 0, NULL);
	returned++;
	pthread_cleanup_pop(0);
}

static void cancel_blocked(void (*fn)(void *))
{
	struct thread t;
	struct message m;
	int u[2], s, got[FDS_MAX];

	unix_pair(u);
	thread_start(&t, fn, &u[0]);
	thread_wait_blocked(&t);
	s = OK(socket(AF_INET, SOCK_STREAM, 0));
	IS(0, pthread_cancel(t.id));
	CHECK(thread_join(&t) == PTHREAD_CANCELED);
	CHECK(returned == 0 && cleaned == 1);
	message(&m, "later");
	attach(&m, &s, 1);
	IS(5, sendmsg(u[1], &m.header, 0));
	IS(1, receive(u[0], 1, 0, got));
}

static void recvmsg_cancel(void)
{
	cancel_blocked(blocked_recvmsg);
}

static void recvmmsg_cancel(void)
{
	cancel_blocked(blocked_recvmmsg);
}

static void interrupted_recvmsg(void *arg)
{
	struct message m;

	empty(&m, 1);
	FAILS(EINTR, recvmsg(*(int *)arg, &m.header, 0));
}

static void recvmsg_eintr(void)
{
	struct thread t;
	int u[2];

	unix_pair(u);
	catch_usr1(0);
	thread_start(&t, interrupted_recvmsg, &u[0]);
	thread_wait_blocked(&t);
	CHECK(pthread_kill(t.id, SIGUSR1) == 0);
	CHECK(thread_join(&t) == (void *)1);
}

/* ---- sendmmsg, recvmmsg ---- */

static void many_messages(void)
{
	struct message out[4], in[6];
	struct mmsghdr send[4], get_[6];
	int u[2], fds[FDS_MAX], n;
	int a = OK(socket(AF_INET, SOCK_STREAM, 0));
	int b[2] = { OK(socket(AF_UNIX, SOCK_DGRAM, 0)), 0 };

	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, u) == 0);
	memset(send, 0, sizeof(send));
	memset(get_, 0, sizeof(get_));
	message(&out[0], "none");
	message(&out[1], "one");
	attach(&out[1], &a, 1);
	message(&out[2], "two");
	attach(&out[2], b, 2);
	message(&out[3], "last");
	for (int i = 0; i < 4; i++)
		send[i].msg_hdr = out[i].header;
	IS(4, sendmmsg(u[0], send, 4, 0));
	for (int i = 0; i < 4; i++)
		say("sent %u\n", send[i].msg_len);
	for (int i = 0; i < 6; i++) {
		empty(&in[i], 2);
		get_[i].msg_hdr = in[i].header;
	}
	n = IS(4, recvmmsg(u[1], get_, 6, MSG_DONTWAIT, NULL));
	for (int i = 0; i < n; i++) {
		in[i].header = get_[i].msg_hdr;
		show_message(&in[i], get_[i].msg_len, fds);
	}
	FAILS(EAGAIN, recvmmsg(u[1], get_, 6, MSG_DONTWAIT, NULL));
}

/* The second cannot be sent: the first was. */
static void sendmmsg_part(void)
{
	struct message out[3];
	struct mmsghdr send[3];
	int u[2], got[FDS_MAX], bad = 99;
	int s = OK(socket(AF_INET, SOCK_STREAM, 0));

	unix_pair(u);
	memset(send, 0, sizeof(send));
	message(&out[0], "first");
	attach(&out[0], &s, 1);
	message(&out[1], "second");
	attach(&out[1], &bad, 1);
	message(&out[2], "third");
	for (int i = 0; i < 3; i++)
		send[i].msg_hdr = out[i].header;
	IS(1, sendmmsg(u[0], send, 3, 0));
	IS(1, receive(u[1], 1, 0, got));
	FAILS(EBADF, sendmmsg(u[0], send + 1, 2, 0));
}

static void mmsg_errors_send(void)
{
	struct message m;
	struct mmsghdr vector[1];
	int u[2], p[2];

	unix_pair(u);
	CHECK(pipe(p) == 0);
	message(&m, "x");
	memset(vector, 0, sizeof(vector));
	vector[0].msg_hdr = m.header;
	FAILS(EBADF, sendmmsg(-1, vector, 1, 0));
	FAILS(ENOTSOCK, sendmmsg(p[1], vector, 1, 0));
	FAILS(EFAULT, sendmmsg(u[0], bad_pointer, 1, 0));
	IS(0, sendmmsg(u[0], bad_pointer, 0, 0));
	IS(0, sendmmsg(u[0], vector, 0, 0));
}

static void mmsg_errors_receive(void)
{
	struct message m;
	struct mmsghdr vector[1];
	struct timespec little = { .tv_nsec = 1 }, wrong = { .tv_nsec = -1 };
	int u[2], p[2];

	unix_pair(u);
	CHECK(pipe(p) == 0);
	empty(&m, 1);
	memset(vector, 0, sizeof(vector));
	vector[0].msg_hdr = m.header;
	FAILS(EBADF, recvmmsg(-1, vector, 1, 0, NULL));
	FAILS(ENOTSOCK, recvmmsg(p[0], vector, 1, 0, NULL));
	FAILS(EINVAL, recvmmsg(u[0], vector, 1, 0, &wrong));
	FAILS(EFAULT, recvmmsg(u[0], vector, 1, 0, bad_pointer));
	IS(0, recvmmsg(u[0], vector, 0, MSG_DONTWAIT, NULL));
	put(u[1], "a");
	FAILS(EFAULT, recvmmsg(u[0], bad_pointer, 1, MSG_DONTWAIT, NULL));
	empty(&m, 1);
	vector[0].msg_hdr = m.header;
	TRY(recvmmsg(u[0], vector, 1, MSG_WAITFORONE, &little));
}

const struct test_case cases[] = {
	{ "sendmsg", rights },
	{ "sendmsg/kinds of carrier", rights_kinds },
	{ "sendmsg/errors", sendmsg_errors },
	{ "sendmsg/udp", sendmsg_udp },
	{ "sendmsg/credentials", sendmsg_credentials },
	{ "sendmsg/handler", in_signal_handler },
	{ "sendmsg/threads", in_threads },
	{ "recvmsg", rights_from_child },
	{ "recvmsg/MSG_CMSG_CLOEXEC", rights_cloexec },
	{ "recvmsg/MSG_CTRUNC", rights_truncated },
	{ "recvmsg/MSG_PEEK", rights_peek },
	{ "recvmsg/EMFILE", rights_emfile },
	{ "recvmsg/errors", recvmsg_errors },
	{ "recvmsg/MSG_TRUNC", recvmsg_truncated },
	{ "recvmsg/cancel", recvmsg_cancel },
	{ "recvmsg/EINTR", recvmsg_eintr },
	{ "sendmmsg", many_messages },
	{ "sendmmsg/in part", sendmmsg_part },
	{ "sendmmsg/errors", mmsg_errors_send },
	{ "recvmmsg", many_messages },
	{ "recvmmsg/errors", mmsg_errors_receive },
	{ "recvmmsg/cancel", recvmmsg_cancel },
	{ NULL, NULL },
};
