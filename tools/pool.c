/* SPDX-License-Identifier: MIT */
#include "pool.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)
#define HUGE_FROM ((size_t)64 << 10) /* as many small pages cost what a huge one does */
#define SMALL_BLOCK ((size_t)32 << 10)
#define SMALL_BLOCKS 2u /* for those who need no more */
#define ALIGNMENT 8u
#define LEAST 16u /* elements of an array */

static size_t whole_pages(size_t size)
{
	return (size + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
}

void *huge_alloc(size_t size)
{
	void *p;

	if (size < HUGE_FROM)
		return malloc(size);
	if (size > SIZE_MAX - HUGE_PAGE)
		return NULL;
	p = aligned_alloc(HUGE_PAGE, whole_pages(size));
	if (p != NULL)
		(void)madvise(p, whole_pages(size), MADV_HUGEPAGE); /* small ones serve as well */
	return p;
}

void *huge_room(void *array, size_t *room, size_t used, size_t want, size_t size)
{
	size_t n = *room == 0 && want < LEAST ? LEAST : 2 * *room;
	void *p;

	if (want <= *room)
		return array;
	if (n < want)
		n = want;
	if (n > SIZE_MAX / 2 / size)
		return NULL;
	if (n * size >= HUGE_FROM)
		n = whole_pages(n * size) / size;
	p = huge_alloc(n * size);
	if (p == NULL)
		return NULL;
	if (used > 0)
		memcpy(p, array, used * size);
	free(array);
	*room = n;
	return p;
}

struct pool_block {
	struct pool_block *next;
	size_t pad;
};
_Static_assert(sizeof(struct pool_block) % ALIGNMENT == 0, "what follows it is aligned");

static int add_block(struct pool *p, size_t size)
{
	size_t least = sizeof(struct pool_block) + size, whole = SMALL_BLOCK;
	struct pool_block *b;

	if (p->n_blocks >= SMALL_BLOCKS || least > SMALL_BLOCK)
		whole = whole_pages(least);
	b = huge_alloc(whole);
	if (b == NULL)
		return -1;
	b->next = p->blocks;
	p->blocks = b;
	p->n_blocks++;
	p->at = (char *)(b + 1);
	p->end = (char *)b + whole;
	return 0;
}

void *pool_take_raw(struct pool *p, size_t size)
{
	size_t whole = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
	void *taken;

	if (whole < size || whole > SIZE_MAX / 2)
		return NULL;
	if ((size_t)(p->end - p->at) < whole && add_block(p, whole) < 0)
		return NULL;
	taken = p->at;
	p->at += whole;
	return taken;
}

void *pool_take(struct pool *p, size_t size)
{
	void *taken = pool_take_raw(p, size);

	return taken != NULL ? memset(taken, 0, size) : NULL;
}

void pool_free(struct pool *p)
{
	struct pool_block *next;

	for (struct pool_block *b = p->blocks; b != NULL; b = next) {
		next = b->next;
		free(b);
	}
	*p = (struct pool){ 0 };
}

void *slab_take(struct slab *s, struct pool *p)
{
	void *object = s->spare;

	if (object == NULL)
		return pool_take(p, s->size);
	s->spare = *(void **)object;
	return memset(object, 0, s->size);
}

void slab_give(struct slab *s, void *object)
{
	*(void **)object = s->spare;
	s->spare = object;
}
