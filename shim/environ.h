/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_ENVIRON_H
#define PORTSHIM_ENVIRON_H

/*
 * What exec must carry on.  The program's own environment is kept as it is, but for these:
 *
 *   LD_PRELOAD        our entry is put first if it is missing, or taken out where ld.so could only
 *                     complain of it; the program's entries stay
 *   PORTSHIM_SESSION  added if it is missing; one that differs from ours was set on purpose: it stays
 *   PORTSHIM_RULES    added if it is missing, in bare mode
 *   PORTSHIM_MASKS    what the program believes of its redirected sockets: shim/mask.h
 *   PORTSHIM_PROCESS  "ID.PID.START.FORKS" in hex: which process the new image is, and the ordinal of its
 *                     next child.  PID 0 (posix_spawn: not known beforehand): a child of process START.
 *                     An "s" at the end: sandboxed
 *
 * The new array and strings live in the caller's frame: exec is called in vfork children of several
 * threads at once, so static storage would be shared, and malloc is out of the question.  A frame is
 * little too, in a handler on an alternate stack or on a stack that clone() was given: so it is asked
 * first how much is needed.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/log.h"
#include "common/session.h"

#define ENVIRON_ADDED 6 /* pointers beyond the program's own, with the NULL */
#define ENVIRON_MAX 32768u

#define ENVIRON_STRINGS_MAX \
	(ENVIRON_PRELOAD_MAX + ENVIRON_SESSION_MAX + ENVIRON_PROCESS_MAX + ENVIRON_MASKS_MAX)
#define ENVIRON_PRELOAD_MAX (2 * LOG_PATH_MAX + 1024)
#define ENVIRON_SESSION_MAX (SESSION_PATH_MAX + 32)
#define ENVIRON_PROCESS_MAX 96
#define ENVIRON_MASKS_MAX 8192

/* Who the new image is; pid 0: a child of parent, not there yet. */
struct environ_identity {
	uint64_t process, start, forks;
	uint32_t pid, parent;
};

/* Number of entries before the NULL. */
size_t environ_count(char *const envp[]);

/* What becomes of an environment, and the room for it. */
struct environ_plan {
	size_t pointers;			   /* with the NULL; 0: it is left as it is */
	uint16_t preload, session, process, masks; /* bytes of each new string; 0: there is none */
	bool drop_preload; /* the program's own, with what stays of it in the new one */
	const char *rules;
};

/* pointers: room for the program's own and ENVIRON_ADDED.  id NULL: not recorded, only LD_PRELOAD is seen
 * to.  Where our entry does not fit, the environment is left as it is. */
struct environ_plan environ_plan(char *const envp[], size_t pointers, bool preload,
				 const struct environ_identity *id);

static inline size_t environ_strings(const struct environ_plan *plan)
{
	return (size_t)plan->preload + plan->session + plan->process + plan->masks;
}

/* As planned, with the same preload and id; out: the plan's pointers, strings: environ_strings() bytes.
 * Returns out, or envp itself. */
char *const *environ_complete(char *const envp[], const struct environ_plan *plan, bool preload,
			      const struct environ_identity *id, char **out, char *strings);

/* Reads PORTSHIM_PROCESS; false if it is malformed. */
bool environ_identity(const char *value, struct environ_identity *out, bool *sandboxed);

/* The value of NAME in envp, or NULL. */
const char *environ_get(char *const envp[], const char *name);

/* Our entry in an LD_PRELOAD, and its length; NULL if it has none. */
const char *environ_own_entry(const char *preload, size_t *len);

#endif
