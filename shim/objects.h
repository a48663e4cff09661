/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_OBJECTS_H
#define PORTSHIM_OBJECTS_H

/*
 * The loaded objects, read from the dynamic linker's own list: what dlsym(RTLD_NEXT) says, but without a
 * lock and without malloc, so in a signal handler too.  glibc's list; with another libc there is none.
 */

#include <link.h>
#include <stdbool.h>

/* What comes behind us in the order of search, as of the start: what dlopen(3) adds later is no part of
 * it, and what is part of it is never unloaded. */
struct objects {
	const struct link_map *first, *last;
};

/* False where there is no list, or it has an object that cannot be read here. */
bool objects_behind(struct objects *out);

/* The definition that dlsym(3) would find, or NULL. */
void *objects_find(const struct objects *o, const char *symbol);

/* Our own place in the list, or NULL. */
const struct link_map *objects_own(void);

#endif
