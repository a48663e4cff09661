/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_FDTAB_H
#define PORTSHIM_FDTAB_H

/*
 * fd -> what we know of it.  Flat, read without a lock, no malloc.  Memory of the process, so a
 * forked child has its copy; a vfork child shares it and must not touch it.
 *
 * An entry's word is the authority: generation in the high half, state and kind of the socket in the
 * low one.  Whoever changes what an fd is raises the generation, so that a compare-and-swap from an
 * old word fails.  Two threads may write the other fields at once; `check` tells whether cookie and
 * accepted are those of the word's generation, and where they are not the reader looks at the kernel.
 *
 * Thread-safe and async-signal-safe.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "portshim/event.h"

/* State, bits 0-1 of a word.  A word of zeros: never seen, taken for no socket. */
enum fd_state {
	FD_NONE,     /* no socket */
	FD_MAYBE,    /* being looked at */
	FD_SOCKET,   /* its cookie is known */
	FD_ACCEPTED, /* a connection: its accept record is its identity */
};
#define FD_STATE(word) ((enum fd_state)((word)&3))
#define FD_BOUND (1u << 2)  /* its local name stands in the log */
#define FD_LISTEN (1u << 3) /* listen() succeeded */
#define FD_CLOSES (1u << 5) /* a rule keeps it close-on-exec */
#define FD_RING (1u << 4)   /* its records are in the ring of process ring_of, and nowhere else */

/* Kind, as in socket(2): protocol bits 8-19, type 20-23, family 24-31. */
#define FD_KIND(family, type, protocol) \
	((uint64_t)((family)&0xff) << 24 | (uint64_t)((type)&0xf) << 20 | (uint64_t)((protocol)&0xfff) << 8)
#define FD_FAMILY(word) ((uint16_t)((word) >> 24 & 0xff))
#define FD_TYPE(word) ((uint16_t)((word) >> 20 & 0xf))
#define FD_PROTOCOL(word) ((uint16_t)((word) >> 8 & 0xfff))

struct fd_entry {
	_Atomic uint64_t word;
	_Atomic uint64_t cookie;   /* FD_ACCEPTED: the listener's */
	_Atomic uint64_t accepted; /* the stamp of its ACCEPT: FD_ACCEPTED, and for a stock; else 0 */
	_Atomic uint64_t check;
	_Atomic uint64_t ring_of;	    /* with FD_RING: whose; a forked child inherits the word */
	_Atomic uint64_t counter_of;	    /* whose process's it is: another's is not even to be looked at */
	_Atomic(struct ps_event *) counter; /* the COUNT record of a listener, or NULL */
} __attribute__((aligned(64)));		    /* a cache line */

/* The first segment is there from the start: most programs need no other, a sandboxed one could not
 * map it, and finding an entry in it is an index. */
#define FDTAB_FIRST 1024u
extern struct fd_entry fdtab_first[FDTAB_FIRST];

/* The entry of fd to write to, made if need be; NULL for a negative fd, one beyond the table (2^20), or where
 * no memory can be had.  may_map false: only one that there is memory for (no system call). */
struct fd_entry *fdtab_entry(int fd, bool may_map);

/* The same to read, or to change what was written: NULL where there is no memory for it. */
struct fd_entry *fdtab_beyond(int fd);

static inline struct fd_entry *fdtab_find(int fd)
{
	return (unsigned)fd < FDTAB_FIRST ? &fdtab_first[fd] : fdtab_beyond(fd);
}

/* An entry could not be had once: what the table does not have may be a socket all the same. */
extern _Atomic bool fdtab_lacking;

static inline bool fdtab_lacks(int fd)
{
	return atomic_load_explicit(&fdtab_lacking, memory_order_relaxed) && (unsigned)fd >= FDTAB_FIRST &&
	       fdtab_beyond(fd) == NULL;
}

/* One more than the highest fd that ever had an entry to write to: whoever goes through the table stops here.
 */
unsigned fdtab_end(void);

static inline uint64_t fd_check(uint64_t word, uint64_t cookie, uint64_t accepted)
{
	return (cookie * 0x9e3779b97f4a7c15u ^ accepted * 0xbf58476d1ce4e5b9u) + (word >> 32);
}

/* The word that follows `word` with this state and kind. */
static inline uint64_t fd_word_next(uint64_t word, uint64_t low)
{
	return ((word >> 32) + 1) << 32 | low;
}

static inline uint64_t fd_word(const struct fd_entry *e)
{
	return e == NULL ? 0 : atomic_load_explicit(&e->word, memory_order_acquire);
}

#endif
