/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_LOG_H
#define PORTSHIM_LOG_H

/*
 * The writing half of the arena: which chunk a record goes to, and what comes after it.  A process has one
 * log; its part that a child does not take over is in `unshared`.
 *
 * Invariants.  A chunk belongs to the process that claimed it and to the children it forks, until
 * they claim their own.  Mapped chunks are never unmapped: a signal handler or another thread may be
 * in the middle of an append.
 *
 * All functions are thread-safe and async-signal-safe, take no lock and call no libc function but
 * clock_gettime(2) and mem*(3).  Only claiming makes system calls.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "claim.h"
#include "unshared.h"

/* What appending came to. */
enum log_result { LOG_OK, LOG_DROPPED, LOG_RECOVERED };

struct log {
	_Atomic uint32_t place;
	_Atomic uint64_t claimant; /* whose first chunk it is: this process, or one that it was forked from */
	_Atomic chunk_ref main;
	_Atomic chunk_ref ring;	   /* the main chunk while that is the first one */
	_Atomic chunk_ref spare;   /* for the main lane: the reserve, or what lost a race */
	_Atomic chunk_ref retired; /* the last one that was full */
	_Atomic uint32_t pages;	   /* size of the next main chunk */

	_Atomic int32_t claiming; /* claims in flight: a child forked now holds their fd */

	_Atomic uint64_t lost;	   /* records dropped since the last one written */
	_Atomic uint32_t back_off; /* appends to skip before the next claim */
	_Atomic uint32_t failures; /* claims failed in a row */
	_Atomic bool frozen;	   /* no system call any more: a sandbox could punish it */

	bool alone; /* no other thread can be there: before log_open(), and for it alone */

	struct log_place places[2]; /* the present one, and the next while log_move() is at work */
};

/* Opens the arena at path, which must be a private file of uid, and claims the first chunk.  0 or
 * -errno: ENOENT, EACCES, EPERM (not such a file), EPROTO (another version), ENOSPC, ENAMETOOLONG … */
int log_open(struct log *log, const char *path, uint32_t uid, uint64_t process);

/* Turns to another arena, as before a change of uid: claims there first, and keeps the old chunks
 * mapped but writes to them no more.  0, or -errno and nothing changed. */
int log_move(struct log *log, const char *path, uint32_t uid);

/* Back to the arena of uid, if that is the one that log_move() left: without a system call, as servers
 * change their uid for each request and back. */
bool log_return(struct log *log, uint32_t uid);

/* The arena that log_move() left is not to be reached any more, not even by a stray pointer. */
void log_leave(struct log *log);

/* In a forked child, before its first record: from now on it is `process`.  Closes what claims in
 * flight of the parent's other threads left open here. */
void log_forked(struct log *log, uint64_t process);

/* Claims ahead what is needed once system calls are forbidden. */
void log_reserve(struct log *log);

/*
 * Appends ev (its header filled in by the caller but for commit, slots and process if that is 0)
 * with tail_len <= PS_TAIL_MAX bytes of tail.  ring: it may be overwritten.  The record's place in
 * the chunk is stored to *place if that is not NULL and the result is not LOG_DROPPED; a counter may
 * be kept there.  LOG_RECOVERED: written, but records before it were lost since the last LOG_OK.
 */
enum log_result log_append(struct log *log, struct ps_event *ev, const void *tail, size_t tail_len, bool ring,
			   struct ps_event **place);

/* Whether the record at that place will be overwritten some day: not while ring records still go to the
 * first chunk, which is kept. */
bool log_in_ring(const struct log *log, const struct ps_event *place);

/* Whose arena is written to: mostly the effective uid. */
uint32_t log_uid(const struct log *log);

/* Fields 22 and 2 of /proc/self/stat, or 0 and "". */
uint64_t log_own_start(char command[static 16]);

#endif
