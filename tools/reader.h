/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_READER_H
#define PORTSHIM_READER_H

/*
 * The reading half of the arena.  Trusts nothing: geometry comes from the session's own file, every
 * page is copied by pread and looked at twice, and a record counts only if it was finished and the
 * same both times.  Never locks or disturbs a writer.  Single-threaded.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "portshim/event.h"

/* One finished record, copied out.  Its tail is owned by the reader and valid until reader_close. */
struct record {
	struct ps_event ev; /* commit: as read; stamp: CLOCK_MONOTONIC of the writer */
	const char *tail;   /* not NUL-terminated; NULL if none */
	uint32_t tail_len;
	uint32_t uid;	 /* of the arena it stood in */
	uint64_t place;	 /* equal for equal place in its log: COUNT records are read again in place */
	uint32_t reader; /* whose it is, where several are read as one: for whoever does that to say */
};

struct reader_stats {
	uint64_t chunks, bytes; /* claimed */
	uint64_t torn;		/* begun, never finished */
	uint64_t overwritten;	/* ring records gone */
	uint64_t dropped;	/* records that found no room, as the arenas' headers say */
	uint64_t refused; /* claims of room that got none: of processes that may be missing altogether */
	uint64_t bad;	  /* chunks or records that make no sense */
};

struct reader;

/* Opens a session.  -errno as session_info(), besides -EACCES and the like. */
int reader_open(const char *dir, struct reader **out);
void reader_close(struct reader *r);

/*
 * What is new since the last time, by stamp; COUNT records that were given before are given again.
 * reader_next() gives one after another: 1, or 0 behind the last, or -errno.  *out is valid until the
 * next call, its tail until reader_close.  They must all be taken before it begins again.
 */
int reader_begin(struct reader *r);
int reader_next(struct reader *r, const struct record **out);

/* As if nothing had been read yet. */
void reader_rewind(struct reader *r);

/* The same for those who want to keep them: appended to an array.  Returns how many are new, or -errno. */
ssize_t reader_poll(struct reader *r);
const struct record *reader_records(const struct reader *r, size_t *n); /* all so far */

void reader_stats(const struct reader *r, struct reader_stats *out);

/* The directory, its session's creation time (CLOCK_REALTIME, ns), and CLOCK_REALTIME minus
 * CLOCK_MONOTONIC, for showing stamps as times. */
const char *reader_dir(const struct reader *r);
uint64_t reader_created(const struct reader *r);
int64_t reader_realtime_offset(const struct reader *r);

static inline void reader_closep(struct reader **r)
{
	if (*r != NULL)
		reader_close(*r);
}

#endif
