/* SPDX-License-Identifier: MIT */
/*
 * syscall(2) for the numbers that are wrapped by name; all others go straight on, arguments, result
 * and errno untouched.  node closes descriptors this way, libseccomp installs filters.
 *
 * A fork by number is seen by the child's first call of ours (MADV_WIPEONFORK).
 */

#include <fcntl.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/syscall.h>

#include "process.h"
#include "real.h"

#define PTR(type, x) ((type)(uintptr_t)(x))

static long pass_on(long nr, const long a[static 6])
{
	return REAL(syscall)(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* What the wrapper of prctl(2) is there for. */
static bool is_confinement(int option)
{
	return option == PR_SET_NO_NEW_PRIVS || option == PR_SET_SECCOMP || option == PR_SET_TSC;
}

/* A filter by number, as libseccomp does it: the same care as with prctl(2). */
static long confine(long nr, const long a[static 6])
{
	long ret;

	if (a[0] != SECCOMP_SET_MODE_FILTER || thread.vfork_child != 0)
		return pass_on(nr, a);
	if (process_enter())
		process_before_confinement();
	ret = pass_on(nr, a);
	if (ret < 0)
		return ret;
	if (process_enter())
		process_after_confinement(PS_SANDBOX_SECCOMP, true);
	else
		process_stop();
	return ret;
}

/* In a handler that has interrupted fork(3) too: its ticket is not this child's. */
static long fork_by_number(long nr, const long a[static 6])
{
	struct fork_ticket outer = thread.ticket;
	long ret;

	if (thread.vfork_child != 0 || !process_enter())
		return pass_on(nr, a);
	process_before_unseen_fork();
	thread.ticket.child = 0;
	ret = pass_on(nr, a);
	if (ret != 0)
		thread.ticket = outer;
	return ret;
}

/* Cancellation points by name; syscall(2) is none. */
static long uncancelled(long nr, const long a[static 6])
{
	long ret;
	int state;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	switch (nr) {
	case SYS_accept:
		ret = hook_accept((int)a[0], PTR(struct sockaddr *, a[1]), PTR(socklen_t *, a[2]));
		break;
	case SYS_accept4:
		ret = hook_accept4((int)a[0], PTR(struct sockaddr *, a[1]), PTR(socklen_t *, a[2]),
				   (int)a[3]);
		break;
	case SYS_connect:
		ret = hook_connect((int)a[0], PTR(const struct sockaddr *, a[1]), (socklen_t)a[2]);
		break;
	case SYS_close:
		ret = hook_close((int)a[0]);
		break;
	case SYS_sendmsg:
		ret = hook_sendmsg((int)a[0], PTR(const struct msghdr *, a[1]), (int)a[2]);
		break;
	case SYS_sendmmsg:
		ret = hook_sendmmsg((int)a[0], PTR(struct mmsghdr *, a[1]), (unsigned)a[2], (int)a[3]);
		break;
	case SYS_sendto:
		ret = hook_sendto((int)a[0], PTR(const void *, a[1]), (size_t)a[2], (int)a[3],
				  PTR(const struct sockaddr *, a[4]), (socklen_t)a[5]);
		break;
	case SYS_recvfrom:
		ret = hook_recvfrom((int)a[0], PTR(void *, a[1]), (size_t)a[2], (int)a[3],
				    PTR(struct sockaddr *, a[4]), PTR(socklen_t *, a[5]));
		break;
	case SYS_recvmsg:
		ret = hook_recvmsg((int)a[0], PTR(struct msghdr *, a[1]), (int)a[2]);
		break;
	default:
		ret = hook_recvmmsg((int)a[0], PTR(struct mmsghdr *, a[1]), (unsigned)a[2], (int)a[3],
				    PTR(struct timespec *, a[4]));
		break;
	}
	pthread_setcancelstate(state, NULL);
	return ret;
}

long hook_syscall(long nr, ...)
{
	long a[6];
	va_list ap;

	va_start(ap, nr);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	switch (nr) {
	case SYS_socket:
		return hook_socket((int)a[0], (int)a[1], (int)a[2]);
	case SYS_socketpair:
		return hook_socketpair((int)a[0], (int)a[1], (int)a[2], PTR(int *, a[3]));
	case SYS_bind:
		return hook_bind((int)a[0], PTR(const struct sockaddr *, a[1]), (socklen_t)a[2]);
	case SYS_listen:
		return hook_listen((int)a[0], (int)a[1]);
	case SYS_accept:
	case SYS_accept4:
	case SYS_connect:
	case SYS_close:
	case SYS_sendmsg:
	case SYS_sendmmsg:
	case SYS_recvmsg:
	case SYS_recvmmsg:
	case SYS_sendto:
	case SYS_recvfrom:
		return uncancelled(nr, a);
	case SYS_getsockname:
		return hook_getsockname((int)a[0], PTR(struct sockaddr *, a[1]), PTR(socklen_t *, a[2]));
	case SYS_getpeername:
		return hook_getpeername((int)a[0], PTR(struct sockaddr *, a[1]), PTR(socklen_t *, a[2]));
	case SYS_getsockopt:
		return hook_getsockopt((int)a[0], (int)a[1], (int)a[2], PTR(void *, a[3]),
				       PTR(socklen_t *, a[4]));
	case SYS_shutdown:
		return hook_shutdown((int)a[0], (int)a[1]);
	case SYS_setsockopt:
		return hook_setsockopt((int)a[0], (int)a[1], (int)a[2], PTR(const void *, a[3]),
				       (socklen_t)a[4]);
	case SYS_dup:
		return hook_dup((int)a[0]);
#ifdef SYS_dup2
	case SYS_dup2:
		return hook_dup2((int)a[0], (int)a[1]);
#endif
	case SYS_dup3:
		return hook_dup3((int)a[0], (int)a[1], (int)a[2]);
	case SYS_fcntl: /* libc's fcntl does more than pass the others on */
		return a[1] == F_DUPFD || a[1] == F_DUPFD_CLOEXEC ? hook_fcntl((int)a[0], (int)a[1], a[2])
								  : pass_on(nr, a);
	case SYS_close_range:
		return hook_close_range((unsigned)a[0], (unsigned)a[1], (int)a[2]);
	case SYS_pidfd_getfd:
		return hook_pidfd_getfd((int)a[0], (int)a[1], (unsigned)a[2]);
	case SYS_execve:
		return hook_execve(PTR(const char *, a[0]), PTR(char *const *, a[1]),
				   PTR(char *const *, a[2]));
	case SYS_execveat:
		return hook_execveat((int)a[0], PTR(const char *, a[1]), PTR(char *const *, a[2]),
				     PTR(char *const *, a[3]), (int)a[4]);
	case SYS_chroot:
		return hook_chroot(PTR(const char *, a[0]));
	case SYS_unshare:
		return hook_unshare((int)a[0]);
	case SYS_setns:
		return hook_setns((int)a[0], (int)a[1]);
	case SYS_prctl: /* libc's returns an int: PR_GET_TIMERSLACK is longer */
		return is_confinement((int)a[0]) ? hook_prctl((int)a[0], a[1], a[2], a[3], a[4])
						 : pass_on(nr, a);
	case SYS_seccomp:
		return confine(nr, a);
	case SYS_exit_group:
		hook__exit((int)a[0]);
		__builtin_unreachable();
#ifdef SYS_fork
	case SYS_fork:
#endif
	case SYS_clone:
	case SYS_clone3:
		return fork_by_number(nr, a);
	default:
		return pass_on(nr, a);
	}
}
