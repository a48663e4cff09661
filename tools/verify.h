/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_VERIFY_H
#define PORTSHIM_VERIFY_H

/*
 * The comparison of the relation with the kernel's: one look, of which the caller has gathered all
 * sides.  Asks nothing itself.  Who looks while processes work must look again (verify_live.h): a
 * difference may be one of time alone.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "kernel_diag.h"
#include "model.h"

/* The descriptors of one process that are sockets, ascending by fd. */
struct fd_list {
	struct fd_inode {
		int32_t fd;
		uint64_t inode;
	} * list;
	size_t n, room;
};

int fd_list_add(struct fd_list *l, int32_t fd, uint64_t inode); /* in any order; 0 or -ENOMEM */
void fd_list_sort(struct fd_list *l);
void fd_list_free(struct fd_list *l);

#define VERIFY_WHAT_MAX 192

/* What one side has at a descriptor, in words too: "tcp listen 127.0.0.1:80". */
struct verify_side {
	bool has;
	uint64_t inode; /* 0: not known */
	char what[VERIFY_WHAT_MAX];
};

/* Either side lacks the socket, or the two have different ones, or they differ in what it is. */
struct difference {
	uint64_t process;
	pid_t pid;
	int32_t fd;
	struct verify_side kernel, recorded;
	uint64_t since;	    /* of the recorded holder: tells it from a later one at the same fd */
	uint64_t contender; /* a process whose fd was taken for this socket before; 0: none */
};

/* One look.  Zero it, then verify_begin(). */
struct verify {
	struct difference *list;
	size_t n, room;
	struct verify_link *links; /* which recorded socket is which inode */
	size_t n_links;
	struct verify_link *by_inode, *by_socket; /* hashes of them */
};

/* What came of one process. */
struct verify_count {
	size_t compared; /* descriptors */
	size_t lost;	 /* sockets that only /proc knows, as their records were overwritten */
};

int verify_begin(struct verify *v, struct model *m);

/*
 * Compares p.  before and after: the kernel's word from before and after the record was read: a
 * descriptor counts only where they agree.  net: NULL if it could not be read.  lapped: plain
 * connections of p, or of those it was forked from, may have lost their records (ring lane).
 */
int verify_process(struct verify *v, const struct process *p, const struct fd_list *before,
		   const struct fd_list *after, const struct kernel_diag *net, bool lapped,
		   struct verify_count *out);
void verify_free(struct verify *v);

/* The same difference, seen again. */
bool difference_same(const struct difference *a, const struct difference *b);

static inline void verify_freep(struct verify *v)
{
	verify_free(v);
}

#endif
