/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_VIEW_PRIVATE_H
#define PORTSHIM_VIEW_PRIVATE_H

/* How views are made: values of items, and rows of them. */

#include <errno.h>
#include <string.h>

#include "pool.h"
#include "util.h"
#include "view.h"

static inline void set_null(struct value *out)
{
	out->kind = VALUE_NULL;
}

static inline void set_number(struct value *out, uint64_t n)
{
	out->kind = VALUE_NUMBER;
	out->number = n;
}

static inline void set_number_known(struct value *out, uint64_t n)
{
	if (n != 0)
		set_number(out, n);
}

static inline void set_bool(struct value *out, bool b)
{
	out->kind = VALUE_BOOL;
	out->boolean = b;
}

static inline void set_text(struct value *out, const char *s)
{
	if (s == NULL)
		return;
	out->kind = VALUE_TEXT;
	out->text = s;
	out->len = strlen(s);
}

static inline void set_endpoint(struct value *out, const struct endpoint *ep)
{
	endpoint_text(ep, out->scratch);
	set_text(out, out->scratch);
}

static inline void set_stamp(struct value *out, const struct view *v, uint64_t stamp)
{
	if (stamp == 0)
		return;
	out->kind = VALUE_TIME;
	out->time = stamp + (uint64_t)v->offset;
}

static inline void set_rows(struct value *out, const struct column *columns, const void *first,
			    const void *(*next)(const struct view *, const void *))
{
	out->kind = VALUE_ROWS;
	out->columns = columns;
	out->first = first;
	out->next = next;
}

/* How values of items are got: item is of the view's own type. */
#define GET(what) static void get_##what(const struct view *v, const void *item, struct value *out)

static inline bool is_server_side(const struct socket *s)
{
	return s->state == STATE_LISTEN || s->state == STATE_BOUND;
}

/* view.c: of the holders below a process. */
extern const struct column holder_columns_of_process[];

static inline int add_row(struct view *v, const void *item, size_t parent)
{
	struct view_row *rows = huge_room(v->rows, &v->room, v->n, v->n + 1, sizeof(*rows));

	if (rows == NULL)
		return -ENOMEM;
	v->rows = rows;
	rows[v->n++] = (struct view_row){ item, parent };
	return 0;
}

#endif
