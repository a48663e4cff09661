/* SPDX-License-Identifier: MIT */
/* fork and its kin, and the end of a process. */

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>

#include "common/sys.h"
#include "emit.h"
#include "path.h"
#include "process.h"
#include "real.h"
#include "track.h"

/* A signal handler may fork in the middle of a fork: it leaves the thread's marks as it found them. */
static pid_t fork_by(pid_t (*call)(void))
{
	struct fork_ticket outer = thread.ticket, ticket;
	bool forking = thread.forking;
	pid_t pid;

	if (!process_enter())
		return call();
	ticket = process_before_fork(0);
	thread.ticket = ticket;
	thread.forking = true;
	pid = call();
	if (pid == 0) {
		process_in_child(0);
		/* The fork that the handler has interrupted is its parent's.  This one's own will be unseen.
		 */
		outer.child = 0;
	} else if (ticket.parent == process_id()) {
		process_after_fork(&ticket, pid, pid < 0 ? errno : 0);
	}
	thread.ticket = outer;
	thread.forking = forking;
	return pid;
}

pid_t hook_fork(void)
{
	return fork_by(REAL(fork));
}
ALIAS_BODY(__fork, fork)

pid_t hook__Fork(void)
{
	return fork_by(REAL(_Fork));
}

#define NOT_BLOCKED UINT64_MAX /* the kernel lets nobody block SIGKILL */

/*
 * The mark that says "vfork child" is in memory that both have.  A signal of the parent's that comes while
 * it waits is delivered on its way out of the system call, before the mark is gone: a handler would be taken
 * for the child's.  The kernel does not let the parent's handlers run any earlier, so that blocking them
 * changes nothing else.  Returns what was blocked before.
 */
static uint64_t block_signals(void)
{
	uint64_t all = UINT64_MAX, before = NOT_BLOCKED;

	if (!atomic_load_explicit(&self.quiet, memory_order_relaxed))
		sys4(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof(all));
	return before;
}

static void unblock_signals(uint64_t before)
{
	if (before != NOT_BLOCKED)
		sys4(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof(before));
}

/* The C halves of vfork.S, which calls them. */
struct vfork_state {
	uint64_t child, mark, blocked;
};

void vfork_before(struct vfork_state *s);
void vfork_child(uint64_t child, uint64_t blocked);
pid_t vfork_parent(long pid, uint64_t child, uint64_t mark, uint64_t blocked);

/* A vfork in a vfork child is possible: the mark in force comes back when that one is done. */
void vfork_before(struct vfork_state *s)
{
	s->child = VFORK_UNRECORDED;
	s->mark = thread.vfork_child;
	if (process_enter())
		s->child = process_before_fork(PS_F_VFORK).child;
	s->blocked = block_signals();
}

/* In the child: its records carry its own id, and the table, its parent's, is left alone. */
void vfork_child(uint64_t child, uint64_t blocked)
{
	thread.vfork_child = child;
	unblock_signals(blocked);
}

/* In the parent, once the child has exec'd or ended; pid: what the system call returned. */
pid_t vfork_parent(long pid, uint64_t child, uint64_t mark, uint64_t blocked)
{
	struct fork_ticket ticket = { .child = child };
	int error = pid < 0 ? (int)-pid : 0;

	thread.vfork_child = mark;
	unblock_signals(blocked);
	if (child != VFORK_UNRECORDED)
		process_after_fork(&ticket, error != 0 ? 0 : (pid_t)pid, error);
	if (error == 0)
		return (pid_t)pid;
	errno = error;
	return -1;
}

/* libc has forked inside, seen by the atfork handlers, and in the child put files on 0, 1 and 2. */
int hook_daemon(int nochdir, int noclose)
{
	int ret;

	thread.ticket.child = 0;
	thread.calling = true;
	ret = REAL(daemon)(nochdir, noclose);
	thread.calling = false;
	if (!process_enter())
		return ret;
	/* The child has used its ticket up; the parent comes back only if there is none. */
	if (thread.ticket.child != 0)
		process_after_fork(&thread.ticket, 0, errno);
	else
		track_standard_replaced();
	return ret;
}

int hook_forkpty(int *master, char *name, const struct termios *termios, const struct winsize *size)
{
	int pid;

	thread.ticket.child = 0;
	thread.calling = true;
	pid = REAL(forkpty)(master, name, termios, size);
	thread.calling = false;
	if (!process_enter())
		return pid;
	if (pid == 0)
		track_standard_replaced();
	else if (thread.ticket.child != 0)
		process_after_fork(&thread.ticket, pid, pid < 0 ? errno : 0);
	return pid;
}

#define NAMESPACES                                                                                    \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | \
	 CLONE_NEWNET)

/* What a clone's child runs first; in the parent's frame, which the child shares or has a copy of. */
struct clone_start {
	int (*fn)(void *);
	void *arg;
	struct fork_ticket ticket;
	uint64_t blocked; /* until it is known who this is */
	int flags;
};

static int start_clone(void *p)
{
	struct clone_start start = *(struct clone_start *)p;

	if (start.flags & CLONE_VM) {
		thread.vfork_child = start.ticket.child;
		unblock_signals(start.blocked);
	} else {
		thread.ticket = start.ticket;
		process_in_child(0);
		unblock_signals(start.blocked);
		if (start.flags & NAMESPACES)
			process_after_confinement(PS_SANDBOX_NAMESPACE, false);
	}
	if (start.flags & CLONE_FILES)
		emit_sandbox(PS_SANDBOX_SHARED);
	return start.fn(start.arg);
}

/*
 * clone(2) as libc wraps it.  A thread is none of our business.  A child with memory of its own is a
 * fork; one that shares ours while we wait is a vfork; one that runs beside us on our memory cannot be
 * told apart from us, and that is said.
 */
int hook_clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
{
	struct clone_start start = { .fn = fn, .arg = arg, .flags = flags };
	uint64_t mark = thread.vfork_child;
	void *parent_tid, *tls, *child_tid;
	va_list ap;
	int pid;

	va_start(ap, arg);
	parent_tid = va_arg(ap, void *);
	tls = va_arg(ap, void *);
	child_tid = va_arg(ap, void *);
	va_end(ap);
	if ((flags & CLONE_THREAD) || fn == NULL || stack == NULL || !process_enter())
		return REAL(clone)(fn, stack, flags, arg, parent_tid, tls, child_tid);
	if ((flags & CLONE_VM) && (!(flags & CLONE_VFORK) || (flags & CLONE_SETTLS))) {
		emit_sandbox(PS_SANDBOX_SHARED);
		return REAL(clone)(fn, stack, flags, arg, parent_tid, tls, child_tid);
	}
	if (flags & CLONE_FILES)
		emit_sandbox(PS_SANDBOX_SHARED);
	start.ticket = process_before_fork(flags & CLONE_VM ? PS_F_VFORK : 0);
	start.blocked = block_signals();
	pid = REAL(clone)(start_clone, stack, flags, &start, parent_tid, tls, child_tid);
	thread.vfork_child = mark;
	unblock_signals(start.blocked);
	process_after_fork(&start.ticket, pid, pid < 0 ? errno : 0);
	return pid;
}
ALIAS_BODY(__clone, clone)

static void end(int status)
{
	if (!process_enter())
		return;
	path_exit();
	emit_exit(status & 0xff);
}

void hook__exit(int status)
{
	end(status);
	REAL(_exit)(status);
	__builtin_unreachable();
}

void hook__Exit(int status)
{
	end(status);
	REAL(_Exit)(status);
	__builtin_unreachable();
}
