/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_PROGRAM_H
#define PORTSHIM_PROGRAM_H

/*
 * Whether a program about to be executed will be seen: asked by `portshim run` before it starts
 * one, and by the exec wrappers at each exec.  Reads the file's first bytes and follows "#!".
 * No malloc, no stdio; async-signal-safe.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum ps_seen {
	PS_SEEN,	 /* a dynamic program of our own kind: the preloaded shim will report */
	PS_SEEN_STATIC,	 /* no PT_INTERP: no dynamic loader reads LD_PRELOAD */
	PS_SEEN_SETUID,	 /* setuid, setgid or file capabilities: LD_PRELOAD is dropped (AT_SECURE) */
	PS_SEEN_CLASS,	 /* another ELF class or machine than the shim's */
	PS_SEEN_LIBC,	 /* another libc's loader (musl) */
	PS_SEEN_LIBRARY, /* the new image could not read the shim's file (chroot, permissions) */
	PS_SEEN_UNKNOWN, /* the file could not be read: said, and taken for seen */
	PS_SEEN_COUNT
};

struct program {
	enum ps_seen seen;
	bool preload; /* LD_PRELOAD does no harm there: false where ld.so would only complain */
	bool fault;   /* path cannot even be read */
};

/*
 * dirfd, path, flags: as for execveat(2); path may be no memory, but where it may be empty.  library: the
 * shim's own file, absolute.  alone: no other thread can close what is opened.  Follows up to
 * four interpreters.  Never fails: what cannot be read is PS_SEEN_UNKNOWN, and exec itself will say
 * why.
 */
struct program program_look(int dirfd, const char *path, int flags, const char *library, bool alone);

/* Whether an entry of LD_PRELOAD must stand before ours: a sanitizer's runtime refuses to run where
 * another library comes before it. */
bool preload_goes_first(const char *entry, size_t len);

/* "static: it has no dynamic loader that would load the shim", …; "" for PS_SEEN. */
const char *program_reason(enum ps_seen seen);

#endif
