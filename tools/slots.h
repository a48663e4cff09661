/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_SLOTS_H
#define PORTSHIM_SLOTS_H

/* The slots of one chunk, as copies of it show them: which of them are records, finished and whole. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "portshim/event.h"

/* A record where it lies in the copy of its chunk. */
struct taken_slot {
	uint64_t stamp;
	const struct ps_event *ev;
};

/* A walk over the slots.  Zeroed, but for what is given. */
struct walk {
	const char *copy, *later; /* of the chunk; later: must show the same, NULL: it is known to */
	uint32_t slots, limit;	  /* of the chunk; that have been claimed */
	uint32_t *seen;		  /* the commit word that each was taken with, 0: not yet; NULL: none is */
	uint64_t least;		  /* what is stamped before is not there yet */
	struct taken_slot *taken; /* room for `limit`; NULL: only to look, and `seen` stays as it is */

	uint32_t n;	   /* taken; COUNT records every time */
	uint32_t counters; /* COUNT records that are new among them */
	uint32_t bad;	   /* make no sense */
	uint32_t settled;  /* slots that are new and need no further look */
	uint32_t pending;  /* begun, or not finished at both looks */
	uint64_t first;	   /* the smallest stamp of those taken; UINT64_MAX: there is none */
};

void slots_walk(struct walk *w);

/* Of all commit words below the limit; only that and `copy` are looked at. */
uint64_t slots_hash(const struct walk *w);

static inline const struct ps_event *slot_of(const char *copy, uint32_t i)
{
	return (const struct ps_event *)(const void *)(copy + sizeof(struct ps_chunk) +
						       (size_t)i * PS_SLOT_SIZE);
}

#endif
