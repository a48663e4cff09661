/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_VERIFY_LIVE_H
#define PORTSHIM_VERIFY_LIVE_H

/*
 * The relation against the kernel's while processes work.  Each look reads the kernel's descriptors,
 * then the log, then the descriptors again; what differs is looked at again and again, and only what
 * stays just as it is for a second is a difference.  Prints nothing.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "recording.h"
#include "verify.h"

#define COMMAND_MAX 64
#define REASON_MAX 192

/* A live process of which the record does not tell all. */
struct unseen {
	pid_t pid;
	char command[COMMAND_MAX];
	char reason[REASON_MAX];
};

struct found {
	struct difference difference;
	char command[COMMAND_MAX];
};

struct verified {
	struct found *found; /* ascending by pid and fd */
	size_t n_found, found_room;
	struct unseen *unseen; /* ascending by pid */
	size_t n_unseen, unseen_room;
	size_t compared;  /* descriptors */
	size_t processes; /* that were compared */
};

/* r: as recording_open() and recording_fold() left it; it is read on, and opened again (dir: as
 * given to recording_open()) where a ring lost records between two readings.  0 or -errno. */
int verify_live(struct recording *r, const char *dir, struct verified *out);
void verified_free(struct verified *v);

static inline void verified_freep(struct verified *v)
{
	verified_free(v);
}

#endif
