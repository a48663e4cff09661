/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_RULESET_H
#define PORTSHIM_RULESET_H

/*
 * The rules that this process goes by: its session's, or in bare mode those of PORTSHIM_RULES.  Read once,
 * when it joins; never changed after, and copied by fork.
 */

#include <stdatomic.h>
#include <stdbool.h>

#include "common/rules.h"

#define RULESET_BARE_MAX 16384u /* PORTSHIM_RULES in bare mode */

struct ruleset {
	_Atomic uint8_t calls; /* bit 1 << enum rule_call */
	struct rules rules;
	const char *text; /* as it was read */
	size_t len;
	const char *variable; /* bare mode: "PORTSHIM_RULES=…", for exec to carry on; else NULL */
	const char *exe, *argv;
	size_t argv_len;
};
extern struct ruleset ruleset;

/* The first question of every wrapper that a rule may be about. */
static inline bool ruleset_wants(enum rule_call call)
{
	return __builtin_expect(atomic_load_explicit(&ruleset.calls, memory_order_relaxed) >> call & 1, 0);
}

/* Reads and records them; makes system calls.  value: of PORTSHIM_RULES, or NULL in a session of `run`. */
void ruleset_load(const char *value);

/* Gives a copy to a uid that this process is about to become: its images could not read ours. */
void ruleset_give(uid_t uid);

#endif
