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
 * threads at once, so static storage would be shared, and malloc is out of the question.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/log.h"
#include "common/session.h"

#define ENVIRON_ADDED 6 /* pointers beyond the program's own, with the NULL */
#define ENVIRON_MAX 32768u

struct environ_strings {
	char preload[2 * LOG_PATH_MAX + 1024];
	char session[SESSION_PATH_MAX + 32];
	char process[96];
	char masks[8192];
};

/* Who the new image is; pid 0: a child of parent, not there yet. */
struct environ_identity {
	uint64_t process, start, forks;
	uint32_t pid, parent;
};

/* Number of entries before the NULL. */
size_t environ_count(char *const envp[]);

/* Fills out (environ_count() + ENVIRON_ADDED pointers) for an exec.  id NULL: not recorded, only
 * LD_PRELOAD is seen to.  Returns out; or envp itself where there is nothing to change or our entry
 * does not fit. */
char *const *environ_complete(char *const envp[], bool preload, const struct environ_identity *id, char **out,
			      struct environ_strings *strings);

/* Reads PORTSHIM_PROCESS; false if it is malformed. */
bool environ_identity(const char *value, struct environ_identity *out, bool *sandboxed);

/* The value of NAME in envp, or NULL. */
const char *environ_get(char *const envp[], const char *name);

/* Our entry in an LD_PRELOAD, and its length; NULL if it has none. */
const char *environ_own_entry(const char *preload, size_t *len);

#endif
