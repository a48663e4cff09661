/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_TRACK_H
#define PORTSHIM_TRACK_H

/*
 * What a call did to a descriptor, told to the table and to the log so that both are exact whatever
 * other threads, signal handlers and forks do meanwhile.  The rules:
 *
 * - Looking: stamp, mark the word, then read the fd's identity from the kernel, then record it.  Every
 *   change precedes its own stamp and the reader reads after its stamp, so the record of the largest
 *   stamp on an fd is right, whoever wrote it.
 * - A release (close) is recorded before the call: once it has happened the number may be another's.
 *   If the word changed meanwhile, or the call failed, look.
 * - dup and accept need not look if, seen after their stamp, no closer was in flight or has ended.
 * - self.closers and self.changes count every call that can change a descriptor, every look and every
 *   stock.  A forked child in whose copy something was in flight, or has ended since FORK was stamped,
 *   takes stock; a call that closes many looks at them where that was so since it was recorded.
 *
 * Thread-safe, async-signal-safe, errno untouched.  Called while attached.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "fdtab.h"
#include "process.h"

#define ONE_IN_FLIGHT 1u
#define ONE_ENDED ((uint64_t)1 << 32)
#define IN_FLIGHT(counter) ((uint32_t)(counter))

/* glibc's own word on whether there are other threads; other libcs have none. */
extern char __libc_single_threaded __attribute__((weak));

static inline bool track_single_threaded(void)
{
	return &__libc_single_threaded != NULL && __libc_single_threaded;
}

static inline void track_count(_Atomic uint64_t *counter, uint64_t by)
{
#if defined(__x86_64__)
	/* One instruction, so that a signal handler cannot come between; without the lock prefix it is
	 * a third of the price. */
	if (track_single_threaded()) {
		__asm__ volatile("addq %1, %0" : "+m"(*counter) : "er"(by) : "cc", "memory");
		return;
	}
#endif
	atomic_fetch_add_explicit(counter, by, memory_order_acq_rel);
}

static inline uint32_t *track_own(const _Atomic uint64_t *counter)
{
	return counter == &self.closers ? &thread.closers : &thread.changes;
}

/* A handler may fork between any two of these lines, and its child go on here: that must leave its counter
 * too high rather than too low. */
static inline void track_begin(_Atomic uint64_t *counter)
{
	if (thread.vfork_child != 0)
		return;
	++*track_own(counter);
	atomic_signal_fence(memory_order_seq_cst);
	track_count(counter, ONE_IN_FLIGHT);
}

/* A call that never comes back (cancelled, or left by longjmp) leaves its counter raised: from then
 * on children take stock and dup looks, which is slower and just as right. */
static inline void track_end(_Atomic uint64_t *counter)
{
	if (thread.vfork_child != 0)
		return;
	track_count(counter, ONE_ENDED - ONE_IN_FLIGHT);
	atomic_signal_fence(memory_order_seq_cst);
	--*track_own(counter);
}

static inline uint64_t track_read(_Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_acquire);
}

struct counted track_counted(void);

/* Whether nobody was at any descriptor then, nor has been since: no other thread, no signal handler, no code
 * that this handler has interrupted.  own_closers: as of track_dupped(). */
bool track_calm(const struct counted *since, unsigned own_closers);

/* Whether the records of what fd is may go to the ring: a plain connection of this very process. */
bool track_in_ring(const struct fd_entry *e);

/* Looks at fd.  flags go with the record (PS_F_RECEIVED …).  Returns its cookie, 0 if no socket. */
uint64_t track_look(int fd, uint32_t flags);

/* The cookie of fd for a record about it; looks where the table does not know it (an accepted
 * connection that escapes, a socket that came by an unseen road).  0: no socket, or not to be known. */
uint64_t track_cookie(int fd);

/* As track_cookie(), but at no price: 0 where the table does not know it. */
uint64_t track_known(int fd);

/* The socket becomes one that decides holders: what the ring said of it is said again, for good. */
void track_promote(int fd);

/* closers: as of before the call. */
void track_created(int fd, int family, int type, int protocol, bool pair, uint64_t closers);
void track_accepted(int fd, int listener, const struct sockaddr *addr, socklen_t len, bool cloexec,
		    uint64_t closers_before);
/* asked NULL: the kernel, or libc, chose the whole of it.  given: to the kernel, where a rule has bound it
 * elsewhere than asked for; else the same. */
void track_bound(int fd, const struct sockaddr *asked, socklen_t len, const struct sockaddr *given,
		 socklen_t given_len);
void track_listening(int fd);

/* Disconnected, by connect(2) with AF_UNSPEC or by shutdown(2).  Listening anew, it has the port that it was
 * bound to, or one that the kernel chooses then. */
void track_dissolved(int fd);

/* A rule says so: sets it, and has fcntl(2) and dup(2) keep it. */
void track_close_on_exec(int fd);
bool track_closes_on_exec(int fd);

/* dup and F_DUPFD: new is a copy of old.  own_closers: how many of the closers in flight are this
 * call itself (dup2, dup3: 1). */
void track_dupped(int old, uint64_t old_word, int new, bool cloexec, uint64_t closers_before,
		  unsigned own_closers);

/* Before and after a close.  The word that track_closing() returned goes to track_closed(). */
uint64_t track_closing(int fd);
void track_closed(int fd, uint64_t word, bool failed);

/* Around close_range and the like, which are closers.  What track_closing_range() returned goes to
 * track_closed_range(). */
struct counted track_closing_range(unsigned first, unsigned last);
void track_closed_range(unsigned first, unsigned last, bool failed, const struct counted *before);

/* Looks at every descriptor that the table takes for no socket, up to the first that is one, and records
 * it: for calls that make one inside libc.  Returns it, or -1. */
int track_find_unknown(void);

/* Looks again at 0, 1 and 2 where one of them was a socket: libc has put a file there. */
void track_standard_replaced(void);

/* Replaces the table by what the kernel has.  why: enum ps_stock_why. */
void track_stock(uint32_t why, bool exact);

/* After a call in which libc had numbers of its own and closed them: another thread, or a handler, may have
 * closed one first and given it to a socket, which libc has then closed.  before: of before the call. */
void track_libc_closed(const struct counted *before, unsigned own_closers);

/* Accepted connections are about to be copied to other numbers of another process, unseen. */
void track_escape_all(void);

#endif
