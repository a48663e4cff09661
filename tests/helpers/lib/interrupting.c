/* SPDX-License-Identifier: MIT */
/*
 * Another preloaded library, to stand behind ours: a signal that the program asked for by `interrupt_with`
 * comes at the worst moment, when a wrapper has said what it will close and the kernel has not done it.
 */
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

int interrupt_with;

static void interrupt(void)
{
	if (interrupt_with != 0)
		raise(interrupt_with);
}

int close_range(unsigned first, unsigned last, int flags)
{
	__typeof__(close_range) *next = dlsym(RTLD_NEXT, "close_range");

	interrupt();
	return next(first, last, flags);
}

void closefrom(int first)
{
	__typeof__(closefrom) *next = dlsym(RTLD_NEXT, "closefrom");

	interrupt();
	next(first);
}

int close(int fd)
{
	__typeof__(close) *next = dlsym(RTLD_NEXT, "close");

	interrupt();
	return next(fd);
}

int dup2(int old, int new)
{
	__typeof__(dup2) *next = dlsym(RTLD_NEXT, "dup2");

	interrupt();
	return next(old, new);
}

FILE *freopen(const char *path, const char *mode, FILE *file)
{
	__typeof__(freopen) *next = dlsym(RTLD_NEXT, "freopen");

	interrupt();
	return next(path, mode, file);
}
