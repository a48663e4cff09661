/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_TRACK_PRIVATE_H
#define PORTSHIM_TRACK_PRIVATE_H

/* How track.c and stock.c write the table; nobody else does. */

#include "emit.h"
#include "track.h"

/* Entries to read and to write; none for a vfork child, whose table is its parent's. */
static inline struct fd_entry *entry_of(int fd)
{
	return thread.vfork_child != 0 ? NULL : fdtab_find(fd);
}

static inline struct fd_entry *entry_for(int fd)
{
	struct fd_entry *e;

	if (thread.vfork_child != 0)
		return NULL;
	e = fdtab_entry(fd, !atomic_load_explicit(&self.quiet, memory_order_relaxed));
	if (e == NULL && fd >= 0)
		atomic_store_explicit(&fdtab_lacking, true, memory_order_relaxed);
	return e;
}

/* Raises the generation and says MAYBE; returns the word before, and the new one in *marked. */
static inline uint64_t mark(struct fd_entry *e, uint64_t *marked)
{
	uint64_t before = fd_word(e);

	do {
		*marked = fd_word_next(before, FD_MAYBE);
	} while (!atomic_compare_exchange_weak(&e->word, &before, *marked));
	return before;
}

/* Fails, rightly, if the word is no longer `from`: whoever changed it knows better, unless is_doubted(). */
static inline bool publish(struct fd_entry *e, uint64_t from, uint64_t low, uint64_t cookie,
			   uint64_t accepted)
{
	uint64_t word = fd_word_next(from, low);

	atomic_store_explicit(&e->cookie, cookie, memory_order_relaxed);
	atomic_store_explicit(&e->accepted, accepted, memory_order_relaxed);
	atomic_store_explicit(&e->check, fd_check(word, cookie, accepted), memory_order_relaxed);
	if (low & FD_RING)
		atomic_store_explicit(&e->ring_of, process_id(), memory_order_relaxed);
	return atomic_compare_exchange_strong(&e->word, &from, word);
}

/* After publish() has failed: a close that may have been of what was seen wants it looked at again. */
static inline bool is_doubted(const struct fd_entry *e)
{
	return FD_STATE(fd_word(e)) == FD_MAYBE;
}

/* The identity that belongs to a word with FD_SOCKET or FD_ACCEPTED. */
static inline bool identity_at(const struct fd_entry *e, uint64_t word, uint64_t *cookie, uint64_t *accepted)
{
	*cookie = atomic_load_explicit(&e->cookie, memory_order_relaxed);
	*accepted = atomic_load_explicit(&e->accepted, memory_order_relaxed);
	return atomic_load_explicit(&e->check, memory_order_relaxed) == fd_check(word, *cookie, *accepted) &&
	       fd_word(e) == word;
}

static inline uint64_t low_word(const struct identity *id)
{
	return FD_SOCKET | FD_KIND(id->family, id->type, id->protocol) | (id->listening ? FD_LISTEN : 0);
}

/* Records the names that no record of a call tells: of a socket that was there before, was received … */
void track_tell_names(int fd, uint64_t cookie);

#endif
