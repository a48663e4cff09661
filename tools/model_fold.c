/* SPDX-License-Identifier: MIT */
/*
 * Records of processes: how they come about, what image they run, what table they start with.
 */
#include "model_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COVERED_MAX 128
#define LINEAGE_MAX 65536 /* a parent chain longer than this is refused */

#define PARTLY_SHARED (1u << PS_SANDBOX_SHARED)
#define PARTLY_OWN (PARTLY_BLIND | PARTLY_SHARED) /* a forked child begins without */

struct process *process_new(struct model *m, uint64_t id, uint64_t stamp)
{
	struct process_node *n = pool_take(&m->processes_pool, sizeof(*n));
	struct process *p;

	if (n == NULL)
		return NULL;
	p = &n->process;
	p->id = id;
	p->started = p->last = stamp;
	p->covered = "preload";
	p->reader = UINT32_MAX;
	HASH_ADD(hh, m->by_id, id, sizeof(p->id), p);
	if (p->hh.tbl == NULL)
		return NULL;
	n->prev = m->last_process;
	if (m->last_process != NULL)
		m->last_process->next = p;
	else
		m->processes = p;
	m->last_process = p;
	return p;
}

/* Out of the relation, as if it had never been. */
static void process_bury(struct model *m, struct process *p)
{
	struct process_node *n = process_node(p);

	while (p->holders != NULL)
		holder_remove(m, p->holders);
	HASH_DEL(m->by_id, p);
	if (n->prev != NULL)
		n->prev->next = p->next;
	else
		m->processes = p->next;
	if (p->next != NULL)
		process_node(p->next)->prev = n->prev;
	else
		m->last_process = n->prev;
	p->next = NULL;
	p->live = false;
	if (m->recent == p)
		m->recent = NULL;
	m->processes_met[p->hh.hashv % MET] = NULL;
}

static void partly_text(struct process_node *n)
{
	static const struct {
		uint32_t why;
		const char *word;
	} words[] = {
		{ PARTLY_CHROOT, "chroot" },   { PARTLY_NO_NEW_PRIVS, "no_new_privs" },
		{ PARTLY_SECCOMP, "seccomp" }, { PARTLY_NAMESPACE, "namespace" },
		{ PARTLY_SHARED, "shared" },   { PARTLY_BLIND, "fds not read" },
	};
	size_t len = 0;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (n->partly & words[i].why)
			len += (size_t)snprintf(n->covered_text + len, COVERED_MAX - len, "%s%s",
						len == 0 ? "partly: " : ", ", words[i].word);
	}
	if (n->lost > 0)
		(void)snprintf(n->covered_text + len, COVERED_MAX - len, "%s%llu records lost",
			       len == 0 ? "partly: " : ", ", (unsigned long long)n->lost);
}

/* What it is when its image does report. */
static int covered_update(struct model *m, struct process *p)
{
	struct process_node *n = process_node(p);

	p->covered = "preload";
	if (n->partly == 0 && n->lost == 0)
		return 0;
	if (n->covered_text == NULL)
		n->covered_text = pool_take(&m->pool, COVERED_MAX);
	if (n->covered_text == NULL)
		return -ENOMEM;
	partly_text(n);
	p->covered = n->covered_text;
	return 0;
}

int process_partly(struct model *m, struct process *p, uint32_t why)
{
	process_node(p)->partly |= why;
	return covered_update(m, p);
}

/* A parent chain must end: true if p is already above `parent`. */
static bool above(const struct process *p, const struct process *parent)
{
	int i = 0;

	for (; parent != NULL && i < LINEAGE_MAX; i++, parent = parent->parent) {
		if (parent == p)
			return true;
	}
	return i == LINEAGE_MAX;
}

static void set_parent(struct process *p, struct process *parent)
{
	if (p->parent != NULL || parent == NULL || parent == p)
		return;
	if (process_node(p)->is_parent && above(p, parent))
		return;
	p->parent = parent;
	process_node(parent)->is_parent = true;
}

/* The process that a record names as another's parent: made up if no record of it was read. */
static int parent_of_id(struct model *m, uint64_t id, uint64_t stamp, struct process **out)
{
	*out = NULL;
	if (id == 0)
		return 0;
	*out = model_process(m, id);
	if (*out != NULL)
		return 0;
	*out = process_new(m, id, stamp);
	if (*out == NULL)
		return -ENOMEM;
	(*out)->covered = "no: no record of it was read";
	return 0;
}

/* One number may be that of several processes, each in a namespace of its own. */
static bool may_share_pid(struct process *a, struct process *b)
{
	return (process_node(a)->partly | process_node(b)->partly) & PARTLY_NAMESPACE;
}

int process_set_pid(struct model *m, struct process *p, uint32_t pid)
{
	struct pid_entry *e;
	pid_t key = (pid_t)pid;

	if (key <= 0 || p->pid == key)
		return 0;
	p->pid = key;
	HASH_FIND(hh, m->pids, &key, sizeof(key), e);
	if (e == NULL) {
		e = MODEL_NEW(m, struct pid_entry);
		if (e == NULL)
			return -ENOMEM;
		e->pid = key;
		HASH_ADD(hh, m->pids, pid, sizeof(e->pid), e);
		if (e->hh.tbl == NULL)
			return -ENOMEM;
	} else if (e->process->started > p->started && !may_share_pid(p, e->process)) {
		process_node(p)->replaced = true;
		return 0;
	} else if (e->process->pid == key && !may_share_pid(p, e->process)) {
		process_node(e->process)->replaced = true;
	}
	process_node(p)->replaced = false;
	e->process = p;
	return 0;
}

int process_restore(struct model *m, struct process *p)
{
	struct process_node *n = process_node(p);
	int err = 0;

	n->dead = false;
	if (n->exec_image != NULL)
		image_undo_exec(p);
	if (!n->overlaid)
		return 0;
	n->overlaid = false;
	for (uint32_t i = 0; i < n->table.size && err == 0; i++) {
		struct fd_entry *e = &n->table.slots[i];

		if (e->fd >= 0 && e->socket != NULL)
			err = holder_attach(m, e->holder, e->fd);
	}
	return err;
}

/* Taking stock. */

void stock_finish(struct model *m, struct process *p)
{
	struct process_node *n = process_node(p);

	if (!n->stocking)
		return;
	n->stocking = false;
	for (uint32_t i = 0; i < n->table.size; i++) {
		struct fd_entry *e = &n->table.slots[i];

		if (e->fd < 0 || e->socket == NULL || e->stamp >= n->stock_stamp)
			continue;
		holder_detach(m, e->holder, e->fd, n->stock_stamp);
		e->stamp = n->stock_stamp;
		e->socket = NULL;
		e->holder = NULL;
	}
}

int fold_stock(struct model *m, struct process *p, const struct record *r)
{
	struct process_node *n = process_node(p);

	stock_finish(m, p);
	if (r->ev.stamp < n->stock_stamp)
		return 0;
	n->stocking = true;
	n->stock_stamp = r->ev.stamp;
	n->stock_left = r->ev.stock.sockets;
	n->stock_why = r->ev.stock.why;
	if (n->stock_left == 0)
		stock_finish(m, p);
	return 0;
}

/*
 * The environment names a process only as of its last exec; those that it has forked since are on
 * record all the same, and one of them may be what the kernel called the parent.  Others of that pid,
 * from another pid namespace or after an orphan was adopted, are not below the one named.
 */
static struct process *parent_by_pid(struct model *m, const struct process *p, const struct record *r,
				     const struct process *named)
{
	pid_t pid = (pid_t)r->ev.start.ppid;
	struct pid_entry *e;
	struct process *q;

	HASH_FIND(hh, m->pids, &pid, sizeof(pid), e);
	if (named == NULL || e == NULL)
		return NULL;
	q = e->process;
	if (q == p || q->pid != pid || model_process(m, q->id) != q || !above(named, q))
		return NULL;
	return q->ended != 0 && q->ended < r->ev.stamp ? NULL : q;
}

int fold_start(struct model *m, struct process *p, const struct record *r)
{
	const struct ps_start *s = &r->ev.start;
	struct process *parent, *direct = NULL;
	int err;

	stock_finish(m, p);
	err = parent_of_id(m, s->parent, r->ev.stamp, &parent);
	if (err == 0)
		err = exec_done(m, p, r);
	if (err == 0)
		err = image_of_start(m, p, r);
	if (err == 0)
		err = process_set_pid(m, p, s->pid);
	if (err < 0)
		return err;
	if (p->parent == NULL && (r->ev.flags & PS_F_UNSEEN) && parent != NULL && parent != p) {
		direct = parent_by_pid(m, p, r, parent);
		p->parent_unseen = direct == NULL;
	}
	set_parent(p, direct != NULL ? direct : parent);
	p->uid = s->uid;
	process_node(p)->start_flags = r->ev.flags;
	if (s->start != 0)
		p->start = s->start;
	return covered_update(m, p);
}

/* fork. */

/* One descriptor of the parent's, in the child. */
static int fork_entry(struct model *m, struct process *child, const struct fd_entry *e,
		      struct process *parent, uint64_t stamp)
{
	const struct process_node *n = process_node(child);
	const struct fd_entry *there = table_find(&n->table, e->fd);

	/* Newer than the fork; or records of the child were read before this one. */
	if (e->stamp > stamp || (there != NULL && there->stamp > stamp))
		return 0;
	return fd_put(m, child, e->fd, stamp, e->socket, ROAD_FORKED, parent);
}

static int fork_table(struct model *m, struct process *child, struct process *parent, uint64_t stamp)
{
	struct fd_entry *list;
	size_t n;
	int err;

	if (process_node(child)->stock_stamp > stamp)
		return 0; /* read late: the child's own stock says it all */
	err = table_sockets(&process_node(parent)->table, &list, &n);
	if (err == 0)
		err = table_room(m, &process_node(child)->table, n);
	for (size_t i = 0; i < n && err == 0; i++)
		err = fork_entry(m, child, &list[i], parent, stamp);
	free(list);
	return err;
}

static int fork_child(struct model *m, struct process *parent, uint64_t id, uint64_t stamp,
		      struct process **out)
{
	struct process *child = model_process(m, id);
	int err;

	*out = NULL;
	if (child == parent || id == 0)
		return 0;
	if (child == NULL) {
		child = process_new(m, id, stamp);
		if (child == NULL)
			return -ENOMEM;
		child->uid = parent->uid;
	} else if (process_node(child)->forked || (process_node(child)->own && child->parent != parent)) {
		return 0;
	}
	err = process_restore(m, child);
	if (err < 0)
		return err;
	process_node(child)->forked = true;
	if (stamp < child->started)
		child->started = stamp;
	err = process_partly(m, child, process_node(parent)->partly & ~(uint32_t)PARTLY_OWN);
	if (err < 0)
		return err;
	set_parent(child, parent);
	*out = child;
	err = image_of_parent(m, child, parent, stamp);
	return err < 0 ? err : fork_table(m, child, parent, stamp);
}

int fold_fork(struct model *m, struct process *p, const struct record *r)
{
	struct process *child;
	int err;

	stock_finish(m, p);
	err = fork_child(m, p, r->ev.fork.child, r->ev.stamp, &child);
	if (err == 0)
		orphan_release(m, r->ev.fork.child);
	return err;
}

/* The FORK is lost: better late than no table, and not later than what the child did with it. */
static int forked_for_fork(struct model *m, struct process *p, const struct record *r)
{
	struct record fork = *r;
	uint64_t first = orphan_stamp(m, r->ev.forked.child);

	if (first != 0 && first < fork.ev.stamp)
		fork.ev.stamp = first;
	return fold_fork(m, p, &fork);
}

int fold_forked(struct model *m, struct process *p, const struct record *r)
{
	struct process *child = model_process(m, r->ev.forked.child);
	struct process_node *n;
	int err = 0;

	if (child == NULL && r->ev.error == 0)
		err = forked_for_fork(m, p, r);
	if (err < 0)
		return err;
	child = model_process(m, r->ev.forked.child);
	if (child == NULL || child == p || child->parent != p)
		return 0;
	n = process_node(child);
	if (r->ev.error != 0) {
		if (n->forked && (child->pid == 0 || !n->own) && !n->is_parent)
			process_bury(m, child);
		return 0;
	}
	if (child->last < r->ev.stamp)
		child->last = r->ev.stamp;
	err = process_restore(m, child);
	return err < 0 || child->pid != 0 ? err : process_set_pid(m, child, r->ev.forked.pid);
}

int fold_born(struct model *m, struct process *p, const struct record *r)
{
	const struct ps_born *b = &r->ev.born;
	struct process *parent;
	int err = parent_of_id(m, b->parent, r->ev.stamp, &parent);

	if (err < 0)
		return err;
	p->uid = b->uid;
	if (!process_node(p)->forked && parent != NULL && parent != p) {
		p->parent_unseen = (r->ev.flags & PS_F_UNSEEN) != 0;
		set_parent(p, parent);
		err = image_of_parent(m, p, parent, r->ev.stamp);
	}
	return err < 0 ? err : process_set_pid(m, p, b->pid);
}

int fold_sandbox(struct model *m, struct process *p, const struct record *r)
{
	uint32_t what = r->ev.sandbox.what;

	if (what >= PS_SANDBOX_CHROOT && what <= PS_SANDBOX_SHARED)
		return process_partly(m, p, 1u << what);
	return 0;
}

int fold_dropped(struct model *m, struct process *p, const struct record *r)
{
	stock_finish(m, p);
	process_node(p)->lost += r->ev.dropped.records;
	return process_partly(m, p, 0);
}
