/* SPDX-License-Identifier: MIT */
#ifndef TORTURE_BOARD_H
#define TORTURE_BOARD_H

/*
 * The memory that a tortured tree and its checker share: who is there, and who stands still.  A file,
 * so that it can be mapped again after an exec.
 *
 * Quiescence.  The phase is even while the tree runs and odd while it is to stand still.  A thread
 * that finds it odd counts itself as parked and does nothing until it is even again; it leaves only
 * after it has seen that once more with itself no longer counted.  The tree stands still when in
 * every slot as many are parked as there are threads, no slot was taken meanwhile, and every process
 * that /proc shows has a slot.  Only a thread that is not parked makes threads, processes and slots.
 */

#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#define SLOTS 512
#define LIVE_MAX 24
#define FD_LIMIT 64
#define PORTS 16
#define TRACES 16384
#define NAMES_MAX 256

struct slot {
	_Atomic uint32_t taken;
	_Atomic uint32_t leaving; /* it does nothing any more but end */
	_Atomic int32_t pid;	  /* 0: not born yet, or never */
	_Atomic uint32_t threads, parked;
};

/* What a process was about to do: for explaining a difference. */
struct trace {
	_Atomic uint64_t stamp; /* CLOCK_MONOTONIC, as the records */
	int32_t pid, tid, a, b;
	char name[16];
};

struct board {
	_Atomic uint32_t phase; /* a futex */
	_Atomic uint32_t end;
	_Atomic uint32_t live;	/* processes that have a slot and are not leaving */
	_Atomic uint64_t taken; /* slots so far: a serial number for whoever takes one */
	uint64_t deadline;	/* CLOCK_MONOTONIC: whoever sees it passed ends */
	char name[64];		/* of this tree's sockets in the abstract namespace */
	char also[NAMES_MAX], without[NAMES_MAX], only[NAMES_MAX]; /* operations, ",a,b," */
	_Atomic uint32_t ports[PORTS]; /* of listeners: 0, or the port and in bit 16 if it is of IPv6 */
	struct slot slots[SLOTS];
	_Atomic uint64_t traces;
	struct trace trace[TRACES];
};

static inline uint64_t board_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

#endif
