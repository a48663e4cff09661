/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_UNSHARED_H
#define PORTSHIM_UNSHARED_H

/*
 * What is one process's alone.  A forked child begins with zeros here, whatever road the fork took: the
 * kernel wipes the page (MADV_WIPEONFORK).  So a child that writes to it copies nothing, and its parent goes
 * on writing without a fault.  What a child has to know of its parent stands elsewhere.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* The largest page of the machines that have it: nothing else may stand in it. */
#if defined(__aarch64__)
#define UNSHARED_SIZE 65536
#else
#define UNSHARED_SIZE 4096
#endif

struct unshared {
	_Atomic uint32_t epoch;	  /* 0: forked and nobody has said so, or nothing is recorded */
	_Atomic uint32_t stamps;  /* taken so far, up to a few */
	_Atomic int32_t borrowed; /* n > 0: a child that may put n - 1 more records in its parent's chunk */
	_Atomic bool taking_stock;
	_Atomic uint32_t pid;	  /* 0: not asked for yet */
	_Atomic uint64_t process; /* the id that its records carry */
	_Atomic uint64_t start;	  /* field 22 of /proc/PID/stat; 0: not asked for yet */
	_Atomic uint64_t forks;	  /* ordinal of the next child */
} __attribute__((aligned(UNSHARED_SIZE)));
extern struct unshared unshared;

/* What stands together in one page: the little that every program writes or reads, and it alone.  The order
 * of sections is that of shim/sections.ld. */
#define HOT __attribute__((section(".hot")))

/* Large tables, most of them never touched, are zeros of the file: as .bss they would be a mapping more, to
 * be made by each program and copied by each fork.  It is `unshared` alone that has to be memory of no file.
 */
#define TABLE __attribute__((section(".table")))

/* Has the kernel wipe it from now on; false where it will not, and a fork that no hook sees goes unnoticed.
 */
bool unshared_watch(void);

#endif
