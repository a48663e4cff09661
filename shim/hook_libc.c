/* SPDX-License-Identifier: MIT */
/*
 * Calls in which libc makes, binds, replaces or closes sockets by calls of its own, that no wrapper sees.
 * What they leave is found by looking.  As their originals, not async-signal-safe.  One that is cancelled
 * leaves its counter raised, see track_end().
 */

#include "process.h"
#include "real.h"
#include "track.h"

/* Where there is no socket in the table there was none, and none of these calls puts one there. */
static void look_again(int fd)
{
	if (thread.vfork_child != 0 || FD_STATE(fd_word(fdtab_find(fd))) != FD_NONE)
		track_look(fd, 0);
}

/* The terminal is put over 0, 1 and 2, and closed where it was. */
int hook_login_tty(int fd)
{
	struct counted before;
	int ret;

	if (!process_enter())
		return REAL(login_tty)(fd);
	track_begin(&self.closers);
	before = track_counted();
	ret = REAL(login_tty)(fd);
	track_libc_closed(&before, 1);
	for (int n = 0; n <= 2; n++)
		look_again(n);
	look_again(fd);
	track_end(&self.closers);
	return ret;
}

/* ---- reserved ports, rcmd(3), rexec(3) ---- */

static int made_reserved(int fd, sa_family_t family, uint64_t closers)
{
	if (fd >= 0) {
		track_created(fd, family, SOCK_STREAM, 0, false, closers);
		track_bound(fd, NULL, 0, NULL, 0);
	}
	track_end(&self.changes);
	return fd;
}

int hook_rresvport(int *port)
{
	uint64_t closers;

	if (!process_enter_socket())
		return REAL(rresvport)(port);
	closers = track_read(&self.closers);
	track_begin(&self.changes);
	return made_reserved(REAL(rresvport)(port), AF_INET, closers);
}

int hook_rresvport_af(int *port, sa_family_t family)
{
	uint64_t closers;

	if (!process_enter_socket())
		return REAL(rresvport_af)(port, family);
	closers = track_read(&self.closers);
	track_begin(&self.changes);
	return made_reserved(REAL(rresvport_af)(port, family), family, closers);
}

static struct counted before_remote(void)
{
	track_begin(&self.closers);
	return track_counted();
}

/* second: for the errors of the command, a socket of its own, if the program wants that. */
static int after_remote(const struct counted *before, int fd, const int *second)
{
	track_libc_closed(before, 1);
	if (fd >= 0)
		track_look(fd, 0);
	if (fd >= 0 && second != NULL)
		track_look(*second, 0);
	track_end(&self.closers);
	return fd;
}

int hook_rcmd(char **host, unsigned short port, const char *local, const char *remote, const char *command,
	      int *second)
{
	struct counted before;

	if (!process_enter_socket())
		return REAL(rcmd)(host, port, local, remote, command, second);
	before = before_remote();
	return after_remote(&before, REAL(rcmd)(host, port, local, remote, command, second), second);
}

int hook_rcmd_af(char **host, unsigned short port, const char *local, const char *remote, const char *command,
		 int *second, sa_family_t family)
{
	struct counted before;

	if (!process_enter_socket())
		return REAL(rcmd_af)(host, port, local, remote, command, second, family);
	before = before_remote();
	return after_remote(&before, REAL(rcmd_af)(host, port, local, remote, command, second, family),
			    second);
}

int hook_rexec(char **host, int port, const char *user, const char *password, const char *command,
	       int *second)
{
	struct counted before;

	if (!process_enter_socket())
		return REAL(rexec)(host, port, user, password, command, second);
	before = before_remote();
	return after_remote(&before, REAL(rexec)(host, port, user, password, command, second), second);
}

int hook_rexec_af(char **host, int port, const char *user, const char *password, const char *command,
		  int *second, sa_family_t family)
{
	struct counted before;

	if (!process_enter_socket())
		return REAL(rexec_af)(host, port, user, password, command, second, family);
	before = before_remote();
	return after_remote(&before, REAL(rexec_af)(host, port, user, password, command, second, family),
			    second);
}

/* ---- mq_notify ---- */

/* glibc hears of messages for SIGEV_THREAD by a netlink socket, which each process makes once and keeps. */
int hook_mq_notify(mqd_t queue, const struct sigevent *event)
{
	static _Atomic uint64_t known_to;
	int ret;

	if (!process_enter())
		return REAL(mq_notify)(queue, event);
	track_begin(&self.changes);
	ret = REAL(mq_notify)(queue, event);
	if (event != NULL && event->sigev_notify == SIGEV_THREAD && atomic_load(&known_to) != process_id() &&
	    track_find_unknown() >= 0)
		atomic_store(&known_to, process_id());
	track_end(&self.changes);
	return ret;
}

/* ---- names of hosts ---- */

/* Their sockets are gone when they come back; a child that another thread forks meanwhile has copies. */
#define LOOKUP(symbol, returns, parameters, arguments) \
	returns hook_##symbol parameters               \
	{                                              \
		returns ret;                           \
                                                       \
		if (!process_enter())                  \
			return REAL(symbol) arguments; \
		track_begin(&self.changes);            \
		ret = REAL(symbol) arguments;          \
		track_end(&self.changes);              \
		return ret;                            \
	}

LOOKUP(getaddrinfo, int,
       (const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found),
       (node, service, hints, found))
LOOKUP(getnameinfo, int,
       (const struct sockaddr *addr, socklen_t len, char *host, socklen_t host_room, char *service,
	socklen_t service_room, int flags),
       (addr, len, host, host_room, service, service_room, flags))
LOOKUP(gethostbyname, struct hostent *, (const char *name), (name))
LOOKUP(gethostbyname2, struct hostent *, (const char *name, int family), (name, family))
LOOKUP(gethostbyaddr, struct hostent *, (const void *addr, socklen_t len, int family), (addr, len, family))
LOOKUP(gethostbyname_r, int,
       (const char *name, struct hostent *host, char *buf, size_t size, struct hostent **found, int *error),
       (name, host, buf, size, found, error))
LOOKUP(gethostbyname2_r, int,
       (const char *name, int family, struct hostent *host, char *buf, size_t size, struct hostent **found,
	int *error),
       (name, family, host, buf, size, found, error))
LOOKUP(gethostbyaddr_r, int,
       (const void *addr, socklen_t len, int family, struct hostent *host, char *buf, size_t size,
	struct hostent **found, int *error),
       (addr, len, family, host, buf, size, found, error))
