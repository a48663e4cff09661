/* SPDX-License-Identifier: MIT */
#include "verify_suspects.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "util.h"
#include "verify_procs.h"

#define CONFIRM_LOOKS 10 /* and how often it must be seen */

int suspects_see(struct suspects *l, const struct verify *v)
{
	struct suspects old = *l;
	int64_t now = verify_clock(CLOCK_MONOTONIC);

	*l = (struct suspects){ 0 };
	for (size_t i = 0; i < v->n; i++) {
		struct suspect s = { .difference = v->list[i], .first = now };
		struct suspect *list = array_room(l->list, &l->room, l->n + 1, sizeof(*list));

		if (list == NULL) {
			free(old.list);
			return -ENOMEM;
		}
		l->list = list;
		for (size_t k = 0; k < old.n; k++) {
			if (difference_same(&old.list[k].difference, &s.difference))
				s = old.list[k];
		}
		s.looks++;
		list[l->n++] = s;
	}
	free(old.list);
	return 0;
}

bool suspect_confirmed(const struct suspect *s)
{
	return s->looks >= CONFIRM_LOOKS && verify_clock(CLOCK_MONOTONIC) - s->first >= CONFIRM_NS;
}

bool suspects_in_doubt(const struct suspects *l)
{
	for (size_t i = 0; i < l->n; i++) {
		if (!suspect_confirmed(&l->list[i]))
			return true;
	}
	return false;
}
