/* SPDX-License-Identifier: MIT */
#include "real.h"

#include <dlfcn.h>
#include <errno.h>

struct real real;

static long absent(void)
{
	errno = ENOSYS;
	return -1;
}

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
	errno = saved;
}
