/* SPDX-License-Identifier: MIT */
#include "path.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "common/sys.h"
#include "lines.h"
#include "mask.h"
#include "see.h"
#include "track_private.h"

/*
 * A thread that waits in accept or poll keeps the socket, whoever closes it, and /proc cannot tell that from
 * a holder elsewhere.  So the path remembers whose it was, until that process forks or sends the socket.
 */
static uint32_t alone_mark(void)
{
	uint64_t forks = atomic_load_explicit(&unshared.forks, memory_order_relaxed);

	return (uint32_t)((process_id() ^ forks * 0x9e3779b97f4a7c15u) >> 16) | 1;
}

static bool is_alone(const struct endpoint *path)
{
	return path->scope == alone_mark();
}

static bool has_path(const struct endpoint *ep)
{
	return ep->family == AF_UNIX && ep->port > 0 && ep->name[0] != '\0';
}

/* The socket's file at that name, in out->ip. */
static bool file_at(const char *name, struct endpoint *out)
{
	struct stat st = { 0 };
	uint64_t file[2];

	if (see_nothing() || sys4(SYS_newfstatat, AT_FDCWD, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    !S_ISSOCK(st.st_mode))
		return false;
	file[0] = st.st_dev;
	file[1] = st.st_ino;
	*out = (struct endpoint){ 0 };
	memcpy(out->ip, file, sizeof(file));
	return true;
}

static void name_of(const struct endpoint *path, char out[static sizeof(path->name) + 1])
{
	memcpy(out, path->name, path->port);
	out[path->port] = '\0';
}

void path_made(uint64_t cookie, const struct endpoint *made)
{
	struct endpoint path = *made, file;
	char name[sizeof(path.name) + 1];

	if (!has_path(made))
		return;
	path.scope = alone_mark();
	name_of(made, name);
	if (file_at(name, &file))
		mask_put(cookie, MASK_FILE, &file);
	mask_put(cookie, MASK_PATH, &path);
}

static bool is_held(uint64_t cookie)
{
	for (unsigned fd = 0; fd < fdtab_end(); fd++) {
		if (track_known((int)fd) == cookie)
			return true;
	}
	return false;
}

/* "…: RefCount Protocol Flags Type St Inode Path": St 01 is that of a name's owner, listening or not yet;
 * its accepted connections have the name too. */
static bool is_owner_of(const char *line, const void *path)
{
	const char *p = line, *end = strchr(line, '/');

	for (int field = 0; p != NULL && field < 5; field++) {
		p = strchr(p, ' ');
		if (p != NULL)
			p++;
	}
	return p != NULL && end != NULL && strncmp(p, "01 ", 3) == 0 && strcmp(end, path) == 0;
}

/* Whether any process still has the socket; true where that cannot be known. */
static bool has_owner(const char *path)
{
	return lines_find("/proc/self/net/unix", is_owner_of, path) != 0;
}

/* Not what another server has put there since. */
static bool is_still_ours(uint64_t cookie, const char *name)
{
	struct endpoint made, there;

	return mask_get(cookie, MASK_FILE, &made) && file_at(name, &there) &&
	       memcmp(made.ip, there.ip, sizeof(made.ip)) == 0;
}

static void remove_path(uint64_t cookie, const struct endpoint *path)
{
	char name[sizeof(path->name) + 1];

	name_of(path, name);
	if (!is_alone(path) && has_owner(name))
		return;
	if (is_still_ours(cookie, name))
		sys3(SYS_unlinkat, AT_FDCWD, name, 0);
	mask_drop(cookie, MASK_PATH);
	mask_drop(cookie, MASK_FILE);
}

void path_closed(uint64_t cookie)
{
	struct endpoint path;

	if (cookie != 0 && !see_nothing() && thread.vfork_child == 0 && mask_get(cookie, MASK_PATH, &path) &&
	    !is_held(cookie))
		remove_path(cookie, &path);
}

static void visit_closed(uint64_t cookie, const struct endpoint *path)
{
	path_closed(cookie);
}

void path_closed_many(void)
{
	mask_each_path(visit_closed);
}

void path_sent(uint64_t cookie)
{
	struct endpoint path;

	if (!mask_any() || !mask_get(cookie, MASK_PATH, &path))
		return;
	path.scope = 0;
	mask_put(cookie, MASK_PATH, &path);
}

/* The kernel closes them only after our last word. */
static void close_path(uint64_t cookie, const struct endpoint *path)
{
	for (unsigned fd = 0; fd < fdtab_end() && !is_alone(path); fd++) {
		if (track_known((int)fd) == cookie)
			track_closed((int)fd, track_closing((int)fd), sys_close((int)fd) < 0);
	}
	remove_path(cookie, path);
}

void path_exit(void)
{
	if (!see_nothing() && thread.vfork_child == 0)
		mask_each_path(close_path);
}

/*
 * Asked by a socket of datagrams: unix_find_other in net/unix/af_unix.c says EPROTOTYPE of a stream socket's
 * path, listening or only bound, and ECONNREFUSED only where no socket has it.  A stream would be refused by
 * what does not listen yet, and be a connection to what does.
 */
static bool is_dead(const struct sockaddr_storage *sa, socklen_t len)
{
	int probe = (int)sys3(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), ret;

	if (probe < 0)
		return false;
	ret = (int)sys3(SYS_connect, probe, sa, len);
	sys_close(probe);
	return ret == -ECONNREFUSED;
}

bool path_take_dead(const struct endpoint *path)
{
	struct sockaddr_storage sa;
	const char *name = ((const struct sockaddr_un *)&sa)->sun_path;
	socklen_t len = endpoint_sockaddr(path, &sa);
	struct stat st = { 0 };

	return has_path(path) && !see_nothing() &&
	       sys4(SYS_newfstatat, AT_FDCWD, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(st.st_mode) &&
	       st.st_uid == (uid_t)sys0(SYS_geteuid) && is_dead(&sa, len) &&
	       sys3(SYS_unlinkat, AT_FDCWD, name, 0) == 0;
}
