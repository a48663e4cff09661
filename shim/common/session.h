/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_SESSION_H
#define PORTSHIM_SESSION_H

/*
 * A session is a directory: a file `session` that says what it is, and a file `arena.UID` for each
 * effective uid that records in it; where it has rules, a copy of them as `rules.UID` for each.  Directory
 * 0711 (so that a process which drops its uid still reaches its arena), files 0600.  No malloc, no stdio;
 * -errno; async-signal-safe.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "portshim/event.h"

#define SESSION_PATH_MAX 448
#define SESSION_FILE "session"
#define SESSION_AMBIENT_PREFIX "ambient-" /* and the version, as each reads only its own */
#define SESSION_ARENA_PREFIX "arena."
#define SESSION_RULES_PREFIX "rules."

struct session_info {
	uint32_t version;
	uint64_t size;	  /* of each arena, bytes */
	uint64_t created; /* CLOCK_REALTIME, ns */
	char boot[40];	  /* /proc/sys/kernel/random/boot_id; "" if unreadable */
};

/*
 * The i-th place where the user keeps sessions, from the most wanted on; -ENOENT behind the last.
 * $PORTSHIM_ROOT alone where that is set; else /run/portshim for root, $XDG_RUNTIME_DIR/portshim,
 * /dev/shm/portshim-UID.  `root` and `runtime_dir` are those variables' values or NULL: the caller
 * reads them, as it knows whether the environment can be trusted.
 */
int session_root(unsigned i, uid_t uid, const char *root, const char *runtime_dir,
		 char out[static SESSION_PATH_MAX]);

/* Picks the first of those places that is on tmpfs (with $PORTSHIM_ROOT: that place), makes the
 * directory, checks that it is the user's own. */
int session_root_make(uid_t uid, const char *root, const char *runtime_dir,
		      char out[static SESSION_PATH_MAX]);

/* Makes a session in `dir`, which must not exist or be an empty directory of the user's: -ENOTEMPTY,
 * -EPERM (someone else's), -EMEDIUMTYPE (a file system that cannot carry an arena), -ENOSPC … */
int session_make(const char *dir);

/* Makes a session of a random name under root; its path to out. */
int session_make_new(const char *root, char out[static SESSION_PATH_MAX]);

/* The ambient session under root, made by an atomic rename if there is none. */
int session_ambient(const char *root, char out[static SESSION_PATH_MAX]);

/* Reads and checks the session file: -ENOENT (no session), -EPERM (another owner than root or uid,
 * or open to others), -EPROTO (another version), -EBADMSG (corrupt). */
int session_info(const char *dir, uid_t uid, struct session_info *out);

/* DIR/arena.UID */
int session_arena_path(const char *dir, uid_t uid, char *out, size_t size);

/* Makes the arena of uid, of that size, and gives it to uid; 0 too where it exists already.
 * Refuses (-EFBIG) where RLIMIT_FSIZE would turn growing it into SIGXFSZ. */
int session_arena_make(const char *dir, uid_t uid, uint64_t size);

/* DIR/rules.UID */
int session_rules_path(const char *dir, uid_t uid, char *out, size_t size);

/* Makes the rules of uid, of that text, and gives them to uid; 0 too where they exist already. */
int session_rules_write(const char *dir, uid_t uid, const char *text, size_t len);

#endif
