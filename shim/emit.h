/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_EMIT_H
#define PORTSHIM_EMIT_H

/*
 * A call -> a record -> one append.  The setters of event.def's fields: nothing else fills them in.
 * All are called while attached, take the stamp from their caller where its order matters, leave
 * errno alone, and are thread-safe and async-signal-safe.  Addresses are the program's memory: they
 * are read only where the kernel has just read or written them.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "fdtab.h"
#include "portshim/event.h"

/* A socket as the kernel names it. */
struct identity {
	uint64_t cookie, accepted;
	uint16_t family, type, protocol;
	bool listening;
};

/* Who we are, as far as it is known without asking. */
struct image {
	char command[16];  /* "": not known */
	char *const *argv; /* NULL: not known */
};

void emit_start(const struct image *image, uint64_t parent, uint32_t flags, bool session_start);
void emit_fork(uint64_t child, uint64_t ordinal, uint32_t flags);
void emit_forked(uint64_t child, pid_t pid, int error);
void emit_born(uint64_t parent, uint64_t ordinal, uint32_t flags);
void emit_exec(uint64_t process, const char *path, uint32_t seen);
void emit_exec_failed(int error);
void emit_exec_closes(uint64_t process, int fd, uint64_t cookie);
void emit_exit(int status);
void emit_credentials(void);
void emit_sandbox(uint32_t what);

void emit_stock(uint64_t stamp, uint32_t why, uint32_t sockets);
/* id NULL: no socket, or with PS_F_UNKNOWN nobody knows. */
void emit_set(uint64_t stamp, int fd, const struct identity *id, uint32_t flags);
void emit_name(enum ps_kind local_or_peer, int fd, uint64_t cookie, const struct sockaddr *addr,
	       socklen_t len, bool ring);
/* ring: may be overwritten.  These two return whether the record will be. */
bool emit_socket(uint64_t stamp, int fd, const struct identity *id, bool pair, bool ring, uint32_t flags);
void emit_no_socket(int family, int type, int protocol, int error);
void emit_bind(int fd, uint64_t cookie, const struct sockaddr *addr, socklen_t len, int error);
void emit_listen(int fd, uint64_t cookie, int backlog, int error);
void emit_connect(int fd, uint64_t cookie, const struct sockaddr *addr, socklen_t len, int error, bool ring);
bool emit_accept(uint64_t stamp, int fd, uint64_t listener, const struct sockaddr *addr, socklen_t len,
		 int error, bool ring, uint32_t flags);
void emit_shutdown(int fd, uint64_t cookie, int how, int error, bool ring);
void emit_option(int fd, uint64_t cookie, int level, int name, int value);
void emit_dup(uint64_t stamp, int fd, int from, uint64_t cookie, uint32_t flags);
void emit_close(uint64_t stamp, int fd, uint64_t cookie, bool ring, uint32_t flags);
void emit_close_range(uint64_t stamp, unsigned first, unsigned last);
void emit_send_fd(uint64_t stamp, int over, int passed, uint64_t cookie);

/* There are rules, and they cannot be used. */
void emit_rules(const char *problem);
/* source: what the rule is called, len bytes. */
void emit_act(int fd, uint64_t cookie, const struct ps_act *act, const char *source, size_t len, int error,
	      bool ring);

/* The counters are in a chunk that is not to be used any more: the next accept begins another. */
void emit_forget_counters(void);

/* Counts one accept of this process on the listener (entry e, may be NULL) in place. */
void emit_count(int fd, struct fd_entry *e, uint64_t cookie, bool found);

#endif
