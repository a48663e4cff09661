/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_TRY_H
#define PORTSHIM_TRY_H

/* A call in words, for `portshim rules --try`: "bind tcp 0.0.0.0:80 exe /usr/sbin/nginx uid 33". */

#include <limits.h>

#include "common/rules.h"

struct attempt {
	struct rule_query query; /* points into the rest, which must stay where it is */
	struct endpoint address;
	const char *exe; /* as given; query.exe is what the kernel would call it, where it is there */
	char real[PATH_MAX];
	char argv[4096];
	const char *wrong, *expected; /* a word of the text, or NULL at its end; and what should be there */
};

/* Takes text apart in place and keeps pointers into it.  0; -EINVAL, and wrong and expected are set. */
int attempt_parse(struct attempt *a, char *text);

#endif
