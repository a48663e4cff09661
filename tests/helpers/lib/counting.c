/* SPDX-License-Identifier: MIT */
/*
 * Another preloaded library that wraps some of the calls that we wrap.  At the end it writes how often
 * each was called to the file $COUNTING: with a shim before it that must be what it is alone.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int sockets, closes, dups, accepts;

/* Looked up once: dlsym takes a lock, which another thread may hold at a fork. */
#define NEXT(symbol)                                                                          \
	({                                                                                    \
		static __typeof__(symbol) *next;                                              \
		if (__atomic_load_n(&next, __ATOMIC_RELAXED) == NULL)                         \
			__atomic_store_n(&next, dlsym(RTLD_NEXT, #symbol), __ATOMIC_RELAXED); \
		__atomic_load_n(&next, __ATOMIC_RELAXED);                                     \
	})

int socket(int domain, int type, int protocol)
{
	__atomic_add_fetch(&sockets, 1, __ATOMIC_RELAXED);
	return NEXT(socket)(domain, type, protocol);
}

int close(int fd)
{
	__atomic_add_fetch(&closes, 1, __ATOMIC_RELAXED);
	return NEXT(close)(fd);
}

int dup(int fd)
{
	__atomic_add_fetch(&dups, 1, __ATOMIC_RELAXED);
	return NEXT(dup)(fd);
}

int accept(int fd, struct sockaddr *addr, socklen_t *len)
{
	__atomic_add_fetch(&accepts, 1, __ATOMIC_RELAXED);
	return NEXT(accept)(fd, addr, len);
}

__attribute__((destructor)) static void say(void)
{
	const char *path = getenv("COUNTING");
	FILE *f = path != NULL ? fopen(path, "w") : NULL;

	if (f == NULL)
		return;
	fprintf(f, "%d sockets, %d closes, %d dups, %d accepts\n", sockets, closes, dups, accepts);
	fclose(f);
}
