/* SPDX-License-Identifier: MIT */
/* The table of a process: which socket each fd is, with the stamp of that news. */
#include "model_private.h"

#include <errno.h>
#include <stdlib.h>

#define TABLE_MIN 4u
#define TABLE_MAX (1u << 31)

/* The slot of fd, or the free one where it belongs. */
static struct fd_entry *table_probe(const struct fd_table *t, int32_t fd)
{
	uint32_t i = ((uint32_t)fd * 0x9e3779b1u) >> 7;

	for (;; i++) {
		struct fd_entry *e = &t->slots[i & (t->size - 1)];

		if (e->fd == fd || e->fd == -1)
			return e;
	}
}

struct fd_entry *table_find(const struct fd_table *t, int32_t fd)
{
	struct fd_entry *e;

	if (t->size == 0 || fd < 0)
		return NULL;
	e = table_probe(t, fd);
	return e->fd == fd ? e : NULL;
}

static bool table_full(const struct fd_table *t, size_t entries)
{
	return entries > t->size - t->size / 4;
}

int table_room(struct model *m, struct fd_table *t, size_t entries)
{
	struct fd_table wider = { .size = t->size == 0 ? TABLE_MIN : t->size, .used = t->used };

	while (table_full(&wider, entries) && wider.size < TABLE_MAX)
		wider.size *= 2;
	if (wider.size == t->size || entries == 0)
		return 0;
	wider.slots = pool_take(&m->pool, wider.size * sizeof(*wider.slots));
	if (wider.slots == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < wider.size; i++)
		wider.slots[i].fd = -1;
	for (uint32_t i = 0; i < t->size; i++) {
		if (t->slots[i].fd >= 0)
			*table_probe(&wider, t->slots[i].fd) = t->slots[i];
	}
	*t = wider;
	return 0;
}

struct fd_entry *table_slot(struct model *m, struct fd_table *t, int32_t fd)
{
	struct fd_entry *e = table_find(t, fd);

	if (e != NULL)
		return e;
	if (table_full(t, (size_t)t->used + 1) && table_room(m, t, (size_t)t->used + 1) < 0)
		return NULL;
	e = table_probe(t, fd);
	*e = (struct fd_entry){ .fd = fd };
	t->used++;
	return e;
}

static int by_fd(const void *a, const void *b)
{
	const struct fd_entry *x = a, *y = b;

	return x->fd < y->fd ? -1 : x->fd > y->fd;
}

int table_sockets(const struct fd_table *t, struct fd_entry **out, size_t *n)
{
	struct fd_entry *list;
	size_t count = 0;

	for (uint32_t i = 0; i < t->size; i++)
		count += t->slots[i].fd >= 0 && t->slots[i].socket != NULL;
	*out = NULL;
	*n = 0;
	if (count == 0)
		return 0;
	list = malloc(count * sizeof(*list));
	if (list == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < t->size; i++) {
		if (t->slots[i].fd >= 0 && t->slots[i].socket != NULL)
			list[(*n)++] = t->slots[i];
	}
	qsort(list, count, sizeof(*list), by_fd);
	*out = list;
	return 0;
}
