/* SPDX-License-Identifier: MIT */
/* Calls that tell or take a socket's name, for those that a rule has redirected.  Async-signal-safe. */

#include <errno.h>
#include <string.h>

#include "act.h"
#include "believe.h"
#include "emit.h"
#include "mask.h"
#include "process.h"
#include "real.h"
#include "track.h"

static bool is_masked(void)
{
	return mask_any() && process_enter();
}

typedef int name_fn(int fd, struct sockaddr *addr, socklen_t *len);
typedef void believe_fn(int fd, struct sockaddr *addr, socklen_t room, socklen_t *len);

static int name_by(name_fn *call, believe_fn *believe, int fd, struct sockaddr *addr, socklen_t *len)
{
	socklen_t room = is_masked() ? believe_room(addr, len) : 0;
	int ret = call(fd, addr, len);

	if (ret == 0 && room > 0)
		believe(fd, addr, room, len);
	return ret;
}

int hook_getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
	return name_by(REAL(getsockname), believe_local, fd, addr, len);
}

int hook_getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
	return name_by(REAL(getpeername), believe_peer, fd, addr, len);
}

/* The kernel has just written to value, so that can be written to. */
static void correct(int fd, int name, void *value, socklen_t len)
{
	int family, protocol;

	if (len < sizeof(int) || !believe_family(fd, &family, &protocol))
		return;
	if (name == SO_DOMAIN)
		memcpy(value, &family, sizeof(family));
	else if (name == SO_PROTOCOL)
		memcpy(value, &protocol, sizeof(protocol));
}

int hook_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	int ret;

	if (!is_masked())
		return REAL(getsockopt)(fd, level, name, value, len);
	if (believe_swallow(fd, level, name)) {
		/* The kernel looks at the pointers; all options of TCP and IP are 0 here. */
		ret = REAL(getsockopt)(fd, SOL_SOCKET, SO_TYPE, value, len);
		if (ret == 0)
			memset(value, 0, *len);
		return ret;
	}
	ret = REAL(getsockopt)(fd, level, name, value, len);
	if (ret == 0 && level == SOL_SOCKET)
		correct(fd, name, value, *len);
	return ret;
}

ssize_t hook_sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr, socklen_t len)
{
	struct act act;
	ssize_t ret;
	int error;

	if (addr == NULL || !(our_rules_wants(RULE_SEND) || mask_any()) || !process_enter_socket())
		return REAL(sendto)(fd, buf, n, flags, addr, len);
	act.flags = flags;
	error = act_before(&act, RULE_SEND, fd, addr, len);
	ret = error == 0 ? REAL(sendto)(fd, buf, n, flags, act.addr, act.len) : act_refused(error);
	act_after(&act, ret < 0 ? errno : 0);
	return ret;
}

static bool wants_source(const struct sockaddr *addr, const socklen_t *len, socklen_t *room)
{
	*room = addr != NULL && is_masked() ? believe_room(addr, len) : 0;
	return *room > 0;
}

ssize_t hook_recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *addr, socklen_t *len)
{
	socklen_t room;
	bool wanted = wants_source(addr, len, &room);
	ssize_t ret = REAL(recvfrom)(fd, buf, n, flags, addr, len);

	if (ret >= 0 && wanted)
		believe_source(fd, addr, room, len);
	return ret;
}

/* The same in a program that checks its buffers. */
ssize_t hook___recvfrom_chk(int fd, void *buf, size_t n, size_t size, int flags, struct sockaddr *addr,
			    socklen_t *len)
{
	socklen_t room;
	bool wanted = wants_source(addr, len, &room);
	ssize_t ret = REAL(__recvfrom_chk)(fd, buf, n, size, flags, addr, len);

	if (ret >= 0 && wanted)
		believe_source(fd, addr, room, len);
	return ret;
}
