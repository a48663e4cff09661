/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_ACT_H
#define PORTSHIM_ACT_H

/*
 * Carrying out the rules on a socket of this process: what comes before the call, and after it.  A
 * wrapper reads
 *
 *     error = act_before(&act, RULE_BIND, fd, addr, len);
 *     ret = error == 0 ? REAL(bind)(fd, act.addr, act.len) : act_refused(error);
 *     … the call's own record, of act.asked_addr …
 *     act_after(&act, ret < 0 ? errno : 0);
 *
 * All are called while attached, are thread-safe and async-signal-safe, and make no system call in a
 * sandbox: what would need one is recorded as not done.
 */

#include <sys/socket.h>

#include "common/endpoint.h"
#include "our_rules.h"

struct act {
	const struct sockaddr *addr; /* what the kernel is to be given */
	socklen_t len;
	const struct sockaddr *asked_addr; /* what the program gave, in memory that can be read */
	int backlog;			   /* listen */
	int flags;			   /* send */
	bool acting;
	bool moved; /* a redirect is under way: asked and real differ */
	bool masked;
	enum rule_call call;
	int fd;
	uint64_t cookie;
	uint16_t family, type, protocol; /* of the socket, as the program made it */
	uint16_t real_family;
	struct endpoint asked, real;
	struct sockaddr_storage asked_room, real_room;
	struct rule_plan plan;
};

/* Plans, and does what comes before the call.  0, or the errno that the program gets instead of a call.
 * addr NULL: listen. */
int act_before(struct act *act, enum rule_call call, int fd, const struct sockaddr *addr, socklen_t len);

/* Copies the program's memory, which may not be there: false then. */
bool act_copy(void *to, const void *from, size_t len);

/* errno and -1 */
int act_refused(int error);

/* After a failed bind: true if it is worth another try, as a dead UNIX socket stood in the way. */
bool act_again(const struct act *act, int error);

/* What the program is told of that errno: the same as where it wanted to go. */
int act_error(const struct act *act, int error);

/* After the call's own record: the real name, the mask. */
void act_after(struct act *act, int error);

/* What the rules say of a connection just accepted; false if it was refused, and is closed.  *closes: it is
 * to be kept close-on-exec, once it is in the table. */
bool act_accepted(int fd, int listener, bool *closes);

#endif
