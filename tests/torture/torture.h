/* SPDX-License-Identifier: MIT */
#ifndef TORTURE_H
#define TORTURE_H

/*
 * Inside one process of a tortured tree.  Operations may fail in any way; whoever has lost a race
 * goes on.  None blocks for long.
 */

#include <stdbool.h>
#include <stdint.h>

#include "board.h"

extern struct board *board;
extern struct slot *me;		      /* of this process; a vfork child has its parent's memory */
extern bool careful;		      /* made by a fork that left libc's locks as they were */
extern _Atomic bool exiting;	      /* a thread is in exit(3) */
extern _Atomic uint32_t in_shell;     /* threads in system(3) or popen(3) */
extern _Atomic uint32_t execing;      /* threads that want descriptors left over for an exec */
extern char own_path[], board_path[]; /* what to exec, with what */

uint32_t dice(uint32_t sides); /* 0 … sides - 1 */
uint64_t dice_seed(void);
void dice_start(uint64_t seed);
int any_fd(void); /* a number; whether it is open is not known */
void trace(const char *name, int a, int b);

/* A slot for a process to come, or NULL: enough of them.  It counts one thread, not parked. */
struct slot *slot_take(void);
void slot_give_back(struct slot *s); /* the process has not come to be */
bool slot_leave(struct slot *s);     /* its process does nothing any more but end; false: known already */
void slot_stay(struct slot *s);	     /* … or does go on */
/* In the new process, whatever made it. */
void slot_enter(struct slot *s, uint64_t seed);

/* Recently made descriptors of a kind: a hint, perhaps stale. */
enum hint { HINT_SOCKET, HINT_LISTENER, HINT_CARRIER, HINTS };
void hint_add(enum hint h, int fd);
int hint_any(enum hint h);

void run_thread(uint32_t steps); /* that many operations, and stands still where asked to */
void leave(bool politely);	 /* the process ends */
void keep_signals(bool blocked); /* over an exec they would kill */
void on_signal(int sig);

struct op {
	const char *name;
	void (*run)(void);
	uint32_t weight;
	uint32_t needs;
	const char *wrapped; /* NULL, or the symbol without whose hook nobody could know */
};
enum { NEED_MALLOC = 1, NEED_NOT_FIRST = 2 };

extern const struct op socket_ops[], fd_ops[], process_ops[]; /* up to a NULL name */

#endif
