/* SPDX-License-Identifier: MIT */
#include "real.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "common/sys.h"
#include "common/unshared.h"
#include "objects.h"

HOT struct real real;

static long absent(void)
{
	errno = ENOSYS;
	return -1;
}

static int answer(long ret)
{
	if (ret >= 0)
		return (int)ret;
	errno = (int)-ret;
	return -1;
}

static int plain_close_range(unsigned first, unsigned last, int flags)
{
	return answer(sys3(SYS_close_range, first, last, flags));
}

static int plain_pidfd_getfd(int pidfd, int target, unsigned flags)
{
	return answer(sys3(SYS_pidfd_getfd, pidfd, target, flags));
}

static int plain_execveat(int dirfd, const char *path, char *const argv[], char *const envp[], int flags)
{
	return answer(sys5(SYS_execveat, dirfd, path, argv, envp, flags));
}

/* What is a system call and nothing more can be made where libc has no function for it: by number, or by a
 * program that looks for the symbol and finds ours. */
static void *plain(const char *symbol)
{
	if (strcmp(symbol, "close_range") == 0)
		return (void *)plain_close_range;
	if (strcmp(symbol, "pidfd_getfd") == 0)
		return (void *)plain_pidfd_getfd;
	if (strcmp(symbol, "execveat") == 0)
		return (void *)plain_execveat;
	return (void *)absent;
}

HOT static struct objects behind;
HOT static _Atomic bool is_started;

/* Where the tables of all behind us cannot be read: at once, as dlsym(3) is not to be called just anywhere.
 * It calls malloc only for a symbol that is missing; if malloc then calls a wrapper again, that finds what
 * was found so far. */
static void find_all(void)
{
	int saved = errno;

#define HOOK(symbol, returns, parameters)                                                  \
	if (real.symbol == NULL) {                                                         \
		void *next = dlsym(RTLD_NEXT, #symbol);                                    \
		/* The cast is POSIX's own for dlsym: data pointer to function pointer. */ \
		*(void **)&real.symbol = next != NULL ? next : plain(#symbol);             \
	}
#define ALIAS(symbol, target)
#include "hooks.def"
	errno = saved;
}

void real_start(void)
{
	if (atomic_load_explicit(&is_started, memory_order_acquire))
		return;
	/* Loaded by dlopen(3) we have libc in front of us. */
	if (!objects_behind(&behind) || objects_find(&behind, "_exit") == NULL)
		find_all();
	atomic_store_explicit(&is_started, true, memory_order_release);
}

void *real_find(void **slot, const char *symbol)
{
	void *next;

	real_start();
	if (*slot != NULL)
		return *slot;
	next = objects_find(&behind, symbol);
	if (next == NULL)
		next = plain(symbol);
	__atomic_store_n(slot, next, __ATOMIC_RELEASE);
	return next;
}

void real_for_children(void)
{
	if (real._exit != NULL)
		return;
	REAL(close);
	REAL(dup2);
	REAL(fcntl);
	REAL(execve);
	REAL(execv);
	REAL(execvp);
	REAL(execvpe);
	REAL(_exit);
}
