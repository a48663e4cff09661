/* SPDX-License-Identifier: MIT */
#include "see.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include "common/sys.h"
#include "process.h"
#include "track.h"

static int get_option(int fd, int name, void *value, socklen_t len)
{
	return (int)sys5(SYS_getsockopt, fd, SOL_SOCKET, name, value, &len);
}

int see_option(int fd, int name)
{
	int value = 0;

	return get_option(fd, name, &value, sizeof(value)) < 0 ? 0 : value;
}

uint64_t see_inode(int fd)
{
	struct stat st;

	return sys2(SYS_fstat, fd, &st) < 0 ? 0 : st.st_ino;
}

/* socket(7): SO_COOKIE names a socket for as long as the machine runs. */
enum seen see_cookie(int fd, uint64_t *cookie)
{
	if (atomic_load_explicit(&self.quiet, memory_order_relaxed))
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
		out->inode = see_inode(fd);
		out->family = (uint16_t)see_option(fd, SO_DOMAIN);
		out->type = (uint16_t)see_option(fd, SO_TYPE);
		out->protocol = (uint16_t)see_option(fd, SO_PROTOCOL);
		out->listening = see_option(fd, SO_ACCEPTCONN) != 0;
		if (see_still(fd, out->cookie, closers))
			return SEEN_SOCKET;
	}
	out->inode = 0;
	return SEEN_SOCKET;
}
