/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_PROCESS_H
#define PORTSHIM_PROCESS_H

/*
 * Who we are: the session this process records in, its id, and how forks and execs carry that on.
 * Everything here may run in a signal handler, in a forked child of a threaded program, or in a
 * vfork child on its parent's memory; no function but process_start() may call malloc.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/log.h"
#include "common/session.h"

enum attachment {
	UNSTARTED, /* our constructor is still to come: those of the program's libraries run first */
	DETACHED,  /* bare: the first socket call will join the ambient session */
	ATTACHING, /* some thread is at it */
	ATTACHED,
	REFUSED, /* no session can be had: every wrapper only passes through */
};

/* What changes from fork to fork is in `unshared`: a page of this that is written after a fork is a fault in
 * the child and another in the parent. */
struct self {
	_Atomic enum attachment state;
	_Atomic bool quiet; /* a sandbox may punish system calls: make none */

	/* In the low half how many calls are in flight, in the high half how many have ended: those that
	 * close or replace a descriptor, and all others that change what descriptors there are. */
	_Atomic uint64_t closers, changes;

	struct log log; /* what changes of it is at its start too */

	char session[SESSION_PATH_MAX]; /* "" until attached */
	const char *library;		/* our own file, absolute, or NULL; the dynamic linker's string */
	char preload[LOG_PATH_MAX];	/* our entry as LD_PRELOAD names it */
};
extern struct self self;

/* The two counters at a moment. */
struct counted {
	uint64_t closers, changes;
};

#define VFORK_UNRECORDED 1u

/* What a thread is in the middle of. */
struct thread {
	uint64_t born;	      /* the process that began with this thread, a fork of another; 0: none */
	uint64_t vfork_child; /* it is this vfork child, on its parent's memory; or VFORK_UNRECORDED */
	bool forking;	      /* in a wrapper of fork: the atfork handlers have nothing to do */
	bool calling;	      /* in a wrapper of a call that forks inside libc: the handlers tell of it */
	bool attaching;
	uintptr_t len_page;	   /* that a length of an address was read from: see believe_room() */
	uint32_t closers, changes; /* how many calls it is in the middle of, as self counts them */
	struct fork_ticket {
		uint64_t child, ordinal; /* child 0: none */
		uint64_t parent;
		struct counted before; /* as of just before FORK was stamped */
	} ticket;		       /* of the fork under way */
};
extern _Thread_local struct thread thread;

/* The id that records of this thread carry. */
static inline uint64_t process_id(void)
{
	return thread.vfork_child != 0 ? thread.vfork_child
				       : atomic_load_explicit(&unshared.process, memory_order_relaxed);
}

/* A fork by number is about to be: its child must know whose it is. */
void process_before_unseen_fork(void);

bool process_attach_ambient(void);

/* The epoch is 0: nothing is recorded, or a fork came by no hook. */
bool process_enter_slowly(void);

/* Every wrapper's first question: is anything recorded?  Notices a fork that no hook saw. */
static inline bool process_enter(void)
{
	return __builtin_expect(atomic_load_explicit(&unshared.epoch, memory_order_acquire) != 0, 1) ||
	       process_enter_slowly();
}

/* The same for calls that only a program with sockets makes: a bare process joins its session now. */
static inline bool process_enter_socket(void)
{
	return process_enter() || (atomic_load_explicit(&self.state, memory_order_relaxed) <= ATTACHING &&
				   process_attach_ambient());
}

/* flags: PS_F_VFORK, PS_F_SPAWN, PS_F_ATFORK. */
struct fork_ticket process_before_fork(uint32_t flags);
void process_after_fork(const struct fork_ticket *ticket, pid_t pid, int error);

/* In the child: it becomes the one of thread.ticket.  The second of two calls does nothing. */
void process_in_child(uint32_t flags);

/* Around a change of the effective uid: makes and enters the arena of the new one while that is
 * still allowed, and goes back if the call failed.  Around any other confinement: reserves. */
void process_before_uid(uid_t euid);
void process_after_uid(uid_t before, bool changed);
void process_before_confinement(void);
void process_after_confinement(uint32_t what, bool quiet);

/* From now on nothing is recorded; returns what was the case, for process_resume(). */
enum attachment process_stop(void);
void process_resume(enum attachment was);

#endif
