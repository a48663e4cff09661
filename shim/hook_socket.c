/* SPDX-License-Identifier: MIT */
/* socket, bind, listen, accept, connect and their kin.  All async-signal-safe as their originals. */

#include <errno.h>

#include "act.h"
#include "believe.h"
#include "emit.h"
#include "mask.h"
#include "process.h"
#include "real.h"
#include "track.h"

int hook_socket(int domain, int type, int protocol)
{
	uint64_t closers;
	int fd;

	if (!process_enter_socket())
		return REAL(socket)(domain, type, protocol);
	closers = track_read(&self.closers);
	track_begin(&self.changes);
	fd = REAL(socket)(domain, type, protocol);
	if (fd >= 0)
		track_created(fd, domain, type, protocol, false, closers);
	else
		emit_no_socket(domain, type, protocol, errno);
	track_end(&self.changes);
	return fd;
}

int hook_socketpair(int domain, int type, int protocol, int sv[2])
{
	uint64_t closers;
	int ret;

	if (!process_enter_socket())
		return REAL(socketpair)(domain, type, protocol, sv);
	closers = track_read(&self.closers);
	track_begin(&self.changes);
	ret = REAL(socketpair)(domain, type, protocol, sv);
	if (ret == 0) {
		track_created(sv[0], domain, type, protocol, true, closers);
		track_created(sv[1], domain, type, protocol, true, closers);
	} else {
		emit_no_socket(domain, type, protocol, errno);
	}
	track_end(&self.changes);
	return ret;
}

int hook_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct act act;
	int ret, error;

	if (!process_enter_socket())
		return REAL(bind)(fd, addr, len);
	error = act_before(&act, RULE_BIND, fd, addr, len);
	ret = error == 0 ? REAL(bind)(fd, act.addr, act.len) : act_refused(error);
	if (ret < 0 && act_again(&act, errno))
		ret = REAL(bind)(fd, act.addr, act.len);
	error = ret < 0 ? errno : 0;
	if (ret == 0)
		track_bound(fd, act.asked_addr, len, act.moved ? act.addr : act.asked_addr, act.len);
	else
		emit_bind(fd, track_known(fd), act.asked_addr, len, error);
	act_after(&act, error);
	errno = ret < 0 ? error : errno;
	return ret;
}

/* bindresvport(3) tries port after port by a bind of libc's own. */
int hook_bindresvport(int fd, struct sockaddr_in *sin)
{
	int ret;

	if (!process_enter_socket())
		return REAL(bindresvport)(fd, sin);
	ret = REAL(bindresvport)(fd, sin);
	if (ret == 0)
		track_bound(fd, NULL, 0, NULL, 0);
	else
		emit_bind(fd, track_known(fd), NULL, 0, errno);
	return ret;
}

int hook_listen(int fd, int backlog)
{
	struct act act;
	int ret, error;

	if (!process_enter_socket())
		return REAL(listen)(fd, backlog);
	act.backlog = backlog;
	error = act_before(&act, RULE_LISTEN, fd, NULL, 0);
	ret = error == 0 ? REAL(listen)(fd, act.backlog) : act_refused(error);
	if (ret < 0) {
		emit_listen(fd, track_known(fd), backlog, errno);
		return ret;
	}
	track_promote(fd);
	emit_listen(fd, track_cookie(fd), act.backlog, 0);
	track_listening(fd);
	return ret;
}

/* A connection that a rule refuses is none: the next is waited for, as the call would have. */
static int accept_admitted(bool four, int fd, struct sockaddr *addr, socklen_t *len, int flags,
			   socklen_t room, bool *closes)
{
	int new;

	/* Before the descriptor is there: another thread may exec as soon as it is. */
	if (track_closes_on_exec(fd)) {
		flags |= SOCK_CLOEXEC;
		four = true;
	}
	for (;;) {
		new = four ? REAL(accept4)(fd, addr, len, flags) : REAL(accept)(fd, addr, len);
		if (new < 0 || !our_rules_wants(RULE_ACCEPT) || act_accepted(new, fd, closes))
			return new;
		if (room > 0)
			*len = room;
	}
}

/* The real call stays a cancellation point.  A thread cancelled in it leaves self.changes raised. */
static int accept_any(bool four, int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	uint64_t closers = track_read(&self.closers);
	socklen_t room = believe_room(addr, len);
	bool closes = false;
	int new;

	track_begin(&self.changes);
	new = accept_admitted(four, fd, addr, len, flags, room, &closes);
	if (new >= 0)
		track_accepted(new, fd, addr, room > 0 && room > *len ? *len : room,
			       (flags & SOCK_CLOEXEC) != 0, closers);
	else if (errno == EAGAIN)
		emit_count(fd, thread.vfork_child != 0 ? NULL : fdtab_find(fd), track_known(fd), false);
	else
		emit_accept(log_stamp(), fd, track_known(fd), NULL, 0, errno, false, 0);
	if (closes)
		track_close_on_exec(new);
	if (new >= 0 && room > 0 && mask_any())
		believe_peer(new, addr, room, len);
	track_end(&self.changes);
	return new;
}

int hook_accept(int fd, struct sockaddr *addr, socklen_t *len)
{
	return process_enter_socket() ? accept_any(false, fd, addr, len, 0) : REAL(accept)(fd, addr, len);
}

int hook_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	return process_enter_socket() ? accept_any(true, fd, addr, len, flags)
				      : REAL(accept4)(fd, addr, len, flags);
}

/* What the kernel has just taken can be read. */
static bool is_unspecified(const struct sockaddr *addr, socklen_t len)
{
	return addr != NULL && len >= sizeof(addr->sa_family) && addr->sa_family == AF_UNSPEC;
}

/* Changes no descriptor, and may block: nothing is held and nothing counted over it. */
int hook_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct fd_entry *e;
	struct act act;
	int ret, error;

	if (!process_enter_socket())
		return REAL(connect)(fd, addr, len);
	error = act_before(&act, RULE_CONNECT, fd, addr, len);
	ret = error == 0 ? REAL(connect)(fd, act.addr, act.len) : act_refused(error);
	error = ret < 0 ? act_error(&act, errno) : 0;
	e = thread.vfork_child != 0 ? NULL : fdtab_find(fd);
	emit_connect(fd, track_known(fd), act.asked_addr, len, error, track_in_ring(e));
	if (act.moved)
		emit_name(PS_PEER, fd, act.cookie, act.addr, act.len, track_in_ring(e));
	act_after(&act, error);
	if (ret == 0 && is_unspecified(act.asked_addr, len))
		track_dissolved(fd);
	errno = ret < 0 ? error : errno;
	return ret;
}
ALIAS_BODY(__connect, connect)

int hook_shutdown(int fd, int how)
{
	struct fd_entry *e;
	int ret;

	if (!process_enter())
		return REAL(shutdown)(fd, how);
	ret = REAL(shutdown)(fd, how);
	e = thread.vfork_child != 0 ? NULL : fdtab_find(fd);
	emit_shutdown(fd, track_known(fd), how, ret < 0 ? errno : 0, track_in_ring(e));
	if (ret == 0 && how != SHUT_WR && (fd_word(e) & FD_LISTEN) && FD_FAMILY(fd_word(e)) != AF_UNIX)
		track_dissolved(fd);
	return ret;
}

static bool decides_sharing(int level, int name)
{
	return (level == SOL_SOCKET && (name == SO_REUSEADDR || name == SO_REUSEPORT)) ||
	       (level == IPPROTO_IPV6 && name == IPV6_V6ONLY);
}

/* Only what decides whether an endpoint is shared is recorded. */
int hook_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	int ret;

	if (mask_any() && process_enter() && believe_swallow(fd, level, name))
		return 0;
	ret = REAL(setsockopt)(fd, level, name, value, len);
	if (ret == 0 && decides_sharing(level, name) && len >= sizeof(int) && process_enter())
		emit_option(fd, track_known(fd), level, name, *(const int *)value);
	return ret;
}
