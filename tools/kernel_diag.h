/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_KERNEL_DIAG_H
#define PORTSHIM_KERNEL_DIAG_H

/*
 * The sockets of a network namespace as NETLINK_SOCK_DIAG tells of them: TCP, UDP and UNIX, with
 * their cookies.  Sockets come and go while it is read; one that came or went may be missing.
 * Nothing is printed.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "kernel.h"

struct diag_socket {
	struct kernel_socket socket;
	uint64_t cookie; /* 0: not known */
};

struct kernel_diag {
	uint64_t netns;
	bool exact;		     /* by sock_diag: UNIX names are as they were bound */
	struct diag_socket *sockets; /* those with an inode, ascending by it */
	size_t n, room;
};

/* Of the namespace that pid is in.  Where that is not the caller's own, or there is no sock_diag,
 * what kernel_net() says, without cookies.  0, -ESRCH, -ENOMEM or -errno. */
int kernel_diag(pid_t pid, struct kernel_diag *out);
void kernel_diag_free(struct kernel_diag *diag);
const struct diag_socket *kernel_diag_find(const struct kernel_diag *diag, uint64_t inode); /* NULL: none */

#endif
