/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_BELIEVE_H
#define PORTSHIM_BELIEVE_H

/*
 * What the program is told of a redirected socket: the names that it asked for, in place of those that the
 * kernel has just written.  Called only while mask_any(); thread-safe, async-signal-safe, errno untouched.
 */

#include <stdbool.h>
#include <sys/socket.h>

/* How much room the program gave for an address; known only before the call.  A pointer that cannot be one
 * is for the kernel to refuse: 0. */
socklen_t believe_room(const struct sockaddr *addr, const socklen_t *len);

/* addr and *len as the kernel left them; room: what *len was before. */
void believe_local(int fd, struct sockaddr *addr, socklen_t room, socklen_t *len);
void believe_peer(int fd, struct sockaddr *addr, socklen_t room, socklen_t *len);
void believe_source(int fd, struct sockaddr *addr, socklen_t room, socklen_t *len);

/* The family or the protocol that the program made the socket with; false where the kernel's word stands. */
bool believe_family(int fd, int *family, int *protocol);

/* That option means nothing to the socket of another family that stands for the program's. */
bool believe_swallow(int fd, int level, int name);

#endif
