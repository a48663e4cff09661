/* SPDX-License-Identifier: MIT */
#include "see.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/sys.h"
#include "process.h"
#include "track.h"

static int get_option(int fd, int name, void *value, socklen_t len)
{
	return (int)sys5(SYS_getsockopt, fd, SOL_SOCKET, name, value, &len);
}

/*
 * What lies between a frame of the first stack and the environment at its end is mapped: mm/mmap.c
 * (mmap_base) leaves the room below for the stack to grow, at least 128 MiB.  An address to bind to mostly
 * is a variable there.
 */
#define STACK_SURE (1u << 20)
static uintptr_t stack_end;

void see_remember_stack(char *const *envp)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0), end = (uintptr_t)envp;

	stack_end = end > here && end - here < STACK_SURE ? end : 0;
}

static bool is_on_stack(uintptr_t p)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);

	return p >= here && p < stack_end && stack_end - here < STACK_SURE;
}

/* kernel/signal.c, rt_sigprocmask: the set is read before `how` is looked at, which is no such thing.  What
 * is read is aligned, so that it is of one page. */
bool see_readable(uintptr_t p)
{
	return p >= PS_PAGE && (is_on_stack(p) || see_nothing() ||
				sys4(SYS_rt_sigprocmask, -1, p & ~(uintptr_t)7, NULL, 8) != -EFAULT);
}

bool see_string(const char *s)
{
	return (uintptr_t)s >= PS_PAGE &&
	       (see_nothing() || sys3(SYS_faccessat, AT_FDCWD, s, F_OK) != -EFAULT);
}

int see_option(int fd, int name)
{
	int value = 0;

	return get_option(fd, name, &value, sizeof(value)) < 0 ? 0 : value;
}

/* socket(7): SO_COOKIE names a socket for as long as the machine runs. */
enum seen see_cookie(int fd, uint64_t *cookie)
{
	if (see_nothing())
		return SEEN_NOTHING;
	return get_option(fd, SO_COOKIE, cookie, sizeof(*cookie)) < 0 ? SEEN_NO_SOCKET : SEEN_SOCKET;
}

/*
 * What is asked in turn is of one socket only if fd was not replaced meanwhile: the cookie tells.  It
 * need not be asked again where nobody can have done that.
 */
bool see_still(int fd, uint64_t cookie, uint64_t closers)
{
	uint64_t again;

	if (IN_FLIGHT(closers) == 0 && track_read(&self.closers) == closers)
		return true;
	return see_cookie(fd, &again) == SEEN_SOCKET && again == cookie;
}

enum seen see(int fd, struct identity *out)
{
	uint64_t closers;
	enum seen seen;

	/* Bounded: whoever replaces it each time looks after us. */
	for (int tries = 0; tries < 8; tries++) {
		closers = track_read(&self.closers);
		seen = see_cookie(fd, &out->cookie);
		if (seen != SEEN_SOCKET)
			return seen;
		out->family = (uint16_t)see_option(fd, SO_DOMAIN);
		out->type = (uint16_t)see_option(fd, SO_TYPE);
		out->protocol = (uint16_t)see_option(fd, SO_PROTOCOL);
		out->listening = see_option(fd, SO_ACCEPTCONN) != 0;
		if (see_still(fd, out->cookie, closers))
			return SEEN_SOCKET;
	}
	return SEEN_SOCKET;
}
