/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_CHUNK_H
#define PORTSHIM_CHUNK_H

/*
 * One mapped chunk: a fetch_add, plain stores and a commit word an append.  No system call; thread-safe
 * and async-signal-safe.
 */

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "portshim/event.h"

/* Short names for the memory orders, and atomic access to shared memory, whose layout is plain. */
#define RELAXED memory_order_relaxed
#define ACQUIRE memory_order_acquire
#define RELEASE memory_order_release
#define SHARED(field) ((_Atomic __typeof__(field) *)&(field))

/*
 * A mapped chunk: its address, with its size in pages and whether it is a ring in the low bits.  The
 * size is kept here because what stands in the chunk itself may have been scribbled over.  0: none.
 */
typedef uintptr_t chunk_ref;
#define CHUNK_RING 0x800u

/* The sizes that are claimed, in pages. */
#define CHUNK_FIRST 1u
#define CHUNK_SECOND 4u
#define CHUNK_LATER 16u

static inline struct ps_chunk *chunk_of(chunk_ref ref)
{
	return (struct ps_chunk *)(ref & ~(chunk_ref)(PS_PAGE - 1));
}

static inline unsigned chunk_pages(chunk_ref ref)
{
	return (unsigned)(ref & (CHUNK_RING - 1));
}

/* Appends a record as it is (slots and tail are the caller's to fill in): its place, or NULL if the chunk
 * is full.  A ring never is. */
struct ps_event *chunk_append(chunk_ref chunk, const struct ps_event *ev, const void *tail, size_t tail_len);

#endif
