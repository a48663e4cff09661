/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_OTHER_VERSION_H
#define PORTSHIM_OTHER_VERSION_H

/* Life in a session whose log is another version's, and so cannot be read.  Prints nothing. */

#include "sessions.h"

/*
 * As session_live(), by what every version does: who lives in a session has its arena mapped.  Processes
 * whose maps the caller may not read do not count: some such run nearly everywhere, and nothing would ever
 * be taken for ended.  `last` is when the newest of the files changed, as the first write to a page of an
 * arena tells; `records` is 0.
 */
int other_version_live(const char *dir, struct session_life *out);

#endif
