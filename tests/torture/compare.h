/* SPDX-License-Identifier: MIT */
#ifndef TORTURE_COMPARE_H
#define TORTURE_COMPARE_H

/*
 * The relation against /proc, while nothing moves.  The relation is folded from the records alone:
 * model_settle() without a scan; what /proc/PID/fd says is read here, and only here.
 */

#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "board.h"
#include "model.h"
#include "reader.h"

struct relation {
	struct reader *reader;
	struct model *model;
	size_t folded; /* records */
};

struct count {
	uint64_t holdings;    /* (pid, fd) that are sockets in the kernel */
	uint64_t nameless;    /* of those, accepted ones whose inode no record tells */
	uint64_t twins;	      /* such a one, and elsewhere it has its name: not known to be the same */
	uint64_t partly;      /* of processes that the relation itself calls covered in part: not compared */
	uint64_t differences; /* each was printed */
	uint64_t dropped;     /* records */
};

int relation_open(const char *session, struct relation *r);
void relation_close(struct relation *r);

/* pids: the processes that live, ascending. */
void compare(struct relation *r, const pid_t *pids, size_t n, const struct board *board, struct count *count,
	     FILE *out);

#endif
