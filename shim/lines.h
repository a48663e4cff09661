/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_LINES_H
#define PORTSHIM_LINES_H

#include <stdbool.h>

/* Looks for a line of a file of /proc, without its newline.  1 found, 0 not, -errno: the file cannot be
 * opened. Ends at a line of over 4 KiB.  Makes system calls; async-signal-safe; errno untouched. */
typedef bool line_matcher(const char *line, const void *arg);
int lines_find(const char *path, line_matcher *matches, const void *arg);

#endif
