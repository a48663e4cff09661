/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_PATH_H
#define PORTSHIM_PATH_H

/*
 * The UNIX paths that a redirected bind has made: the kernel leaves them behind, so they are removed when
 * their last holder, of whatever process, lets go of the socket.  Thread-safe, async-signal-safe; does
 * nothing in a sandbox.  Cookies as of before the call; 0: no socket.
 */

#include <stdbool.h>
#include <stdint.h>

#include "common/endpoint.h"

/* The socket has just been bound there.  Names without a path are nobody's to remove. */
void path_made(uint64_t cookie, const struct endpoint *path);

/* A socket has one descriptor less in this process; or any number of them have. */
void path_closed(uint64_t cookie);
void path_closed_many(void);

/* Another process may have got the socket. */
void path_sent(uint64_t cookie);

/* The process ends. */
void path_exit(void);

/* Removes a socket of ours at that path that no process has, as a SIGKILL leaves it; true if it was so. */
bool path_take_dead(const struct endpoint *path);

#endif
