/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_GLOB_H
#define PORTSHIM_GLOB_H

/*
 * The shell's patterns as fnmatch(3) knows them in the C locale, without flags: '*', '?', "[...]" and
 * '\'.  On bytes, of any length.  fnmatch itself converts to wide characters, and allocates for it.
 * Async-signal-safe; the time is at most the product of the lengths.
 */

#include <stdbool.h>
#include <stddef.h>

bool glob_match(const char *pattern, size_t pattern_len, const char *s, size_t len);

#endif
