/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_REAL_H
#define PORTSHIM_REAL_H

/*
 * The next definition of each wrapped symbol: libc's, or another preloaded library's.
 *
 * hook_x() is our definition of symbol x.  It has a name of its own in C, so that headers' attributes
 * for x (nonnull, noreturn) do not let the compiler drop checks from the body.
 */

#include <mqueue.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <termios.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))

#define HOOK(symbol, returns, parameters) EXPORT returns hook_##symbol parameters __asm__(#symbol);
#define ALIAS(symbol, target)
#include "hooks.def"

struct real {
#define HOOK(symbol, returns, parameters) returns(*symbol) parameters;
#define ALIAS(symbol, target)
#include "hooks.def"
};
extern struct real real;

/* Behind the body of `target`: the other name of it. */
#define ALIAS_BODY(symbol, target)                               \
	__typeof__(hook_##target) hook_##symbol __asm__(#symbol) \
		__attribute__((alias(#target), visibility("default")));

/*
 * Called by the constructor, or by the first wrapper that is called before it (allocators, other
 * libraries' constructors).  Where the objects' own hash tables can be read, nothing is looked up yet: to
 * ask dlsym(3) for all of them costs every program what few would use.
 */
void real_start(void);

/* Looks one up, at its first call: in any thread, in a signal handler, in a vfork child. */
void *real_find(void **slot, const char *symbol);

/* Looks up, once, what children call first: for each of them it would be as dear as for the first. */
void real_for_children(void);

/* A symbol that this libc lacks answers -1 with ENOSYS, unless the kernel can be asked. */
#define REAL(symbol)                                                                  \
	(__builtin_expect(real.symbol == NULL, 0)                                     \
		 ? (__typeof__(real.symbol))real_find((void **)&real.symbol, #symbol) \
		 : real.symbol)

#endif
