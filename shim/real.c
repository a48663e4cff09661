/* SPDX-License-Identifier: MIT */
#include "real.h"

#include <dlfcn.h>
#include <errno.h>

#include "common/sys.h"

struct real real;

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
#define MAKE_PLAIN(symbol)                         \
	if ((void *)real.symbol == (void *)absent) \
		real.symbol = plain_##symbol;

void real_find(void)
{
	int saved = errno;

/* The cast is POSIX's own for dlsym: data pointer to function pointer. */
#define HOOK(symbol, returns, parameters)                                      \
	if (real.symbol == NULL) {                                             \
		void *next = dlsym(RTLD_NEXT, #symbol);                        \
		*(void **)&real.symbol = next != NULL ? next : (void *)absent; \
	}
#define ALIAS(symbol, target)
#include "hooks.def"
	MAKE_PLAIN(close_range)
	MAKE_PLAIN(pidfd_getfd)
	MAKE_PLAIN(execveat)
	errno = saved;
}
