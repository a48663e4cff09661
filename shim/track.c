/* SPDX-License-Identifier: MIT */
#include "track.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "common/sys.h"
#include "mask.h"
#include "see.h"
#include "track_private.h"

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
	emit_name(which, fd, cookie, (struct sockaddr *)&addr, len, false);
	return true;
}

static void set_flag(int fd, uint64_t flag)
{
	struct fd_entry *e = entry_of(fd);

	/* The generation stays: what fd is has not changed. */
	if (e != NULL && FD_STATE(fd_word(e)) == FD_SOCKET)
		atomic_fetch_or_explicit(&e->word, flag, memory_order_acq_rel);
}

void track_tell_names(int fd, uint64_t cookie)
{
	if (tell_name(fd, cookie, PS_LOCAL))
		set_flag(fd, FD_BOUND);
	tell_name(fd, cookie, PS_PEER);
}

/* The cookie of a word that knows it, or 0. */
static uint64_t cookie_at(const struct fd_entry *e, uint64_t word)
{
	uint64_t cookie, accepted;

	return e != NULL && FD_STATE(word) == FD_SOCKET && identity_at(e, word, &cookie, &accepted) ? cookie
												    : 0;
}

/* What its listener's names were is its own now. */
static void inherit_masks(uint64_t word, uint64_t listener, uint64_t cookie)
{
	if (FD_STATE(word) == FD_ACCEPTED && mask_any())
		mask_inherit(listener, cookie);
}

struct counted track_counted(void)
{
	/* In this order: what ends between the two is seen by a forked child as a change. */
	uint64_t closers = track_read(&self.closers);

	return (struct counted){ closers, track_read(&self.changes) };
}

bool track_calm(const struct counted *since, unsigned own_closers)
{
	return IN_FLIGHT(since->closers) == own_closers && IN_FLIGHT(since->changes) == 0 &&
	       track_read(&self.closers) == since->closers && track_read(&self.changes) == since->changes;
}

static uint64_t look(int fd, uint32_t flags, bool *doubted)
{
	struct identity id = { 0 };
	uint64_t stamp = log_stamp(), before = 0, marked = 0, known = 0, listener = 0, accepted;
	struct fd_entry *e = entry_for(fd);
	bool alone = false, same;
	enum seen seen;

	if (e != NULL) {
		known = cookie_at(e, fd_word(e));
		identity_at(e, fd_word(e), &listener, &accepted);
		before = mark(e, &marked);
	}
	seen = see(fd, &id);
	if (seen == SEEN_SOCKET) {
		inherit_masks(before, listener, id.cookie);
		emit_set(stamp, fd, &id, flags);
		/* What a rule keeps close-on-exec stays so when a connection gets to be known by a cookie. */
		same = known == id.cookie || (FD_STATE(before) == FD_ACCEPTED && (flags & PS_F_SAME));
		*doubted = e != NULL &&
			   !publish(e, marked, low_word(&id) | (same ? before & (FD_BOUND | FD_CLOSES) : 0),
				    id.cookie, 0) &&
			   is_doubted(e);
		if (known != id.cookie || !(before & FD_BOUND))
			track_tell_names(fd, id.cookie);
		return id.cookie;
	}
	if (seen == SEEN_NO_SOCKET && e != NULL) {
		alone = publish(e, marked, FD_NONE, 0, 0);
		*doubted = !alone && is_doubted(e);
	}
	/* Where the log says "no socket" already and nobody else was at it, that need not be said again. */
	if (!(alone && FD_STATE(before) == FD_NONE) &&
	    (seen == SEEN_NO_SOCKET || FD_STATE(before) != FD_MAYBE))
		emit_set(stamp, fd, NULL, seen == SEEN_NOTHING ? flags | PS_F_UNKNOWN : flags);
	return 0;
}

uint64_t track_look(int fd, uint32_t flags)
{
	bool doubted = true;
	uint64_t cookie = 0;

	track_begin(&self.changes);
	/* Bounded: two that look may doubt each other. */
	for (int tries = 0; doubted && tries < 8; tries++) {
		doubted = false;
		cookie = look(fd, flags, &doubted);
	}
	track_end(&self.changes);
	return cookie;
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

	if (!track_in_ring(e) || FD_STATE(word) != FD_SOCKET ||
	    !identity_at(e, word, &id.cookie, &id.accepted))
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
		if (!undisturbed(closers, 0) &&
		    (see_option(fd, SO_DOMAIN) != family || see_option(fd, SO_TYPE) != id.type ||
		     !see_still(fd, id.cookie, closers))) {
			track_look(fd, 0);
			return;
		}
		ring = emit_socket(stamp, fd, &id, pair, thread.vfork_child == 0,
				   type & SOCK_CLOEXEC ? PS_F_CLOEXEC : 0);
		if (e != NULL && !publish(e, marked, low_word(&id) | (ring ? FD_RING : 0), id.cookie, 0) &&
		    is_doubted(e))
			track_look(fd, 0);
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
	bool ring, doubted = false;

	if (e != NULL)
		mark(e, &marked);
	ring = emit_accept(stamp, fd, cookie, addr, len, 0, e != NULL, cloexec ? PS_F_CLOEXEC : 0);
	if (e != NULL) {
		kind = le == NULL ? 0 : fd_word(le) & (FD_KIND(~0, ~0, ~0) | FD_CLOSES);
		doubted = !publish(e, marked, FD_ACCEPTED | kind | (ring ? FD_RING : 0), cookie, stamp) &&
			  is_doubted(e);
	}
	if (e == NULL || doubted || !undisturbed(closers_before, 0))
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

void track_bound(int fd, const struct sockaddr *asked, socklen_t len, const struct sockaddr *given,
		 socklen_t given_len)
{
	uint64_t cookie = track_cookie(fd);
	bool told = true;

	track_promote(fd);
	emit_bind(fd, cookie, asked, len, 0);
	if (given == NULL || chosen_by_kernel(given, given_len))
		told = !atomic_load_explicit(&self.quiet, memory_order_relaxed) &&
		       tell_name(fd, cookie, PS_LOCAL);
	else if (given != asked)
		emit_name(PS_LOCAL, fd, cookie, given, given_len, false);
	/* ip(7), IP_BIND_ADDRESS_NO_PORT: the port is chosen later, and is to be told then. */
	if (told)
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

void track_dissolved(int fd)
{
	struct fd_entry *e = entry_of(fd);

	if (fd_word(e) & (FD_BOUND | FD_LISTEN))
		atomic_fetch_and_explicit(&e->word, ~(uint64_t)(FD_BOUND | FD_LISTEN), memory_order_acq_rel);
}

void track_close_on_exec(int fd)
{
	struct fd_entry *e = entry_of(fd);

	sys3(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC);
	if (e != NULL)
		atomic_fetch_or_explicit(&e->word, FD_CLOSES, memory_order_acq_rel);
}

/* A vfork child may have put another file there, of which its parent's table knows nothing. */
bool track_closes_on_exec(int fd)
{
	struct fd_entry *e = fdtab_find(fd);
	uint64_t word = fd_word(e), cookie, known, accepted;

	if (!(word & FD_CLOSES) || thread.vfork_child == 0)
		return word & FD_CLOSES;
	return identity_at(e, word, &known, &accepted) && see_cookie(fd, &cookie) == SEEN_SOCKET &&
	       cookie == known;
}

static bool copy_entry(int old, int new, uint64_t stamp, bool cloexec, uint64_t closers_before,
		       unsigned own_closers)
{
	struct fd_entry *from = entry_of(old), *to = entry_for(new);
	uint64_t word = fd_word(from), marked, cookie, accepted;

	if (from == NULL || to == NULL || FD_STATE(word) != FD_SOCKET)
		return false;
	mark(to, &marked);
	if (!identity_at(from, word, &cookie, &accepted) || !undisturbed(closers_before, own_closers))
		return false;
	emit_dup(stamp, new, old, cookie, cloexec ? PS_F_CLOEXEC : 0);
	return publish(to, marked, word & UINT32_MAX & ~(uint64_t)FD_RING, cookie, 0) || !is_doubted(to);
}

static void dupped(int old, uint64_t old_word, int new, bool cloexec, uint64_t closers_before,
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
		if (fdtab_lacks(new) || IN_FLIGHT(track_read(&self.changes)) > 1 - own_closers ||
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

void track_dupped(int old, uint64_t old_word, int new, bool cloexec, uint64_t closers_before,
		  unsigned own_closers)
{
	bool closes = thread.vfork_child != 0 ? track_closes_on_exec(old) : (old_word & FD_CLOSES) != 0;

	dupped(old, old_word, new, cloexec, closers_before, own_closers);
	/* In whatever way the copy was recorded, in a vfork child too. */
	if (closes)
		track_close_on_exec(new);
}

/* The table knows nothing of it and the log may: its end is recorded where it cannot be ruled out. */
static void closing_unknown(int fd, bool in_table)
{
	uint64_t cookie = 0;
	enum seen seen = see_cookie(fd, &cookie);

	if (seen == SEEN_SOCKET || (seen == SEEN_NOTHING && !in_table))
		emit_close(log_stamp(), fd, cookie, false, 0);
}

uint64_t track_closing(int fd)
{
	struct fd_entry *e = entry_of(fd);
	uint64_t word = fd_word(e), cookie;

	if (thread.vfork_child != 0 || fdtab_lacks(fd)) {
		closing_unknown(fd, thread.vfork_child != 0);
		return 0;
	}
	if (FD_STATE(word) == FD_NONE)
		return word;
	cookie = cookie_at(e, word);
	emit_close(log_stamp(), fd, cookie, track_in_ring(e), 0);
	return word;
}

/*
 * After a close that found its number changed: by one that had opened it before, which was closed, or by one
 * that has it since.  The latter is mostly so, and whoever asks the kernel about another's descriptor holds
 * its file for as long: a close in that moment would not be the end of it (the peer's EPIPE, the port that is
 * free).  So who is just looking at it is made to look again, as itself; what the log has as closed is so;
 * and one question is asked where it will do.
 */
static bool is_settled(int fd, struct fd_entry *e)
{
	uint64_t word = fd_word(e), told, cookie;

	while (FD_STATE(word) == FD_MAYBE) {
		if (atomic_compare_exchange_weak(&e->word, &word, fd_word_next(word, FD_MAYBE)))
			return true;
	}
	if (FD_STATE(word) == FD_NONE)
		return true;
	told = cookie_at(e, word);
	return told != 0 && see_cookie(fd, &cookie) == SEEN_SOCKET && cookie == told;
}

void track_closed(int fd, uint64_t word, bool failed)
{
	struct fd_entry *e = entry_of(fd);

	if (e == NULL)
		return;
	if (FD_STATE(word) == FD_NONE
		    ? fd_word(e) == word
		    : !failed && atomic_compare_exchange_strong(&e->word, &(uint64_t){ word },
								fd_word_next(word, FD_NONE)))
		return;
	if (failed || !is_settled(fd, e))
		track_look(fd, 0);
}

struct counted track_closing_range(unsigned first, unsigned last)
{
	struct counted before = track_counted();
	unsigned end = fdtab_end();

	if (thread.vfork_child != 0 || (last >= FDTAB_FIRST && atomic_load(&fdtab_lacking))) {
		emit_close_range(log_stamp(), first, last);
		return before;
	}
	for (unsigned fd = first; fd < end && fd <= last; fd++) {
		if (FD_STATE(fd_word(fdtab_find((int)fd))) != FD_NONE) {
			emit_close_range(log_stamp(), first, last);
			break;
		}
	}
	return before;
}

/* What came to be there since the table was read may be in no record, or in one that is newer than ours. */
void track_closed_range(unsigned first, unsigned last, bool failed, const struct counted *before)
{
	bool calm = !failed;

	if (thread.vfork_child != 0)
		return;
	for (unsigned fd = first; fd < fdtab_end() && fd <= last; fd++) {
		struct fd_entry *e = fdtab_find((int)fd);
		uint64_t word = fd_word(e);

		if (FD_STATE(word) == FD_NONE)
			continue;
		/* Asked after the word is read: who has written it since has been counted first. */
		calm = calm && track_calm(before, 1);
		if (!calm || !atomic_compare_exchange_strong(&e->word, &(uint64_t){ word },
							     fd_word_next(word, FD_NONE)))
			track_look((int)fd, 0);
	}
}

void track_standard_replaced(void)
{
	for (int fd = 0; fd <= 2; fd++) {
		if (FD_STATE(fd_word(entry_of(fd))) != FD_NONE)
			track_look(fd, 0);
	}
}

void track_libc_closed(const struct counted *before, unsigned own_closers)
{
	if (thread.vfork_child != 0 || track_calm(before, own_closers))
		return;
	for (unsigned fd = 0; fd < fdtab_end(); fd++) {
		if (FD_STATE(fd_word(fdtab_find((int)fd))) != FD_NONE)
			track_look((int)fd, 0);
	}
}

void track_escape_all(void)
{
	for (unsigned fd = 0; fd < fdtab_end(); fd++) {
		if (FD_STATE(fd_word(entry_of((int)fd))) == FD_ACCEPTED)
			track_cookie((int)fd);
	}
}
