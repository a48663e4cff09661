/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_RUNS_H
#define PORTSHIM_RUNS_H

/* Records of many chunks, each nearly in order by itself, into one order: by stamp, then by place. */

#include <stddef.h>
#include <stdint.h>

#include "slots.h"

/* Those of one chunk. */
struct run {
	struct taken_slot *at, *end;
	struct copy *copy; /* where they are; the owner's */
	const char *slots; /* there, of which the first is at `place` */
	uint64_t place;
	uint32_t uid;
};

static inline uint64_t run_place(const struct run *r, const struct taken_slot *t)
{
	return r->place + (uint64_t)((const char *)t->ev - r->slots) / PS_SLOT_SIZE;
}

void run_sort(struct run *r);

/* A heap of runs that are sorted and not empty, the first of all records at runs[0].at. */

/* One more. */
void runs_add(struct run *runs, size_t *n, const struct run *one);

/* Behind the first of runs[0], which is the first of all.  If that was its last, the run is taken out. */
void runs_advance(struct run *runs, size_t *n);

#endif
