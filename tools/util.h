/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_UTIL_H
#define PORTSHIM_UTIL_H

/* What every file of the tools may want: cleanup attributes and growing arrays. */

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define CLEANUP(fn) __attribute__((cleanup(fn)))
#define CLEANUP_FREE CLEANUP(cleanup_free)
#define CLEANUP_CLOSE CLEANUP(cleanup_close)
#define CLEANUP_DIR CLEANUP(cleanup_dir)
#define CLEANUP_FILE CLEANUP(cleanup_file)

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_dir(DIR **dir)
{
	if (*dir != NULL)
		closedir(*dir);
}

static inline void cleanup_file(FILE **f)
{
	if (*f != NULL)
		fclose(*f);
}

/* Makes room for `want` elements of that size; `*room` is how many there is room for.  The array,
 * moved perhaps, or NULL and everything as it was. */
static inline void *array_room(void *array, size_t *room, size_t want, size_t size)
{
	size_t n = *room > 0 ? *room : 16;
	void *p;

	if (want <= *room)
		return array;
	while (n < want)
		n *= 2;
	p = reallocarray(array, n, size);
	if (p != NULL)
		*room = n;
	return p;
}

#endif
