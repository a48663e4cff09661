/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_SEE_H
#define PORTSHIM_SEE_H

/*
 * What the kernel says of a descriptor.  Thread-safe, async-signal-safe, errno untouched; makes no
 * system call, and says SEEN_NOTHING, once a sandbox could punish it.
 */

#include <stdbool.h>
#include <stdint.h>

#include "emit.h"

enum seen { SEEN_NO_SOCKET, SEEN_SOCKET, SEEN_NOTHING };

/* The cookie alone: what tells one socket from all others. */
enum seen see_cookie(int fd, uint64_t *cookie);

/* All of an identity, of one and the same socket. */
enum seen see(int fd, struct identity *out);

/* An int of SOL_SOCKET, as SO_TYPE; 0 if it cannot be had. */
int see_option(int fd, int name);

/* 0 if it cannot be had. */
uint64_t see_inode(int fd);

/* Whether fd is still the socket of that cookie; closers: self.closers as of before it was read. */
bool see_still(int fd, uint64_t cookie, uint64_t closers);

#endif
