/* SPDX-License-Identifier: MIT */
#include "track.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "common/sys.h"
#include "emit.h"

#define STOCK_FDS_MAX (1u << 20)
#define POLL_FDS 64u

/* Entries to read and to write; none for a vfork child, whose table is its parent's. */
static struct fd_entry *entry_of(int fd)
{
	return thread.vfork_child != 0 ? NULL : fdtab_find(fd);
}

static struct fd_entry *entry_for(int fd)
{
	return thread.vfork_child != 0
		       ? NULL
		       : fdtab_entry(fd, !atomic_load_explicit(&self.quiet, memory_order_relaxed));
}

/* Raises the generation and says MAYBE; returns the word before, and the new one in *marked. */
static uint64_t mark(struct fd_entry *e, uint64_t *marked)
{
	uint64_t before = fd_word(e);

	do {
		*marked = fd_word_next(before, FD_MAYBE);
	} while (!atomic_compare_exchange_weak(&e->word, &before, *marked));
	return before;
}

/* Fails, rightly, if the word is no longer `from`: whoever changed it knows better. */
static bool publish(struct fd_entry *e, uint64_t from, uint64_t low, uint64_t cookie, uint64_t inode)
{
	uint64_t word = fd_word_next(from, low);

	atomic_store_explicit(&e->cookie, cookie, memory_order_relaxed);
	atomic_store_explicit(&e->inode, inode, memory_order_relaxed);
	atomic_store_explicit(&e->check, fd_check(word, cookie, inode), memory_order_relaxed);
	if (low & FD_RING)
		atomic_store_explicit(&e->ring_of, process_id(), memory_order_relaxed);
	return atomic_compare_exchange_strong(&e->word, &from, word);
}

/* The identity that belongs to a word with FD_SOCKET or FD_ACCEPTED. */
static bool identity_at(const struct fd_entry *e, uint64_t word, uint64_t *cookie, uint64_t *inode)
{
	*cookie = atomic_load_explicit(&e->cookie, memory_order_relaxed);
	*inode = atomic_load_explicit(&e->inode, memory_order_relaxed);
	return atomic_load_explicit(&e->check, memory_order_relaxed) == fd_check(word, *cookie, *inode) &&
	       fd_word(e) == word;
}

/* What the kernel says of a descriptor. */
enum seen { SEEN_NO_SOCKET, SEEN_SOCKET, SEEN_NOTHING };

static int get_option(int fd, int name, void *value, socklen_t len)
{
	return (int)sys5(SYS_getsockopt, fd, SOL_SOCKET, name, value, &len);
}

static int int_option(int fd, int name)
{
	int value = 0;

	return get_option(fd, name, &value, sizeof(value)) < 0 ? 0 : value;
}

static uint64_t inode_of(int fd)
{
	struct stat st;

	return sys2(SYS_fstat, fd, &st) < 0 ? 0 : st.st_ino;
}

/* socket(7): SO_COOKIE names a socket for as long as the machine runs. */
static enum seen see_cookie(int fd, uint64_t *cookie)
{
	if (atomic_load_explicit(&self.quiet, memory_order_relaxed))
		return SEEN_NOTHING;
	return get_option(fd, SO_COOKIE, cookie, sizeof(*cookie)) < 0 ? SEEN_NO_SOCKET : SEEN_SOCKET;
}

/*
 * What is asked in turn is of one socket only if fd was not replaced meanwhile: the cookie tells.  It
 * need not be asked again where nobody can have done that.
 */
static bool same_still(int fd, uint64_t cookie, uint64_t closers)
{
	uint64_t again;

	if (IN_FLIGHT(closers) == 0 && track_read(&self.closers) == closers)
		return true;
	return see_cookie(fd, &again) == SEEN_SOCKET && again == cookie;
}

static enum seen see(int fd, struct identity *out)
{
	uint64_t closers;
	enum seen seen;

	/* Bounded: whoever replaces it each time looks after us. */
	for (int tries = 0; tries < 8; tries++) {
		closers = track_read(&self.closers);
		seen = see_cookie(fd, &out->cookie);
		if (seen != SEEN_SOCKET)
			return seen;
		out->inode = inode_of(fd);
		out->family = (uint16_t)int_option(fd, SO_DOMAIN);
		out->type = (uint16_t)int_option(fd, SO_TYPE);
		out->protocol = (uint16_t)int_option(fd, SO_PROTOCOL);
		out->listening = int_option(fd, SO_ACCEPTCONN) != 0;
		if (same_still(fd, out->cookie, closers))
			return SEEN_SOCKET;
	}
	out->inode = 0;
	return SEEN_SOCKET;
}

static uint64_t low_word(const struct identity *id)
{
	return FD_SOCKET | FD_KIND(id->family, id->type, id->protocol) | (id->listening ? FD_LISTEN : 0);
}

static bool is_name(const struct sockaddr_storage *addr, socklen_t len)
{
	switch (addr->ss_family) {
	case AF_INET:
	case AF_INET6:
		/* The port is at the same place in both. */
		return ((const struct sockaddr_in *)addr)->sin_port != 0;
	default:
		return len > sizeof(addr->ss_family);
	}
}

/* The names that no record of a call tells: of a socket that was there before, was received, … */
static bool tell_name(int fd, uint64_t cookie, enum ps_kind which)
{
	struct sockaddr_storage addr = { 0 };
	socklen_t len = sizeof(addr);
	long nr = which == PS_LOCAL ? SYS_getsockname : SYS_getpeername;

	if (sys3(nr, fd, &addr, &len) < 0)
		return false;
	if (which == PS_LOCAL && !is_name(&addr, len))
		return false;
	emit_name(which, fd, cookie, (struct sockaddr *)&addr, len);
	return true;
}

static void set_flag(int fd, uint64_t flag)
{
	struct fd_entry *e = entry_of(fd);

	/* The generation stays: what fd is has not changed. */
	if (e != NULL && FD_STATE(fd_word(e)) == FD_SOCKET)
		atomic_fetch_or_explicit(&e->word, flag, memory_order_acq_rel);
}

static void tell_names(int fd, uint64_t cookie)
{
	if (tell_name(fd, cookie, PS_LOCAL))
		set_flag(fd, FD_BOUND);
	tell_name(fd, cookie, PS_PEER);
}

/* The cookie of a word that knows it, or 0. */
static uint64_t cookie_at(const struct fd_entry *e, uint64_t word)
{
	uint64_t cookie, inode;

	return e != NULL && FD_STATE(word) == FD_SOCKET && identity_at(e, word, &cookie, &inode) ? cookie : 0;
}

uint64_t track_look(int fd, uint32_t flags)
{
	struct identity id = { 0 };
	uint64_t stamp = log_stamp(), before = 0, marked = 0, known = 0;
	struct fd_entry *e = entry_for(fd);
	bool alone = false;
	enum seen seen;

	if (e != NULL) {
		known = cookie_at(e, fd_word(e));
		before = mark(e, &marked);
	}
	seen = see(fd, &id);
	if (seen == SEEN_SOCKET) {
		emit_set(stamp, fd, &id, flags);
		if (e != NULL)
			publish(e, marked, low_word(&id) | (known == id.cookie ? before & FD_BOUND : 0),
				id.cookie, id.inode);
		if (known != id.cookie || !(before & FD_BOUND))
			tell_names(fd, id.cookie);
		return id.cookie;
	}
	if (seen == SEEN_NO_SOCKET && e != NULL)
		alone = publish(e, marked, FD_NONE, 0, 0);
	/* Where the log says "no socket" already and nobody else was at it, that need not be said again. */
	if (!(alone && FD_STATE(before) == FD_NONE) &&
	    (seen == SEEN_NO_SOCKET || FD_STATE(before) != FD_MAYBE))
		emit_set(stamp, fd, NULL, seen == SEEN_NOTHING ? flags | PS_F_UNKNOWN : flags);
	return 0;
}

uint64_t track_known(int fd)
{
	struct fd_entry *e = entry_of(fd);
	uint64_t cookie = 0;

	if (thread.vfork_child != 0)
		return see_cookie(fd, &cookie) == SEEN_SOCKET ? cookie : 0;
	return cookie_at(e, fd_word(e));
}

bool track_in_ring(const struct fd_entry *e)
{
	return e != NULL && thread.vfork_child == 0 && (fd_word(e) & FD_RING) &&
	       atomic_load_explicit(&e->ring_of, memory_order_relaxed) == process_id();
}

/* An accepted connection is about to be known beyond this fd: its record is said again, for good. */
static void escape(int fd, struct fd_entry *e, uint64_t word)
{
	uint64_t listener, stamp;

	if (track_in_ring(e) && identity_at(e, word, &listener, &stamp))
		emit_accept(log_stamp(), fd, listener, NULL, 0, 0, false, PS_F_SAME);
}

uint64_t track_cookie(int fd)
{
	struct fd_entry *e = entry_of(fd);
	uint64_t word = fd_word(e), cookie = track_known(fd);

	/* Told for its own sake too: what a vfork child has without a name is its parent's connection. */
	if (thread.vfork_child != 0)
		return cookie != 0 ? track_look(fd, PS_F_SAME) : 0;
	if (cookie != 0)
		return cookie;
	if (FD_STATE(word) == FD_ACCEPTED)
		escape(fd, e, word);
	/* There is nothing to be had, and what the log knows of it is not to be made unknown. */
	if (atomic_load_explicit(&self.quiet, memory_order_relaxed))
		return 0;
	return track_look(fd, FD_STATE(word) == FD_ACCEPTED ? PS_F_SAME : 0);
}

void track_promote(int fd)
{
	struct fd_entry *e = entry_of(fd);
	uint64_t word = fd_word(e);
	struct identity id = { .family = FD_FAMILY(word),
			       .type = FD_TYPE(word),
			       .protocol = FD_PROTOCOL(word) };

	if (!track_in_ring(e) || FD_STATE(word) != FD_SOCKET || !identity_at(e, word, &id.cookie, &id.inode))
		return;
	atomic_fetch_and_explicit(&e->word, ~(uint64_t)FD_RING, memory_order_acq_rel);
	emit_socket(log_stamp(), fd, &id, false, false,
		    id.cookie == 0 ? PS_F_SAME | PS_F_UNKNOWN : PS_F_SAME);
}

static bool undisturbed(uint64_t closers_before, unsigned own_closers)
{
	return IN_FLIGHT(closers_before) == 0 && track_read(&self.closers) == closers_before + own_closers;
}

void track_created(int fd, int family, int type, int protocol, bool pair, uint64_t closers)
{
	struct identity id = { .family = (uint16_t)family,
			       .type = type & 0xf,
			       .protocol = (uint16_t)protocol };
	uint64_t stamp = log_stamp(), marked = 0;
	struct fd_entry *e = entry_for(fd);
	bool ring;

	if (e != NULL)
		mark(e, &marked);
	switch (see_cookie(fd, &id.cookie)) {
	case SEEN_SOCKET:
		id.inode = inode_of(fd);
		if (!undisturbed(closers, 0) &&
		    (int_option(fd, SO_DOMAIN) != family || int_option(fd, SO_TYPE) != id.type ||
		     !same_still(fd, id.cookie, closers))) {
			track_look(fd, 0);
			return;
		}
		ring = emit_socket(stamp, fd, &id, pair, thread.vfork_child == 0,
				   type & SOCK_CLOEXEC ? PS_F_CLOEXEC : 0);
		if (e != NULL)
			publish(e, marked, low_word(&id) | (ring ? FD_RING : 0), id.cookie, id.inode);
		break;
	case SEEN_NO_SOCKET: /* another thread has closed it already */
		track_look(fd, 0);
		break;
	case SEEN_NOTHING:
		/* Only a table's entry remembers that it is the ring that has to be told of its end. */
		ring = emit_socket(stamp, fd, &id, pair, e != NULL, PS_F_UNKNOWN);
		if (ring)
			publish(e, marked, low_word(&id) | FD_RING, 0, 0);
		break;
	}
}

void track_accepted(int fd, int listener, const struct sockaddr *addr, socklen_t len, bool cloexec,
		    uint64_t closers_before)
{
	struct fd_entry *le = entry_of(listener), *e = entry_for(fd);
	uint64_t cookie = track_cookie(listener), stamp = log_stamp(), marked, kind;
	bool ring;

	if (e != NULL)
		mark(e, &marked);
	ring = emit_accept(stamp, fd, cookie, addr, len, 0, e != NULL, cloexec ? PS_F_CLOEXEC : 0);
	if (e != NULL) {
		kind = le == NULL ? 0 : fd_word(le) & FD_KIND(~0, ~0, ~0);
		publish(e, marked, FD_ACCEPTED | kind | (ring ? FD_RING : 0), cookie, stamp);
	}
	if (e == NULL || !undisturbed(closers_before, 0))
		track_look(fd, PS_F_SAME);
	emit_count(listener, le, cookie, true);
}

static bool chosen_by_kernel(const struct sockaddr *addr, socklen_t len)
{
	switch (addr->sa_family) {
	case AF_INET:
	case AF_INET6:
		return ((const struct sockaddr_in *)(const void *)addr)->sin_port == 0;
	default:
		/* unix(7), "Autobind"; other families may fill in whatever they like. */
		return addr->sa_family != AF_UNIX || len <= offsetof(struct sockaddr_un, sun_path);
	}
}

void track_bound(int fd, const struct sockaddr *addr, socklen_t len)
{
	uint64_t cookie = track_cookie(fd);

	track_promote(fd);
	emit_bind(fd, cookie, addr, len, 0);
	if ((addr == NULL || chosen_by_kernel(addr, len)) &&
	    !atomic_load_explicit(&self.quiet, memory_order_relaxed))
		tell_name(fd, cookie, PS_LOCAL);
	set_flag(fd, FD_BOUND);
}

void track_listening(int fd)
{
	struct fd_entry *e = entry_of(fd);

	/* Never bound: the kernel has just chosen a port. */
	if (!(fd_word(e) & FD_BOUND) && !atomic_load_explicit(&self.quiet, memory_order_relaxed))
		tell_name(fd, track_cookie(fd), PS_LOCAL);
	set_flag(fd, FD_BOUND | FD_LISTEN);
}

static bool copy_entry(int old, int new, uint64_t stamp, bool cloexec, uint64_t closers_before,
		       unsigned own_closers)
{
	struct fd_entry *from = entry_of(old), *to = entry_for(new);
	uint64_t word = fd_word(from), marked, cookie, inode;

	if (from == NULL || to == NULL || FD_STATE(word) != FD_SOCKET)
		return false;
	mark(to, &marked);
	if (!identity_at(from, word, &cookie, &inode) || !undisturbed(closers_before, own_closers))
		return false;
	emit_dup(stamp, new, old, cookie, cloexec ? PS_F_CLOEXEC : 0);
	publish(to, marked, word & UINT32_MAX & ~(uint64_t)FD_RING, cookie, inode);
	return true;
}

void track_dupped(int old, uint64_t old_word, int new, bool cloexec, uint64_t closers_before,
		  unsigned own_closers)
{
	if (thread.vfork_child != 0) {
		track_cookie(old);
		track_look(new, 0);
		return;
	}
	if (FD_STATE(old_word) == FD_NONE) {
		/* Another call may have put a socket there and not have said so yet: one in flight, be it
		 * of another thread or of the code that this signal handler has interrupted. */
		if (IN_FLIGHT(track_read(&self.changes)) > 1 - own_closers ||
		    fd_word(entry_of(old)) != old_word || !undisturbed(closers_before, own_closers) ||
		    FD_STATE(fd_word(entry_of(new))) != FD_NONE)
			track_look(new, 0);
		return;
	}
	if (FD_STATE(old_word) == FD_ACCEPTED)
		track_cookie(old);
	track_promote(old);
	if (!copy_entry(old, new, log_stamp(), cloexec, closers_before, own_closers))
		track_look(new, 0);
}

uint64_t track_closing(int fd)
{
	struct fd_entry *e = entry_of(fd);
	uint64_t word = fd_word(e), cookie;

	if (thread.vfork_child != 0) {
		if (see_cookie(fd, &cookie) == SEEN_SOCKET)
			emit_close(log_stamp(), fd, cookie, false, 0);
		return 0;
	}
	if (FD_STATE(word) == FD_NONE)
		return word;
	cookie = cookie_at(e, word);
	emit_close(log_stamp(), fd, cookie, track_in_ring(e), 0);
	return word;
}

void track_closed(int fd, uint64_t word, bool failed)
{
	struct fd_entry *e = entry_of(fd);

	if (e == NULL)
		return;
	if (FD_STATE(word) == FD_NONE
		    ? fd_word(e) != word
		    : failed || !atomic_compare_exchange_strong(&e->word, &(uint64_t){ word },
								fd_word_next(word, FD_NONE)))
		track_look(fd, 0);
}

/* False: single-threaded, and nothing there. */
bool track_closing_range(unsigned first, unsigned last)
{
	unsigned end = fdtab_end();

	if (thread.vfork_child != 0) {
		emit_close_range(log_stamp(), first, last);
		return false;
	}
	for (unsigned fd = first; fd < end && fd <= last; fd++) {
		if (FD_STATE(fd_word(fdtab_find((int)fd))) != FD_NONE) {
			emit_close_range(log_stamp(), first, last);
			return true;
		}
	}
	/* What another thread puts there before the call itself is closed unrecorded: look afterwards. */
	return !track_single_threaded();
}

void track_closed_range(unsigned first, unsigned last, bool failed)
{
	unsigned end = fdtab_end();
	bool look = failed || !track_single_threaded();

	for (unsigned fd = first; fd < end && fd <= last; fd++) {
		struct fd_entry *e = fdtab_find((int)fd);
		uint64_t word = fd_word(e);

		if (FD_STATE(word) == FD_NONE)
			continue;
		if (look || !atomic_compare_exchange_strong(&e->word, &(uint64_t){ word },
							    fd_word_next(word, FD_NONE)))
			track_look((int)fd, 0);
	}
}

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

/*
 * The table's entry of an fd as the kernel has it; true if that is a socket.  Other threads may be at
 * it: as in track_look(), the word is marked before the kernel is asked.  exact: the table was right
 * so far, though the log is not.
 */
static bool take_one(unsigned fd, bool is_open, bool exact)
{
	struct identity id = { 0 };
	struct fd_entry *e = fdtab_entry((int)fd, is_open);
	uint64_t word = fd_word(e), listener, accepted = 0, marked;

	if (e == NULL || (!is_open && FD_STATE(word) == FD_NONE))
		return false;
	if (!exact || FD_STATE(word) != FD_ACCEPTED || !identity_at(e, word, &listener, &accepted))
		accepted = 0;
	mark(e, &marked);
	if (see((int)fd, &id) != SEEN_SOCKET) {
		publish(e, marked, FD_NONE, 0, 0);
		return false;
	}
	atomic_store_explicit(&e->accepted, accepted, memory_order_relaxed);
	publish(e, marked, low_word(&id), id.cookie, id.inode);
	return true;
}

/* poll(2) names what is closed, many at a time, and adds no waiter where it need not wait.  It takes
 * a descriptor made by O_PATH for closed. */
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

/*
 * Writes the table anew; returns how many sockets there are.  Stops when all open descriptors were
 * seen; those that poll does not see are no sockets, but where they keep the count from being reached
 * every number up to the limit has been asked for.
 */
static unsigned take_stock(bool exact)
{
	unsigned open = open_fds(), limit = fd_limit(), sockets = 0, seen = 0, fd = 0;

	while (fd < limit && (open == 0 || seen < open)) {
		bool is[POLL_FDS];

		find_open(fd, is);
		for (unsigned i = 0; i < POLL_FDS; i++, fd++) {
			sockets += take_one(fd, is[i], exact);
			seen += is[i];
		}
	}
	for (; fd < fdtab_end(); fd++)
		take_one(fd, false, exact);
	return sockets;
}

int track_find_unknown(void)
{
	unsigned open = open_fds(), limit = fd_limit(), seen = 0;

	if (thread.vfork_child != 0 || atomic_load(&self.quiet))
		return -1;
	for (unsigned from = 0; from < limit && (open == 0 || seen < open); from += POLL_FDS) {
		bool is[POLL_FDS];

		find_open(from, is);
		for (unsigned fd = from; fd < from + POLL_FDS; fd++) {
			uint64_t cookie;

			seen += is[fd - from];
			if (is[fd - from] && FD_STATE(fd_word(fdtab_find((int)fd))) == FD_NONE &&
			    see_cookie((int)fd, &cookie) == SEEN_SOCKET && track_look((int)fd, 0) != 0)
				return (int)fd;
		}
	}
	return -1;
}

void track_standard_replaced(void)
{
	for (int fd = 0; fd <= 2; fd++) {
		if (FD_STATE(fd_word(entry_of(fd))) != FD_NONE)
			track_look(fd, 0);
	}
}

/* Telling it may itself lose records and find room again: once is enough. */
static _Atomic bool stock_under_way;

void track_forked(void)
{
	/* Another thread of the parent's may have been at it. */
	atomic_store(&stock_under_way, false);
}

void track_libc_closed(void)
{
	if (thread.vfork_child == 0 && !track_single_threaded())
		track_closed_range(0, UINT_MAX, true);
}

void track_escape_all(void)
{
	for (unsigned fd = 0; fd < fdtab_end(); fd++) {
		if (FD_STATE(fd_word(entry_of((int)fd))) == FD_ACCEPTED)
			track_cookie((int)fd);
	}
}

void track_stock(uint32_t why, bool exact)
{
	uint64_t stamp = log_stamp();

	if (thread.vfork_child != 0 || atomic_load(&self.quiet) || atomic_exchange(&stock_under_way, true))
		return;
	emit_stock(stamp, why, take_stock(exact));
	for (unsigned fd = 0; fd < fdtab_end(); fd++) {
		struct fd_entry *e = fdtab_find((int)fd);
		uint64_t word = fd_word(e);
		struct identity id = { .family = FD_FAMILY(word),
				       .type = FD_TYPE(word),
				       .protocol = FD_PROTOCOL(word),
				       .listening = (word & FD_LISTEN) != 0 };

		if (FD_STATE(word) != FD_SOCKET || !identity_at(e, word, &id.cookie, &id.inode))
			continue;
		id.accepted = atomic_load_explicit(&e->accepted, memory_order_relaxed);
		emit_set(stamp, (int)fd, &id, PS_F_STOCK);
		tell_names((int)fd, id.cookie);
	}
	atomic_store(&stock_under_way, false);
}
