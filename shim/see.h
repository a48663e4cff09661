/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_SEE_H
#define PORTSHIM_SEE_H

/*
 * What the kernel says of a descriptor.  Thread-safe, async-signal-safe, errno untouched; makes no
 * system call, and says SEEN_NOTHING, once a sandbox could punish it.
 */

#include <stdbool.h>
#include <stdint.h>

#include "emit.h"
#include "process.h"

/* A sandbox could punish a system call: none is made. */
static inline bool see_nothing(void)
{
	return atomic_load_explicit(&self.quiet, memory_order_relaxed);
}

/* Whether the program's memory at p can be read: a bad pointer is EFAULT for the kernel and would be the
 * program's death here.  Of the page alone; in a sandbox only what no pointer can be is refused. */
bool see_readable(uintptr_t p);

/* At the start, on the program's first stack: the end of it, so that what lies there need not be asked for.
 */
void see_remember_stack(char *const *envp);

/* The same of a string to its end, by a call that reads one and does nothing more. */
bool see_string(const char *s);

enum seen { SEEN_NO_SOCKET, SEEN_SOCKET, SEEN_NOTHING };

/* The cookie alone: what tells one socket from all others. */
enum seen see_cookie(int fd, uint64_t *cookie);

/* All of an identity, of one and the same socket. */
enum seen see(int fd, struct identity *out);

/* An int of SOL_SOCKET, as SO_TYPE; 0 if it cannot be had. */
int see_option(int fd, int name);

/* Whether fd is still the socket of that cookie; closers: self.closers as of before it was read. */
bool see_still(int fd, uint64_t cookie, uint64_t closers);

#endif
