/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_RECORDING_H
#define PORTSHIM_RECORDING_H

/* Reading one session, or all live ones, as one.  Single-threaded; -errno; prints nothing. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model.h"
#include "reader.h"

/* The records of one or more sessions and what they come to. */
struct recording {
	struct reader **readers;
	size_t n_readers;
	struct model *model;
	const struct record *records; /* of all readers, by stamp */
	size_t n_records;
	struct record *merged; /* holds `records` where there are several readers */
};

/* Opens the session dir, or with NULL all that may be live, and reads what is there: `readers` only. */
int recording_open(const char *dir, struct recording *out);

/* Whether it is worth folding, to see who lives.  Errs on the side of yes: a pid may be used again. */
bool recording_may_live(const struct recording *r);

/* Folds the records into the model and settles it.  With live_only, sessions without a live process
 * are left out. */
int recording_fold(struct recording *r, bool live_only, bool scan_fds);
void recording_close(struct recording *r);

/* CLOCK_REALTIME minus CLOCK_MONOTONIC. */
int64_t recording_offset(const struct recording *r);

/* A live process of the model, or NULL. */
const struct process *model_live(struct model *m);

static inline void recording_closep(struct recording *r)
{
	recording_close(r);
}

#endif
