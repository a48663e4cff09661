/* SPDX-License-Identifier: MIT */
/*
 * Images: what a process runs, and the exec that may replace it without a word.
 */
#include "model_private.h"

#include <errno.h>
#include <string.h>

#include "common/program.h"

#define COMM_MAX 15 /* as the kernel cuts it */

/* Takes i over, if it is whole. */
static int image_link(struct process *p, struct image *i)
{
	if (i->exe == NULL || i->comm == NULL || i->argv == NULL)
		return -ENOMEM;
	if (p->image != NULL)
		p->image->next = i;
	else
		p->first_image = i;
	p->image = i;
	return 0;
}

static struct image *image_new(struct model *m, uint64_t stamp)
{
	struct image *i = pool_take(&m->processes_pool, sizeof(*i));

	if (i != NULL)
		i->since = stamp;
	return i;
}

/* The next NUL-terminated string of the tail, which may end without its NUL. */
static char *take_string(struct model *m, const char **at, size_t *left)
{
	size_t len = strnlen(*at, *left);
	char *s = model_text(m, *at, len);
	size_t step = len < *left ? len + 1 : len;

	*at += step;
	*left -= step;
	return s;
}

/* argv as one block, its last string terminated. */
static char *take_argv(struct model *m, const char *at, size_t left, size_t *len)
{
	char *argv = pool_take(&m->pool, left + 1);

	if (argv == NULL)
		return NULL;
	memcpy(argv, at, left);
	*len = left > 0 && argv[left - 1] == '\0' ? left : left + (left > 0);
	return argv;
}

int image_of_start(struct model *m, struct process *p, const struct record *r)
{
	struct image *i = image_new(m, r->ev.stamp);
	const char *at = r->tail != NULL ? r->tail : "";
	size_t left = r->tail != NULL ? r->tail_len : 0;

	if (i == NULL)
		return -ENOMEM;
	i->exe = take_string(m, &at, &left);
	i->comm = take_string(m, &at, &left);
	i->argv = take_argv(m, at, left, &i->argv_len);
	return image_link(p, i);
}

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

static int image_of_path(struct model *m, struct process *p, const char *path, uint64_t stamp)
{
	struct image *i = image_new(m, stamp);

	if (i == NULL)
		return -ENOMEM;
	i->exe = model_text(m, path, SIZE_MAX);
	i->comm = model_text(m, base_of(path), COMM_MAX);
	i->argv = model_text(m, "", 0);
	return image_link(p, i);
}

/* The strings stay the parent's. */
int image_of_parent(struct model *m, struct process *p, const struct process *parent, uint64_t stamp)
{
	struct image *i;

	if (parent->image == NULL || p->image != NULL)
		return 0;
	i = image_new(m, stamp);
	if (i == NULL)
		return -ENOMEM;
	i->exe = parent->image->exe;
	i->comm = parent->image->comm;
	i->argv = parent->image->argv;
	i->argv_len = parent->image->argv_len;
	return image_link(p, i);
}

int image_of_exec(struct model *m, struct process *p)
{
	struct process_node *n = process_node(p);
	int err = image_of_path(m, p, n->exec->path, n->exec->stamp);

	if (err == 0)
		n->exec_image = p->image;
	return err;
}

void image_undo_exec(struct process *p)
{
	struct process_node *n = process_node(p);
	struct image *i = p->first_image;

	if (n->exec_image == NULL)
		return;
	if (i == n->exec_image) {
		p->first_image = p->image = NULL;
	} else {
		while (i->next != n->exec_image)
			i = i->next;
		i->next = NULL;
		p->image = i;
	}
	n->exec_image = NULL;
	p->covered = n->covered_before;
}

void exec_forget(struct process *p)
{
	process_node(p)->exec = NULL;
}

int fold_exec(struct model *m, struct process *p, const struct record *r)
{
	struct process_node *n = process_node(p);
	struct exec_try *t;

	stock_finish(m, p);
	exec_forget(p);
	p->unanswered = 0;
	if (r->ev.exec.seen >= PS_SEEN_COUNT)
		return 0;
	if (r->ev.exec.seen == PS_SEEN || r->ev.exec.seen == PS_SEEN_UNKNOWN) {
		p->unanswered = r->ev.stamp;
		return 0;
	}
	t = MODEL_NEW(m, struct exec_try);
	if (t == NULL)
		return -ENOMEM;
	n->exec = t;
	t->seen = r->ev.exec.seen;
	t->stamp = r->ev.stamp;
	t->path = model_text(m, r->tail != NULL ? r->tail : "", r->tail != NULL ? r->tail_len : 0);
	if (t->path != NULL)
		return 0;
	exec_forget(p);
	return -ENOMEM;
}

int fold_exec_closes(struct model *m, struct process *p, const struct record *r)
{
	struct exec_try *t = process_node(p)->exec;

	if (t == NULL || r->ev.fd < 0)
		return 0;
	if (t->n_closes == t->size) {
		size_t size = t->size == 0 ? 8 : 2 * t->size;
		int32_t *closes = pool_take(&m->pool, size * sizeof(*closes));

		if (closes == NULL)
			return -ENOMEM;
		if (t->n_closes > 0)
			memcpy(closes, t->closes, t->n_closes * sizeof(*closes));
		t->closes = closes;
		t->size = size;
	}
	t->closes[t->n_closes++] = r->ev.fd;
	return 0;
}

/*
 * A START after an exec of a program that was not expected to report: either it does report after
 * all, or it ran unseen and then became one that does.
 */
int exec_done(struct model *m, struct process *p, const struct record *start)
{
	struct exec_try *t = process_node(p)->exec;
	const char *exe;
	int err = 0;

	if (t == NULL)
		return 0;
	for (size_t i = 0; i < t->n_closes && err == 0; i++)
		err = fd_put(m, p, t->closes[i], t->stamp, NULL, ROAD_FOUND, NULL);
	exe = model_text(m, start->tail != NULL ? start->tail : "",
			 start->tail != NULL ? start->tail_len : 0);
	if (exe == NULL)
		return -ENOMEM;
	if (err == 0 && strcmp(base_of(exe), base_of(t->path)) != 0)
		err = image_of_path(m, p, t->path, t->stamp);
	exec_forget(p);
	return err;
}
