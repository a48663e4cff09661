/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_POOL_H
#define PORTSHIM_POOL_H

/*
 * Memory by the million small objects.  What costs there is the first touch of each page, far more
 * than what is then done with it: so it comes in huge pages where the machine has them, and an object
 * that is not wanted any more is used again while it is warm.
 */

#include <stddef.h>

/* At least size bytes, not zeroed, for free(3).  NULL: no memory. */
void *huge_alloc(size_t size);

/* As array_room(), of an array that huge_alloc() made, or NULL; `used` of its elements are kept. */
void *huge_room(void *array, size_t *room, size_t used, size_t want, size_t size);

/* Takes pieces of any size, and gives all of them back at once.  All zeros is an empty one. */
struct pool {
	struct pool_block *blocks;
	unsigned n_blocks;
	char *at, *end; /* what is left of the newest */
};

void *pool_take(struct pool *p, size_t size); /* zeroed; NULL: no memory */
void *pool_take_raw(struct pool *p, size_t size);
void pool_free(struct pool *p);

/* Objects of one size, of a pool, that are used again; the first word of a free one links it. */
struct slab {
	size_t size;
	void *spare;
};

void *slab_take(struct slab *s, struct pool *p); /* zeroed; NULL: no memory */
void slab_give(struct slab *s, void *object);

#endif
