/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_MOVED_H
#define PORTSHIM_MOVED_H

/* Where a bind that a rule moved, and that failed, was moved to: worked out from the session's rules, as a
 * socket without a name leaves none to record.  Prints nothing. */

#include <stdbool.h>
#include <sys/types.h>

#include "common/endpoint.h"

/* dir: the session's; uid: whose rules; source: what the rule is called.  False: it cannot be told, as rules
 * from PORTSHIM_RULES alone are in no session. */
bool moved_to(const char *dir, uid_t uid, const char *source, const struct endpoint *asked,
	      struct endpoint *out);

#endif
