/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_SESSIONS_H
#define PORTSHIM_SESSIONS_H

/* Finding sessions, and removing ended ones.  Single-threaded; -errno; prints nothing. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/session.h"

struct session {
	char *dir;
	uid_t uid; /* whose it is */
	struct session_info info;
	int error; /* of session_info(): then `info` is empty, or -EPROTO: but for `created` */
};

struct session_list {
	struct session *list; /* newest first */
	size_t n, room;
};

/* The sessions in the caller's places (root and of_all: in everybody's), ended ones too.
 * Directories that are no session are left out, others that cannot be used are listed with their
 * error. */
int session_list_find(bool of_all, struct session_list *out);

/* The one in dir alone. */
int session_list_name(const char *dir, struct session_list *out);
void session_list_free(struct session_list *l);

/* Who lives in a session, if anybody. */
struct session_life {
	pid_t pid;	/* of one of them */
	size_t records; /* 0: nobody has ever lived in it, or it is another version's */
	uint64_t last;	/* when the last record was written, else when the session was made; CLOCK_REALTIME */
};

/* 1: someone lives in it, 0: no one, or -errno.  Of another version's, as other_version_live(). */
int session_live(const char *dir, struct session_life *out);

/*
 * Removes an ended session: -EBUSY if someone lives in it (then his pid in *pid), -ENOTEMPTY if
 * something in it is not portshim's (then its name in odd).  Only a session's own files are ever
 * unlinked.  It is moved aside first (to NAME~PID, where it is a session like any other) and looked
 * at again, so that nobody who joins meanwhile loses his records.
 */
#define ODD_NAME_MAX 256
int session_remove(const char *dir, pid_t *pid, char odd[static ODD_NAME_MAX]);

/* What `run` keeps of the user's ended sessions: the newest so many, for so long. */
#define SESSIONS_KEPT 16
#define SESSIONS_KEPT_DAYS 7
void sessions_tidy(void);

/* Whether a session is so young that its first process may still be about to start. */
bool session_starting(const struct session_info *info);

/* "belongs to someone else; …": cause and next step. */
const char *session_why(const char *dir, int err);

static inline void session_list_freep(struct session_list *l)
{
	session_list_free(l);
}

#endif
