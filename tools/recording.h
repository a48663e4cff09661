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
	size_t n_records;
	struct record *records; /* if kept: of all readers, by stamp */
	size_t room;
};

/* Opens the session dir, or with NULL all that may be live: `readers` only. */
int recording_open(const char *dir, struct recording *out);

/* Opens all, those that have ended too, of this boot. */
int recording_open_all(struct recording *out);

/* What there is to fold. */
struct survey {
	size_t records;
	uint64_t last; /* stamp */
	bool may_live; /* errs on the side of yes: a pid may be used again */
};

/* all: else it ends where one is found that may live. */
int recording_survey(struct reader *reader, bool all, struct survey *out);

/* What a recording is asked for besides the relation. */
enum recording_flag {
	RECORDING_LIVE_ONLY = 1u << 0, /* sessions without a live process are left out */
	RECORDING_SCAN_FDS = 1u << 1,  /* as in model_settle() */
	RECORDING_KEEP = 1u << 2,      /* `records` too */
	RECORDING_ENDED_TOO = 1u << 3, /* for cmd_read(): if none is named, all, not the live ones */
};

/* Reads what is there, folds it into the model and settles that. */
int recording_fold(struct recording *r, unsigned flags);
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
