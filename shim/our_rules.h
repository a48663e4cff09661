/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_OUR_RULES_H
#define PORTSHIM_OUR_RULES_H

/*
 * The rules that this process goes by: its session's, or in bare mode those of PORTSHIM_RULES.  Read once,
 * when it joins; never changed after, and copied by fork.
 */

#include <stdatomic.h>
#include <stdbool.h>

#include "common/rules.h"

struct our_rules {
	_Atomic uint8_t calls; /* bit 1 << enum rule_call */
	struct rules rules;
	bool asks_uid;	  /* some rule has a `uid` */
	const char *text; /* as it was read */
	size_t len;
	const char *
		variable; /* "PORTSHIM_RULES=…" as of the start, for exec to carry on; NULL: it was not set */
	bool refused;	  /* it was too long */
	bool of_session;
	const char *exe, *argv;
	size_t argv_len;
};
extern struct our_rules our_rules;

/* The first question of every wrapper that a rule may be about. */
static inline bool our_rules_wants(enum rule_call call)
{
	return __builtin_expect(atomic_load_explicit(&our_rules.calls, memory_order_relaxed) >> call & 1, 0);
}

/* At the start, before the program can change it: the value of PORTSHIM_RULES, or NULL. */
void our_rules_remember(const char *value);

/* Reads and records them; makes system calls.  A session's own rules stand above those of the environment,
 * as a child is not to shake them off. */
void our_rules_load(void);

/* Gives a copy to a uid that this process is about to become: its images could not read ours. */
void our_rules_give(uid_t uid);

#endif
