/* SPDX-License-Identifier: MIT */
#include "replace.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "common/sys.h"
#include "common/text.h"
#include "lines.h"
#include "mask.h"
#include "see.h"
#include "track_private.h"

#define EPOLLS_MAX 8
#define SCAN_FDS 4096

/* What both sockets have comes along: those of IP and TCP, where both are such.  Twice the buffer sizes that
 * are set is what is told: socket(7). */
static const struct {
	int level, name;
	bool halved;
} options[] = {
	{ SOL_SOCKET, SO_REUSEADDR, false },
	{ SOL_SOCKET, SO_REUSEPORT, false },
	{ SOL_SOCKET, SO_KEEPALIVE, false },
	{ SOL_SOCKET, SO_BROADCAST, false },
	{ SOL_SOCKET, SO_DONTROUTE, false },
	{ SOL_SOCKET, SO_OOBINLINE, false },
	{ SOL_SOCKET, SO_PRIORITY, false },
	{ SOL_SOCKET, SO_RCVLOWAT, false },
	{ SOL_SOCKET, SO_SNDBUF, true },
	{ SOL_SOCKET, SO_RCVBUF, true },
	{ SOL_SOCKET, SO_MARK, false },
	{ SOL_SOCKET, SO_TIMESTAMP, false },
	{ IPPROTO_IP, IP_TOS, false },
	{ IPPROTO_IP, IP_TTL, false },
	{ IPPROTO_IP, IP_FREEBIND, false },
	{ IPPROTO_IP, IP_TRANSPARENT, false },
	{ IPPROTO_TCP, TCP_NODELAY, false },
	{ IPPROTO_TCP, TCP_CORK, false },
	{ IPPROTO_TCP, TCP_MAXSEG, false },
	{ IPPROTO_TCP, TCP_KEEPIDLE, false },
	{ IPPROTO_TCP, TCP_KEEPINTVL, false },
	{ IPPROTO_TCP, TCP_KEEPCNT, false },
	{ IPPROTO_TCP, TCP_SYNCNT, false },
	{ IPPROTO_TCP, TCP_LINGER2, false },
	{ IPPROTO_TCP, TCP_DEFER_ACCEPT, false },
	{ IPPROTO_TCP, TCP_WINDOW_CLAMP, false },
	{ IPPROTO_TCP, TCP_USER_TIMEOUT, false },
	{ IPPROTO_TCP, TCP_FASTOPEN, false },
	{ IPPROTO_TCP, TCP_NOTSENT_LOWAT, false },
};

static bool get_option(int fd, int level, int name, void *value, socklen_t len)
{
	return sys5(SYS_getsockopt, fd, level, name, value, &len) == 0;
}

static void set_option(int fd, int level, int name, const void *value, socklen_t len)
{
	sys5(SYS_setsockopt, fd, level, name, value, len);
}

/* Only what differs: to set a buffer's size ends its growing by itself. */
static void copy_options(int from, int to)
{
	static const int structs[] = { SO_LINGER, SO_RCVTIMEO, SO_SNDTIMEO };

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		int level = options[i].level, name = options[i].name, was = 0, now = 0;

		if (!get_option(from, level, name, &was, sizeof(was)) ||
		    !get_option(to, level, name, &now, sizeof(now)) || was == now)
			continue;
		if (options[i].halved)
			was /= 2;
		set_option(to, level, name, &was, sizeof(was));
	}
	for (size_t i = 0; i < sizeof(structs) / sizeof(structs[0]); i++) {
		union {
			struct linger linger;
			struct timeval time;
		} value = { 0 };
		socklen_t len = structs[i] == SO_LINGER ? sizeof(value.linger) : sizeof(value.time);

		if (get_option(from, SOL_SOCKET, structs[i], &value, len))
			set_option(to, SOL_SOCKET, structs[i], &value, len);
	}
}

/* Flags, and who gets which signal; O_ASYNC comes last. */
static long copy_flags(int from, int to)
{
	struct f_owner_ex owner = { 0 };
	long flags = sys3(SYS_fcntl, from, F_GETFL, 0), sig = sys3(SYS_fcntl, from, F_GETSIG, 0);

	if (flags >= 0)
		sys3(SYS_fcntl, to, F_SETFL, flags & ~O_ASYNC);
	if (sys3(SYS_fcntl, from, F_GETOWN_EX, &owner) == 0 && owner.pid != 0)
		sys3(SYS_fcntl, to, F_SETOWN_EX, &owner);
	if (sig > 0)
		sys3(SYS_fcntl, to, F_SETSIG, sig);
	return flags;
}

/* The signal names the descriptor that this was set by: fcntl(2), F_SETSIG. */
static void set_async(int fd, long flags)
{
	if (flags >= 0 && (flags & O_ASYNC))
		sys3(SYS_fcntl, fd, F_SETFL, flags);
}

struct registration {
	int epoll;
	struct epoll_event event;
};

static bool is_epoll(int fd)
{
	static const char name[] = "anon_inode:[eventpoll]";
	char path[32], link[sizeof(name)];
	struct text t = TEXT_IN(path);

	text_add(&t, "/proc/self/fd/");
	text_add_u64(&t, (uint64_t)fd);
	return sys4(SYS_readlinkat, AT_FDCWD, path, link, sizeof(link)) == sizeof(name) - 1 &&
	       memcmp(link, name, sizeof(name) - 1) == 0;
}

static bool value_of(const char *line, const char *name, uint64_t *out, unsigned base)
{
	const char *p = strstr(line, name);

	if (p == NULL)
		return false;
	p += strlen(name);
	p += strspn(p, " \t");
	return text_take_u64(&p, base, out);
}

struct wanted {
	int fd;
	struct epoll_event *event;
};

/* A line of proc(5), fdinfo: "tfd:  7 events:  19 data:  7  pos:0 …"; the numbers behind tfd in hex. */
static bool is_registration(const char *line, const void *arg)
{
	const struct wanted *w = arg;
	uint64_t tfd, events, data;

	if (strncmp(line, "tfd:", 4) != 0 || !value_of(line, "tfd:", &tfd, 10) || tfd != (uint64_t)w->fd ||
	    !value_of(line, "events:", &events, 16) || !value_of(line, "data:", &data, 16))
		return false;
	w->event->events = (uint32_t)events;
	w->event->data.u64 = data;
	return true;
}

/* How fd is registered with an epoll instance, if it is. */
static bool find_registration(int epoll, int fd, struct epoll_event *out)
{
	const struct wanted w = { .fd = fd, .event = out };
	char path[48];
	struct text t = TEXT_IN(path);

	text_add(&t, "/proc/self/fdinfo/");
	text_add_u64(&t, (uint64_t)epoll);
	return lines_find(path, is_registration, &w) == 1;
}

/* As many instances as a program has a socket in: what is beyond these numbers is not carried over. */
static int find_epolls(int fd, struct registration out[static EPOLLS_MAX])
{
	struct stat st = { 0 };
	int n = 0;
	long open = sys4(SYS_newfstatat, AT_FDCWD, "/proc/self/fd", &st, 0) < 0 ? 0 : st.st_size;

	for (int at = 0; at < SCAN_FDS && open > 0 && n < EPOLLS_MAX; at++) {
		if (sys3(SYS_fcntl, at, F_GETFD, 0) < 0)
			continue;
		open--;
		out[n].epoll = at;
		if (is_epoll(at) && find_registration(at, fd, &out[n].event))
			n++;
	}
	return n;
}

/* The old description would go on reporting EPOLLHUP if another descriptor kept it: epoll(7), Q6. */
static int put_in_place(int new, int fd)
{
	struct registration epolls[EPOLLS_MAX];
	int n = find_epolls(fd, epolls);
	long cloexec = sys3(SYS_fcntl, fd, F_GETFD, 0);
	int ret;

	for (int i = 0; i < n; i++)
		sys4(SYS_epoll_ctl, epolls[i].epoll, EPOLL_CTL_DEL, fd, NULL);
	ret = (int)sys3(SYS_dup3, new, fd, cloexec > 0 && (cloexec & FD_CLOEXEC) ? O_CLOEXEC : 0);
	for (int i = 0; i < n; i++)
		sys4(SYS_epoll_ctl, epolls[i].epoll, EPOLL_CTL_ADD, fd, &epolls[i].event);
	return ret < 0 ? ret : 0;
}

/* The first is what the program calls with, and made known as created by it; the others are its copies. */
static int put_everywhere(int new, int fd, uint64_t cookie, int family, int type, int protocol)
{
	uint64_t closers = track_read(&self.closers);
	int ret = put_in_place(new, fd);

	if (ret < 0)
		return ret;
	track_created(fd, family, type, protocol, false, closers);
	for (unsigned other = 0; other < fdtab_end(); other++) {
		uint64_t c, accepted;
		struct fd_entry *e = entry_of((int)other);
		uint64_t word = fd_word(e);

		if (FD_STATE(word) != FD_SOCKET || !identity_at(e, word, &c, &accepted) || c != cookie)
			continue;
		if (put_in_place(new, (int)other) == 0)
			track_look((int)other, 0);
	}
	return 0;
}

int replace_socket(int fd, uint64_t cookie, int family, int type, int protocol)
{
	uint64_t now;
	long flags;
	int ret, new;

	if (see_nothing())
		return -EPERM;
	new = (int)sys3(SYS_socket, family, type | SOCK_CLOEXEC, protocol);
	if (new < 0)
		return new;
	copy_options(fd, new);
	flags = copy_flags(fd, new);
	track_begin(&self.closers);
	ret = put_everywhere(new, fd, cookie, family, type, protocol);
	if (ret == 0)
		set_async(fd, flags);
	track_end(&self.closers);
	sys_close(new);
	if (ret == 0 && see_cookie(fd, &now) == SEEN_SOCKET)
		mask_move(cookie, now);
	return ret;
}
