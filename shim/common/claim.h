/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_CLAIM_H
#define PORTSHIM_CLAIM_H

/*
 * An arena as a process has it, and claiming a chunk of it.  A page is populated before it is first
 * touched, so that a full disk is an error code and never SIGBUS.  Nothing here grows, truncates or
 * unlinks a file.  Thread-safe and async-signal-safe; -errno.
 */

#include <stdbool.h>
#include <stdint.h>

#include "chunk.h"

#define LOG_PATH_MAX 512

struct log_place {
	char path[LOG_PATH_MAX]; /* absolute */
	uint32_t uid;		 /* whose it must be */
	_Atomic uint64_t size;	 /* of the file, once something was claimed; 0 */
	uint64_t dev, ino;	 /* what is claimed from must still be this file */
	_Atomic(struct ps_arena *) header;
	chunk_ref main, ring, spare; /* what it was left with by log_move(), for coming back */
	uint32_t pages;
};

/* Who claims. */
struct claimant {
	uint64_t process;
	uint64_t start; /* 0: not known */
	uint32_t pid;	/* 0: to be asked for */
	bool alone;	/* nobody else can close what is opened meanwhile */
};

/* Makes the place that of the arena at path, which must be a private file of uid.  0 or -ENAMETOOLONG. */
int place_set(struct log_place *place, const char *path, uint32_t uid);

/* Claims so many pages, or what is a whole number of the machine's: -ENOENT, -EACCES, -EPERM (not such
 * a file), -EPROTO (another version), -ENOSPC … */
int place_claim(struct log_place *place, const struct claimant *who, unsigned pages, bool ring,
		chunk_ref *out);

/* In a forked child: closes what claims in flight of the parent's other threads left open here. */
void place_close_fds(const struct log_place *place);

/* CLOCK_MONOTONIC in ns, by the vDSO, which needs no system call. */
uint64_t log_stamp(void);

/* Whether system calls may be made for it, as long as that is cheaper: at first. */
void log_clock_by_call(bool may);

#endif
