/* SPDX-License-Identifier: MIT */
/* Taking stock: the whole table as the kernel has it, at the start of an image and after a doubt. */

#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "common/sys.h"
#include "mask.h"
#include "see.h"
#include "track_private.h"

#define STOCK_FDS_MAX (1u << 20)
#define POLL_FDS 64u
#define PATHS_AFTER 1024u

/*
 * How many descriptors are open: st_size of /proc/self/fd since Linux 6.2, found without a
 * descriptor and so at EMFILE too.  0 if that is not to be had.
 */
static unsigned open_fds(void)
{
	struct stat st;

	return sys4(SYS_newfstatat, AT_FDCWD, "/proc/self/fd", &st, 0) < 0 ? 0 : (unsigned)st.st_size;
}

/* No descriptor is above the hard limit, unless that was lowered later. */
static unsigned fd_limit(void)
{
	struct rlimit lim;

	if (sys4(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &lim) < 0 || lim.rlim_max > STOCK_FDS_MAX)
		return STOCK_FDS_MAX;
	return (unsigned)lim.rlim_max;
}

/* poll(2) names what is closed, many at a time, and adds no waiter where it need not wait. */
static void find_open(unsigned from, bool open[static POLL_FDS])
{
	struct pollfd fds[POLL_FDS];
	struct timespec at_once = { 0 };

	for (unsigned i = 0; i < POLL_FDS; i++)
		fds[i] = (struct pollfd){ .fd = (int)(from + i) };
	if (sys5(SYS_ppoll, fds, POLL_FDS, &at_once, NULL, 0) < 0)
		memset(fds, 0, sizeof(fds));
	for (unsigned i = 0; i < POLL_FDS; i++)
		open[i] = !(fds[i].revents & POLLNVAL);
}

/* What was made by O_PATH poll takes for closed, and the count of the open would never be reached. */
static unsigned count_paths(unsigned end, unsigned missing)
{
	unsigned found = 0;

	for (unsigned fd = 0; fd < end && found < missing; fd++) {
		long flags = sys3(SYS_fcntl, fd, F_GETFL, 0);

		found += flags >= 0 && (flags & O_PATH);
	}
	return found;
}

/* All descriptors, POLL_FDS at a time, up to the highest that is open. */
struct scan {
	unsigned open, limit; /* limit 0: not asked for yet */
	unsigned seen, next;
	bool is[POLL_FDS]; /* of the numbers from `from` on */
	unsigned from;
};

static bool scan_next(struct scan *s)
{
	if (s->next == PATHS_AFTER && s->open != 0 && s->seen < s->open)
		s->seen += count_paths(s->next, s->open - s->seen);
	if (s->open != 0 && s->seen >= s->open)
		return false;
	if (s->next == POLL_FDS)
		s->limit = fd_limit();
	if (s->next >= s->limit && s->next > 0)
		return false;
	find_open(s->next, s->is);
	for (unsigned i = 0; i < POLL_FDS; i++)
		s->seen += s->is[i];
	s->from = s->next;
	s->next += POLL_FDS;
	return true;
}

/* What never was a socket is not to be touched: a page of the table for nothing.  Who makes it one now
 * will say so. */
static bool is_nothing(unsigned fd, bool is_open)
{
	uint64_t cookie;

	return fd >= fdtab_end() && !(is_open && see_cookie((int)fd, &cookie) == SEEN_SOCKET);
}

/* A rule kept that number so, and the kernel still does: it is the same socket, or as good as one. */
static bool closes_on_exec(int fd)
{
	long flags = sys3(SYS_fcntl, fd, F_GETFD, 0);

	return flags >= 0 && (flags & FD_CLOEXEC);
}

/*
 * The table's entry of an fd as the kernel has it; true if that is a socket.  Other threads may be at
 * it: as in track_look(), the word is marked before the kernel is asked.  exact: the table was right
 * so far, though the log is not.
 */
static bool take_one(unsigned fd, bool is_open, bool exact)
{
	struct identity id = { 0 };
	struct fd_entry *e;
	uint64_t word, listener = 0, accepted = 0, marked;
	bool closes, is_socket = false;

	if (is_nothing(fd, is_open))
		return false;
	e = fdtab_entry((int)fd, is_open);
	word = fd_word(e);
	if (e == NULL || (!is_open && FD_STATE(word) == FD_NONE))
		return false;
	if (!exact || FD_STATE(word) != FD_ACCEPTED || !identity_at(e, word, &listener, &accepted))
		accepted = 0;
	for (int tries = 0; tries < 8; tries++) {
		mark(e, &marked);
		is_socket = see((int)fd, &id) == SEEN_SOCKET;
		closes = is_socket && (word & FD_CLOSES) && (exact || closes_on_exec((int)fd));
		if (publish(e, marked, is_socket ? low_word(&id) | (closes ? FD_CLOSES : 0) : FD_NONE,
			    id.cookie, accepted) ||
		    !is_doubted(e))
			break;
	}
	if (is_socket && accepted != 0 && mask_any())
		mask_inherit(listener, id.cookie);
	return is_socket;
}

/* Writes the table anew; returns how many sockets there are. */
static unsigned take_stock(bool exact)
{
	struct scan s = { .open = open_fds() };
	unsigned sockets = 0;

	while (scan_next(&s)) {
		for (unsigned i = 0; i < POLL_FDS; i++)
			sockets += take_one(s.from + i, s.is[i], exact);
	}
	for (unsigned fd = s.next; fd < fdtab_end(); fd++)
		take_one(fd, false, exact);
	return sockets;
}

static bool is_unknown_socket(unsigned fd)
{
	uint64_t cookie;

	return FD_STATE(fd_word(fdtab_find((int)fd))) == FD_NONE &&
	       see_cookie((int)fd, &cookie) == SEEN_SOCKET && track_look((int)fd, 0) != 0;
}

int track_find_unknown(void)
{
	struct scan s = { .open = open_fds() };

	if (thread.vfork_child != 0 || atomic_load(&self.quiet))
		return -1;
	while (scan_next(&s)) {
		for (unsigned i = 0; i < POLL_FDS; i++) {
			if (s.is[i] && is_unknown_socket(s.from + i))
				return (int)(s.from + i);
		}
	}
	return -1;
}

void track_stock(uint32_t why, bool exact)
{
	uint64_t stamp = log_stamp();

	/* Telling it may itself lose records and find room again: once is enough. */
	if (thread.vfork_child != 0 || atomic_load(&self.quiet) ||
	    atomic_exchange(&unshared.taking_stock, true))
		return;
	track_begin(&self.changes);
	emit_stock(stamp, why, take_stock(exact));
	for (unsigned fd = 0; fd < fdtab_end(); fd++) {
		struct fd_entry *e = fdtab_find((int)fd);
		uint64_t word = fd_word(e);
		struct identity id = { .family = FD_FAMILY(word),
				       .type = FD_TYPE(word),
				       .protocol = FD_PROTOCOL(word),
				       .listening = (word & FD_LISTEN) != 0 };

		if (FD_STATE(word) != FD_SOCKET || !identity_at(e, word, &id.cookie, &id.accepted))
			continue;
		emit_set(stamp, (int)fd, &id, PS_F_STOCK);
		track_tell_names((int)fd, id.cookie);
	}
	track_end(&self.changes);
	atomic_store(&unshared.taking_stock, false);
}
