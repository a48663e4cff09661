/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_MASK_H
#define PORTSHIM_MASK_H

/*
 * What the program believes of a socket that a rule has redirected: the names it asked for.  By socket
 * cookie, so that it holds for every descriptor of the socket, and for a forked child, which has its own
 * copy of the table; mask_write() and mask_read() take it over an exec.
 *
 * Fixed size, no lock, no malloc.  Thread-safe and async-signal-safe; errno untouched.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/endpoint.h"
#include "common/text.h"

enum mask_what {
	MASK_LOCAL = 1,	 /* the name that bind() was given */
	MASK_CONNECTION, /* the same of the listener that it was accepted from */
	MASK_PEER,	 /* the name that connect() was given */
	MASK_BORN, /* family, and in port the protocol, of a socket that was replaced by one of another */
	MASK_PATH, /* the UNIX path that was made for it, to be removed */
	MASK_FILE, /* in ip, which file that is: st_dev and st_ino */
};

extern _Atomic bool mask_used;

/* False, as long as no rule has redirected anything: all that an unredirected program pays. */
static inline bool mask_any(void)
{
	return __builtin_expect(atomic_load_explicit(&mask_used, memory_order_relaxed), 0);
}

/* 0; -ENOBUFS, the table is full of sockets that are open. */
int mask_put(uint64_t cookie, enum mask_what what, const struct endpoint *asked);
bool mask_get(uint64_t cookie, enum mask_what what, struct endpoint *out);
void mask_drop(uint64_t cookie, enum mask_what what);

/* A datagram from `real` is shown as one from `asked`. */
int mask_put_source(uint64_t cookie, const struct endpoint *real, const struct endpoint *asked);
bool mask_get_source(uint64_t cookie, const struct endpoint *real, struct endpoint *out);

/* An accepted connection has got a cookie of its own: what was known by its listener's. */
void mask_inherit(uint64_t listener, uint64_t connection);

/* A socket was replaced by another. */
void mask_move(uint64_t from, uint64_t to);

/* Whether an open socket of this process, other than `than`, is bound to that asked-for name. */
bool mask_taken(const struct endpoint *asked, uint16_t type, uint64_t than);

/* Calls visit for each socket with a path of ours. */
void mask_each_path(void (*visit)(uint64_t cookie, const struct endpoint *path));

/* As text for the environment, and back.  mask_length(): as much as it takes, without the NUL.  What does
 * not fit is left out: false. */
size_t mask_length(void);
bool mask_write(struct text *t);
void mask_read(const char *value);

#endif
