/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_RUNS_H
#define PORTSHIM_RUNS_H

/* Records of many chunks, each nearly in order by itself, into one order: by stamp, then by place. */

#include <stddef.h>
#include <stdint.h>

#include "portshim/event.h"

/* A record where it lies in the copy of its chunk. */
struct taken {
	uint64_t stamp;
	const struct ps_event *ev;
};

/* Those of one chunk. */
struct run {
	struct taken *at, *end;
	const char *copy; /* of the chunk, whose first slot is at `place` */
	uint64_t place;
	uint32_t uid;
};

static inline uint64_t run_place(const struct run *r, const struct taken *t)
{
	return r->place + (uint64_t)((const char *)t->ev - r->copy) / PS_SLOT_SIZE;
}

void run_sort(struct run *r);

/* A heap of runs that are sorted and not empty. */
void runs_begin(struct run *runs, size_t n);

/* After one was taken from runs[0], and *n is not 0: the next is at runs[0].at, unless *n is 0 now. */
void runs_advance(struct run *runs, size_t *n);

#endif
