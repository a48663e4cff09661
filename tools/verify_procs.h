/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_VERIFY_PROCS_H
#define PORTSHIM_VERIFY_PROCS_H

/* Processes that no record tells of, below recorded ones.  Single-threaded; -errno. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "model.h"

#define NS_PER_S 1000000000ll
#define CONFIRM_NS NS_PER_S /* how long a difference must stay as it is */

struct proc {
	pid_t pid, ppid;
	uint64_t start;
	bool dead, recorded, unseen;
};

struct procs {
	struct proc *list; /* ascending by pid */
	size_t n, room;
};

/*
 * Reads /proc anew.  waits: to be called again before what is unseen can be believed.  A child has no record
 * for a moment: one that is young is waited for, but those only that were there at the first look, or it
 * would never end.
 */
int procs_look(struct procs *known, struct model *m, bool first, bool *waits);

/* The command as the kernel has it; "" if that process is gone. */
void procs_command(pid_t pid, char *out, size_t size);

/* A clock in ns. */
int64_t verify_clock(clockid_t clock);

#endif
