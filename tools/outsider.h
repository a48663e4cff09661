/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_OUTSIDER_H
#define PORTSHIM_OUTSIDER_H

/*
 * Who holds an endpoint that nobody in the record does: asked of the kernel when the answer is wanted, and so
 * true of then, not of when a bind failed.  Only the caller's own network namespace is looked at, and what it
 * says is taken for true for a second, as is who lives in which session.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/endpoint.h"
#include "kernel_diag.h"
#include "recording.h"

struct outsider {
	struct endpoint local;
	pid_t pid;	     /* 0: a socket is there, but its holder is not to be seen (another user's) */
	char command[64];    /* "" if not known */
	const char *session; /* another live one of the caller's, that the holder is in; NULL.  Until the next
				call */
};

/* Zeroed at first. */
struct outsiders {
	struct kernel_diag diag;
	int64_t read;		   /* CLOCK_MONOTONIC, ns; 0: never */
	struct recording sessions; /* the live ones; read where there is a holder to be found in them */
	bool sessions_read;
};

/* true and *out, if there is one now.  type: SOCK_STREAM …; 0: any. */
bool outsider_find(struct outsiders *l, const struct endpoint *asked, uint16_t type, struct outsider *out);
void outsiders_free(struct outsiders *l);

#endif
