/* SPDX-License-Identifier: MIT */
#include "runs.h"

#include <stdbool.h>
#include <stdlib.h>

/* In one chunk, a place is an address. */
static bool before(const struct taken_slot *a, const struct taken_slot *b)
{
	return a->stamp != b->stamp ? a->stamp < b->stamp : a->ev < b->ev;
}

static int compare(const void *a, const void *b)
{
	return before(a, b) ? -1 : before(b, a);
}

/* Threads swap neighbours; whoever swaps more than that is not worth a quick way. */
#define MOVES_PER_RECORD 8

void run_sort(struct run *r)
{
	size_t moves = (size_t)(r->end - r->at) * MOVES_PER_RECORD;

	for (struct taken_slot *t = r->at + 1; t < r->end; t++) {
		const struct taken_slot one = *t;
		struct taken_slot *to = t;

		for (; to > r->at && before(&one, to - 1) && moves > 0; to--, moves--)
			*to = to[-1];
		*to = one;
	}
	if (moves == 0)
		qsort(r->at, (size_t)(r->end - r->at), sizeof(*r->at), compare);
}

static bool run_before(const struct run *a, const struct run *b)
{
	if (a->at->stamp != b->at->stamp)
		return a->at->stamp < b->at->stamp;
	return run_place(a, a->at) < run_place(b, b->at);
}

/* The first of the two below i; n: there is none. */
static size_t below(const struct run *runs, size_t n, size_t i)
{
	size_t child = 2 * i + 1;

	if (child >= n)
		return n;
	return child + 1 < n && run_before(&runs[child + 1], &runs[child]) ? child + 1 : child;
}

static void sink(struct run *runs, size_t n)
{
	size_t i = 0, child = below(runs, n, 0);
	struct run one;

	/* Mostly a process writes some records in a row. */
	if (child == n || !run_before(&runs[child], &runs[0]))
		return;
	one = runs[0];
	for (; child < n && run_before(&runs[child], &one); child = below(runs, n, i)) {
		runs[i] = runs[child];
		i = child;
	}
	runs[i] = one;
}

void runs_add(struct run *runs, size_t *n, const struct run *one)
{
	size_t i = (*n)++;

	for (size_t above; i > 0 && (above = (i - 1) / 2, run_before(one, &runs[above])); i = above)
		runs[i] = runs[above];
	runs[i] = *one;
}

void runs_advance(struct run *runs, size_t *n)
{
	if (++runs[0].at == runs[0].end)
		runs[0] = runs[--*n];
	sink(runs, *n);
}
