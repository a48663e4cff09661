/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_VERIFY_SUSPECTS_H
#define PORTSHIM_VERIFY_SUSPECTS_H

/* Differences of one look after the other: only what stays just as it is, long and often enough, is one. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "verify.h"

/* A difference, and since when it has stayed so. */
struct suspect {
	struct difference difference;
	int64_t first; /* CLOCK_MONOTONIC, ns */
	unsigned looks;
};

struct suspects {
	struct suspect *list;
	size_t n, room;
};

/* What differs in this look: those seen before keep their first time, others are none any more.  0 or
 * -ENOMEM. */
int suspects_see(struct suspects *l, const struct verify *v);

bool suspect_confirmed(const struct suspect *s);

/* Whether any is not confirmed. */
bool suspects_in_doubt(const struct suspects *l);

#endif
