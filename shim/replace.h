/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_REPLACE_H
#define PORTSHIM_REPLACE_H

/*
 * A socket of the program put in the place of another, of another family.  What the program has done to the
 * old one comes along: options, flags, close-on-exec, epoll registrations, further descriptors of this
 * process.  Makes system calls; thread-safe; async-signal-safe.
 */

#include <stdint.h>

/* cookie: of fd.  protocol: of the new one, as for socket(2).  0, or -errno and nothing has changed. */
int replace_socket(int fd, uint64_t cookie, int family, int type, int protocol);

#endif
