/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_KERNEL_H
#define PORTSHIM_KERNEL_H

/*
 * The kernel's own relation, from /proc.  Processes come and go while it is read: a function says
 * -ESRCH for one that is gone, and what it gives otherwise was true at some time during the call.
 * Nothing is printed.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/endpoint.h"

struct kernel_process {
	uint64_t start; /* field 22 of stat: clock ticks since boot; with the pid it names a process */
	char state;	/* 'R', 'S', …; 'Z' and 'X': dead */
	pid_t ppid;
};

/* 0, -ESRCH, or -errno (-EPERM, -EACCES under hidepid). */
int kernel_process(pid_t pid, struct kernel_process *out);

/* A process in a pid namespace below ours: as seen from here, and by itself. */
struct kernel_inner {
	pid_t pid, own;
};

/* All of them that may be seen, for the caller to free: proc_pid_status(5), NSpid.  0 or -errno. */
int kernel_inner_pids(struct kernel_inner **list, size_t *n);

/* Its effective uid; apart, since asking who lives must cost no more than it has to. */
int kernel_uid(pid_t pid, uid_t *out);

/* A process can be asked for, but is one that will not do anything any more. */
static inline int kernel_process_dead(const struct kernel_process *p)
{
	return p->state == 'Z' || p->state == 'X';
}

/* Called for each fd that is a socket, in no order.  Anything but 0 ends the reading. */
typedef int kernel_fd_fn(int32_t fd, uint64_t inode, void *arg);

/* 0, -errno of /proc/PID/fd, or what fn returned. */
int kernel_fds(pid_t pid, kernel_fd_fn *fn, void *arg);

/*
 * Which socket that fd is, asked through a copy of it (pidfd_getfd(2)), which lives as long as the asking:
 * what the process closes meanwhile is closed that much later.  0, -ESRCH, -EBADF, -ENOTSOCK, or -errno
 * (-EPERM: ptrace(2) is not allowed, -ENOSYS).
 */
int kernel_fd_socket(pid_t pid, int32_t fd, uint64_t *cookie, uint64_t *inode);

enum kernel_state { KERNEL_OPEN, KERNEL_BOUND, KERNEL_LISTEN, KERNEL_CONNECTED };

struct kernel_socket {
	uint64_t inode;
	uint16_t family, type;
	enum kernel_state state;
	struct endpoint local, peer; /* family 0: none; port 0 of a bound one is no name */
};

/* The sockets of one network namespace that have an inode, ascending by it. */
struct kernel_net {
	uint64_t netns; /* the namespace's own inode */
	struct kernel_socket *sockets;
	size_t n;
};

/* The network, or the pid, namespace of a process: its inode. */
int kernel_netns(pid_t pid, uint64_t *netns);
int kernel_pidns(pid_t pid, uint64_t *pidns);

/*
 * Reads tcp, tcp6, udp, udp6, raw, raw6 and unix of the namespace that pid is in.  A UNIX name is
 * what /proc shows of it: NULs inside an abstract one read as '@', and one with a newline may be
 * read wrongly; use it to show, not to decide.  0, -ESRCH, -ENOMEM or -errno; a family that the
 * kernel does not have is left out.
 */
int kernel_net(pid_t pid, struct kernel_net *out);
void kernel_net_free(struct kernel_net *net);
const struct kernel_socket *kernel_net_find(const struct kernel_net *net, uint64_t inode); /* NULL: none */

#endif
