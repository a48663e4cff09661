/* SPDX-License-Identifier: MIT */
/*
 * Images: what a process runs, and the exec that may replace it without a word.
 */
#include "model_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/program.h"

#define COMM_MAX 15 /* as the kernel cuts it */

void image_free(struct image_node *n)
{
	if (!n->borrowed) {
		free(n->image.exe);
		free(n->image.comm);
		free(n->image.argv);
	}
	free(n);
}

/* Takes n over, if it is whole. */
static int image_link(struct process *p, struct image_node *n)
{
	if (n->image.exe == NULL || n->image.comm == NULL || n->image.argv == NULL) {
		image_free(n);
		return -ENOMEM;
	}
	if (p->image != NULL)
		p->image->next = &n->image;
	else
		p->first_image = &n->image;
	p->image = &n->image;
	return 0;
}

static struct image_node *image_new(uint64_t stamp)
{
	struct image_node *n = calloc(1, sizeof(*n));

	if (n != NULL)
		n->image.since = stamp;
	return n;
}

/* The next NUL-terminated string of the tail, which may end without its NUL. */
static char *take_string(const char **at, size_t *left)
{
	size_t len = strnlen(*at, *left);
	char *s = strndup(*at, len);
	size_t step = len < *left ? len + 1 : len;

	*at += step;
	*left -= step;
	return s;
}

/* argv as one block, its last string terminated. */
static char *take_argv(const char *at, size_t left, size_t *len)
{
	char *argv = malloc(left + 1);

	if (argv == NULL)
		return NULL;
	memcpy(argv, at, left);
	argv[left] = '\0';
	*len = left > 0 && argv[left - 1] == '\0' ? left : left + (left > 0);
	return argv;
}

int image_of_start(struct process *p, const struct record *r)
{
	struct image_node *n = image_new(r->ev.stamp);
	const char *at = r->tail != NULL ? r->tail : "";
	size_t left = r->tail != NULL ? r->tail_len : 0;

	if (n == NULL)
		return -ENOMEM;
	n->image.exe = take_string(&at, &left);
	n->image.comm = take_string(&at, &left);
	n->image.argv = take_argv(at, left, &n->image.argv_len);
	return image_link(p, n);
}

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

static int image_of_path(struct process *p, const char *path, uint64_t stamp)
{
	struct image_node *n = image_new(stamp);

	if (n == NULL)
		return -ENOMEM;
	n->image.exe = strdup(path);
	n->image.comm = strndup(base_of(path), COMM_MAX);
	n->image.argv = strdup("");
	return image_link(p, n);
}

/* The strings stay the parent's, which keeps them as long as the model. */
int image_of_parent(struct process *p, const struct process *parent, uint64_t stamp)
{
	struct image_node *n;

	if (parent->image == NULL || p->image != NULL)
		return 0;
	n = image_new(stamp);
	if (n == NULL)
		return -ENOMEM;
	n->borrowed = true;
	n->image.exe = parent->image->exe;
	n->image.comm = parent->image->comm;
	n->image.argv = parent->image->argv;
	n->image.argv_len = parent->image->argv_len;
	return image_link(p, n);
}

int image_of_exec(struct process *p)
{
	struct process_node *n = process_node(p);
	int err = image_of_path(p, n->exec->path, n->exec->stamp);

	if (err == 0)
		n->exec_image = (struct image_node *)p->image;
	return err;
}

void image_undo_exec(struct model *m, struct process *p)
{
	struct process_node *n = process_node(p);
	struct image *i = p->first_image;

	if (n->exec_image == NULL)
		return;
	if (i == &n->exec_image->image) {
		p->first_image = p->image = NULL;
	} else {
		while (i->next != &n->exec_image->image)
			i = i->next;
		i->next = NULL;
		p->image = i;
	}
	n->exec_image->grave = m->image_grave; /* a child's image may have borrowed its strings */
	m->image_grave = n->exec_image;
	n->exec_image = NULL;
	p->covered = n->covered_before;
}

void exec_forget(struct process *p)
{
	struct process_node *n = process_node(p);

	if (n->exec == NULL)
		return;
	free(n->exec->path);
	free(n->exec->closes);
	free(n->exec);
	n->exec = NULL;
}

int fold_exec(struct model *m, struct process *p, const struct record *r)
{
	struct process_node *n = process_node(p);
	struct exec_try *t;

	stock_finish(m, p);
	exec_forget(p);
	if (r->ev.exec.seen == PS_SEEN || r->ev.exec.seen == PS_SEEN_UNKNOWN ||
	    r->ev.exec.seen >= PS_SEEN_COUNT)
		return 0;
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return -ENOMEM;
	n->exec = t;
	t->seen = r->ev.exec.seen;
	t->stamp = r->ev.stamp;
	t->path = strndup(r->tail != NULL ? r->tail : "", r->tail != NULL ? r->tail_len : 0);
	if (t->path != NULL)
		return 0;
	exec_forget(p);
	return -ENOMEM;
}

int fold_exec_closes(struct process *p, const struct record *r)
{
	struct exec_try *t = process_node(p)->exec;

	if (t == NULL || r->ev.fd < 0)
		return 0;
	if (t->n_closes == t->size) {
		size_t size = t->size == 0 ? 8 : 2 * t->size;
		int32_t *closes = realloc(t->closes, size * sizeof(*closes));

		if (closes == NULL)
			return -ENOMEM;
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
	char *exe;
	int err = 0;

	if (t == NULL)
		return 0;
	for (size_t i = 0; i < t->n_closes && err == 0; i++)
		err = fd_put(m, p, t->closes[i], t->stamp, NULL, ROAD_FOUND, NULL);
	exe = strndup(start->tail != NULL ? start->tail : "", start->tail != NULL ? start->tail_len : 0);
	if (exe == NULL)
		return -ENOMEM;
	if (err == 0 && strcmp(base_of(exe), base_of(t->path)) != 0)
		err = image_of_path(p, t->path, t->stamp);
	free(exe);
	exec_forget(p);
	return err;
}
