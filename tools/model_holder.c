/* SPDX-License-Identifier: MIT */
/*
 * Holders: the fds of one process on one socket, made from the tables of descriptors alone, and by which
 * road it came by it.
 */
#include "model_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Holders that are walked along: those of a process mostly lie side by side. */
#define WALK_PROCESS 16u
#define WALK_SOCKET 4u
#define ANCESTORS_MAX 256 /* the chain comes from records */

unsigned model_hash(const void *key, size_t len)
{
	const unsigned char *bytes = key;
	uint64_t h = len;

	for (; len > 0;) {
		size_t n = len < sizeof(uint64_t) ? len : sizeof(uint64_t);
		uint64_t word = 0;

		memcpy(&word, bytes, n);
		h = (h ^ word) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 32;
		bytes += n;
		len -= n;
	}
	return (unsigned)h;
}

/* Both lists are in order of `since`.  Records come in that order, so the walk is short; unknown
 * times (0) go to the front without one. */
static void link_of_socket(struct holder *h)
{
	struct socket *s = h->socket;
	struct holder *before = h->since == 0 ? NULL : s->last_holder;

	while (before != NULL && before->since > h->since)
		before = holder_node(before)->prev_of_socket;
	socket_node(s)->n_holders++;
	h->next_of_socket = before != NULL ? before->next_of_socket : s->holders;
	holder_node(h)->prev_of_socket = before;
	if (before != NULL)
		before->next_of_socket = h;
	else
		s->holders = h;
	if (h->next_of_socket != NULL)
		holder_node(h->next_of_socket)->prev_of_socket = h;
	else
		s->last_holder = h;
}

static void link_behind(struct holder *h, struct holder *before)
{
	struct process *p = h->process;

	process_node(p)->n_holders++;
	h->next_of_process = before != NULL ? before->next_of_process : p->holders;
	holder_node(h)->prev_of_process = before;
	if (before != NULL)
		before->next_of_process = h;
	else
		p->holders = h;
	if (h->next_of_process != NULL)
		holder_node(h->next_of_process)->prev_of_process = h;
	else
		p->last_holder = h;
}

static void link_of_process(struct holder *h)
{
	struct holder *before = h->since == 0 ? NULL : h->process->last_holder;

	while (before != NULL && before->since > h->since)
		before = holder_node(before)->prev_of_process;
	link_behind(h, before);
}

static void unlink_of_socket(struct holder *h)
{
	struct holder *before = holder_node(h)->prev_of_socket;

	socket_node(h->socket)->n_holders--;
	if (before != NULL)
		before->next_of_socket = h->next_of_socket;
	else
		h->socket->holders = h->next_of_socket;
	if (h->next_of_socket != NULL)
		holder_node(h->next_of_socket)->prev_of_socket = before;
	else
		h->socket->last_holder = before;
}

static void unlink_of_process(struct holder *h)
{
	struct holder *before = holder_node(h)->prev_of_process;

	process_node(h->process)->n_holders--;
	if (before != NULL)
		before->next_of_process = h->next_of_process;
	else
		h->process->holders = h->next_of_process;
	if (h->next_of_process != NULL)
		holder_node(h->next_of_process)->prev_of_process = before;
	else
		h->process->last_holder = before;
}

static struct holder *walk_process(const struct process *p, const struct socket *s)
{
	struct holder *h = p->last_holder;

	while (h != NULL && (h->socket != s || !holder_node(h)->newest))
		h = holder_node(h)->prev_of_process;
	return h;
}

static struct holder *walk_socket(const struct process *p, const struct socket *s)
{
	struct holder *h = s->last_holder;

	while (h != NULL && (h->process != p || !holder_node(h)->newest))
		h = holder_node(h)->prev_of_socket;
	return h;
}

struct holder *holder_find(struct model *m, const struct process *p, const struct socket *s)
{
	const void *key[2] = { p, s };
	struct holder_entry *e;

	if (!((const struct socket_node *)s)->many)
		return walk_socket(p, s);
	if (!((const struct process_node *)p)->many)
		return walk_process(p, s);
	HASH_FIND(hh, m->holders, key, sizeof(key), e);
	return e != NULL ? e->holder : NULL;
}

_Static_assert(offsetof(struct holder_entry, socket) == sizeof(void *), "process and socket are the key");

static int holder_hash(struct model *m, struct holder *h)
{
	struct holder_node *n = holder_node(h);
	struct holder_entry *e;

	if (!n->newest || n->entry != NULL || !process_node(h->process)->many ||
	    !socket_node(h->socket)->many)
		return 0;
	e = slab_take(&m->spare_entries, &m->pool);
	if (e == NULL)
		return -ENOMEM;
	*e = (struct holder_entry){ .process = h->process, .socket = h->socket, .holder = h };
	HASH_ADD(hh, m->holders, process, 2 * sizeof(void *), e);
	n->entry = e->hh.tbl != NULL ? e : NULL;
	return n->entry != NULL ? 0 : -ENOMEM;
}

/* h, linked already, is the newest of its process and socket from now on. */
static int holder_newest(struct model *m, struct holder *h)
{
	struct process_node *p = process_node(h->process);
	struct socket_node *s = socket_node(h->socket);
	int err = 0;

	holder_node(h)->newest = true;
	if (!p->many && p->n_holders > WALK_PROCESS) {
		p->many = true;
		for (struct holder *i = p->process.holders; i != NULL && err == 0; i = i->next_of_process)
			err = holder_hash(m, i);
	}
	if (!s->many && s->n_holders > WALK_SOCKET) {
		s->many = true;
		for (struct holder *i = s->socket.holders; i != NULL && err == 0; i = i->next_of_socket)
			err = holder_hash(m, i);
	}
	return err < 0 ? err : holder_hash(m, h);
}

static void holder_not_newest(struct model *m, struct holder *h)
{
	struct holder_entry *e = holder_node(h)->entry;

	holder_node(h)->newest = false;
	if (e == NULL)
		return;
	holder_node(h)->entry = NULL;
	HASH_DEL(m->holders, e);
	slab_give(&m->spare_entries, e);
}

/* How many processes have an fd on a socket decides whether its endpoint is taken. */
static int socket_held(struct model *m, struct socket *s, bool more)
{
	struct socket_node *n = socket_node(s);

	n->held += more ? 1 : -1u;
	/* What was accepted takes none. */
	if (n->held != (more ? 1 : 0) || (s->listener != NULL && n->bucket == NULL))
		return 0;
	return bound_update(m, s);
}

static void connection_of_holder(const struct holder *h, uint64_t closed)
{
	struct connection *c = socket_node(h->socket)->connection;

	if (c != NULL && c->process == h->process)
		c->closed = closed;
}

static int holder_room(struct model *m, struct holder_node *n)
{
	struct holder *h = &n->holder;
	int32_t *fds;

	if (n->size == 0) {
		h->fds = &n->one;
		n->size = 1;
	}
	if (h->n_fds < n->size)
		return 0;
	fds = pool_take(&m->pool, 2 * (size_t)n->size * sizeof(*fds));
	if (fds == NULL)
		return -ENOMEM;
	memcpy(fds, h->fds, h->n_fds * sizeof(*fds));
	h->fds = fds;
	n->size *= 2;
	return 0;
}

/* Where fd is, or belongs. */
static size_t holder_place(const struct holder *h, int32_t fd)
{
	size_t low = 0, high = h->n_fds;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (h->fds[middle] < fd)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int holder_attach(struct model *m, struct holder *h, int32_t fd)
{
	size_t at = holder_place(h, fd);

	if (at < h->n_fds && h->fds[at] == fd)
		return 0;
	if (holder_room(m, holder_node(h)) < 0)
		return -ENOMEM;
	memmove(h->fds + at + 1, h->fds + at, (h->n_fds - at) * sizeof(*h->fds));
	h->fds[at] = fd;
	if (h->n_fds++ > 0)
		return 0;
	h->until = 0;
	connection_of_holder(h, 0);
	return socket_held(m, h->socket, true);
}

void holder_detach(struct model *m, struct holder *h, int32_t fd, uint64_t stamp)
{
	size_t at = holder_place(h, fd);

	if (at == h->n_fds || h->fds[at] != fd)
		return;
	memmove(h->fds + at, h->fds + at + 1, (h->n_fds - at - 1) * sizeof(*h->fds));
	if (--h->n_fds > 0)
		return;
	h->until = stamp;
	connection_of_holder(h, stamp);
	(void)socket_held(m, h->socket, false); /* taking out needs no memory */
}

void holder_remove(struct model *m, struct holder *h)
{
	if (h->n_fds > 0)
		(void)socket_held(m, h->socket, false);
	h->n_fds = 0;
	holder_not_newest(m, h);
	unlink_of_process(h);
	unlink_of_socket(h);
}

int holder_return(struct model *m, struct holder *h, struct holder *before)
{
	link_behind(h, before);
	link_of_socket(h);
	return holder_newest(m, h);
}

/* Two holders of one process turn out to be of one socket: the first road wins. */
static int holder_join(struct model *m, struct holder *h, struct holder *into)
{
	int err = 0;

	for (size_t i = 0; i < h->n_fds && err == 0; i++)
		err = holder_attach(m, into, h->fds[i]);
	into->accepts += h->accepts;
	into->empty_accepts += h->empty_accepts;
	if (into->n_fds == 0 && into->until < h->until)
		into->until = h->until;
	if (h->since < into->since) {
		unlink_of_process(into);
		unlink_of_socket(into);
		into->since = h->since;
		into->how = h->how;
		into->from = h->from;
		link_of_process(into);
		link_of_socket(into);
	}
	return err;
}

int holder_move(struct model *m, struct holder *h, struct socket *to)
{
	struct process_node *p = process_node(h->process);
	struct holder *there = holder_find(m, h->process, to);
	bool newest = holder_node(h)->newest;
	struct holder *target = newest && there != NULL ? there : h;
	int err = 0;

	for (size_t i = 0; i < h->n_fds; i++) {
		struct fd_entry *e = table_find(&p->table, h->fds[i]);

		if (e != NULL && e->holder == h) {
			e->socket = to;
			e->holder = target;
		}
	}
	if (target == there) {
		err = holder_join(m, h, there);
		holder_remove(m, h);
		h->socket = to; /* where a failure still points to it */
		return err;
	}
	holder_not_newest(m, h);
	unlink_of_socket(h);
	if (h->n_fds > 0)
		(void)socket_held(m, h->socket, false);
	h->socket = to;
	link_of_socket(h);
	if (newest)
		err = holder_newest(m, h);
	if (h->n_fds > 0 && err == 0)
		err = socket_held(m, to, true);
	return err;
}

/* A forked child that neither its parent nor itself has confirmed: fork may still fail. */
static bool unborn(const struct process *p)
{
	const struct process_node *n = (const struct process_node *)p;

	return n->forked && !n->own && p->pid == 0;
}

struct process *holder_other(struct socket *s, const struct process *p)
{
	struct process *had = NULL;

	for (struct holder *h = s->holders; h != NULL; h = h->next_of_socket) {
		if (h->process == p || unborn(h->process))
			continue;
		if (h->n_fds > 0)
			return h->process;
		if (had == NULL)
			had = h->process;
	}
	return had;
}

static struct process *ancestor_with(struct model *m, struct process *p, struct socket *s)
{
	struct process *a = p->parent;

	for (int i = 0; a != NULL && i < ANCESTORS_MAX; i++, a = a->parent) {
		if (holder_find(m, a, s) != NULL)
			return a;
	}
	return NULL;
}

/* Who passed it: the last one to send it but p itself, if there is another. */
static struct process *sender_of(struct socket *s, struct process *p)
{
	struct socket_node *n = socket_node(s);

	if (n->senders[0] != NULL && n->senders[0] != p)
		return n->senders[0];
	if (n->senders[1] != NULL)
		return n->senders[1];
	return n->senders[0] != NULL ? p : holder_other(s, p);
}

static bool shares_port(struct process *p, const struct socket *s)
{
	for (struct holder *h = p->last_holder; h != NULL; h = holder_node(h)->prev_of_process) {
		const struct socket *l = h->socket;

		if (h->n_fds > 0 && l != s && l->state == STATE_LISTEN && l->type == s->type &&
		    l->local.family != 0 && l->local.family == s->local.family &&
		    l->local.port == s->local.port &&
		    (s->local.family != AF_UNIX || memcmp(l->local.name, s->local.name, s->local.port) == 0))
			return true;
	}
	return false;
}

/* What a child finds that was in the middle of coming about when it was forked: whoever made it will
 * say so later, or has ended before it could. */
static bool stock_of_fork(const struct process *p)
{
	const struct process_node *n = (const struct process_node *)p;

	return p->parent != NULL &&
	       (n->stock_why == PS_STOCK_CONTENDED || n->stock_why == PS_STOCK_UNSEEN_FORK ||
		(n->stock_why == PS_STOCK_START && (n->start_flags & PS_F_SPAWN)));
}

/* All that this process had was recorded before: what is new is its own, of a thread that an exec has
 * ended before it could say so, or of a record that was lost. */
static bool stock_of_known(const struct process *p)
{
	const struct process_node *n = (const struct process_node *)p;

	return n->stock_why != PS_STOCK_START || (n->start_flags & PS_F_EXECED);
}

/* The road of a socket that is simply there. */
static void road_found(struct model *m, struct holder *h, enum road road)
{
	struct process *p = h->process;
	struct socket *s = h->socket;

	h->from = ancestor_with(m, p, s);
	h->how = HOW_FORKED;
	if (h->from != NULL)
		return;
	if (road == ROAD_STOCK && stock_of_fork(p)) {
		h->from = p->parent;
		return;
	}
	h->from = holder_other(s, p);
	h->how = HOW_INHERITED;
	if (h->from != NULL || (road == ROAD_STOCK && !stock_of_known(p)))
		return;
	h->how = road == ROAD_SCANNED && s->state == STATE_CONNECTED && shares_port(p, s) ? HOW_ACCEPTED
											  : HOW_CREATED;
	if (s->created_by == NULL)
		s->created_by = p;
}

static void road_resolve(struct model *m, struct holder *h, enum road road, struct process *from)
{
	switch (road) {
	case ROAD_CREATED:
		h->how = HOW_CREATED;
		break;
	case ROAD_ACCEPTED:
		h->how = HOW_ACCEPTED;
		break;
	case ROAD_FORKED:
		h->how = HOW_FORKED;
		h->from = from;
		break;
	case ROAD_RECEIVED:
		h->how = HOW_RECEIVED;
		h->from = sender_of(h->socket, h->process);
		break;
	case ROAD_FETCHED:
		h->how = HOW_FETCHED;
		h->from = holder_other(h->socket, h->process);
		break;
	default:
		road_found(m, h, road);
	}
}

/*
 * Is this the period that seemed to have ended?  A close that was recorded and then failed is looked
 * at again (ROAD_FOUND); a stock taken to be incomplete goes on.
 */
static bool resumes(const struct holder *h, enum road road)
{
	if (road == ROAD_FOUND)
		return true;
	return road == ROAD_STOCK && h->until == ((const struct process_node *)h->process)->stock_stamp;
}

static struct holder *holder_make(struct model *m, struct process *p, struct socket *s, enum road road,
				  struct process *from, uint64_t stamp)
{
	struct holder *h = holder_find(m, p, s);
	struct holder_node *n;
	int err;

	if (h != NULL && (h->n_fds > 0 || resumes(h, road)))
		return h;
	n = slab_take(&m->spare_holders, &m->holders_pool);
	if (n == NULL)
		return NULL;
	n->holder.process = p;
	n->holder.socket = s;
	n->holder.since = road == ROAD_SCANNED ? 0 : stamp;
	road_resolve(m, &n->holder, road, from);
	if (h != NULL)
		holder_not_newest(m, h);
	link_of_process(&n->holder);
	link_of_socket(&n->holder);
	err = holder_newest(m, &n->holder);
	return err == 0 ? &n->holder : NULL;
}

/* The socket leaves the entry. */
static int entry_drop(struct model *m, struct fd_entry *e, uint64_t stamp, bool race)
{
	struct holder *h = e->holder;

	e->socket = NULL;
	e->holder = NULL;
	holder_detach(m, h, e->fd, stamp);
	/* Found in /proc before its own record was read: that record has come now. */
	if (race && h->n_fds == 0 && h->since == 0 && socket_node(h->socket)->scanned) {
		holder_remove(m, h);
		if (h->socket->holders == NULL)
			socket_bury(m, h->socket);
		return 0;
	}
	return h->n_fds == 0 ? pack_later(m, h) : 0;
}

int fd_put(struct model *m, struct process *p, int32_t fd, uint64_t stamp, struct socket *s, enum road road,
	   struct process *from)
{
	struct fd_entry *e;
	struct holder *h;

	if (fd < 0)
		return 0;
	e = table_slot(m, &process_node(p)->table, fd);
	if (e == NULL)
		return -ENOMEM;
	if (e->stamp > stamp)
		return 0;
	e->stamp = stamp;
	if (e->socket == s)
		return 0;
	if (e->socket != NULL && entry_drop(m, e, stamp, s != NULL) < 0)
		return -ENOMEM;
	if (s == NULL)
		return 0;
	h = holder_make(m, p, s, road, from, stamp);
	if (h == NULL)
		return -ENOMEM;
	e->socket = s;
	e->holder = h;
	return holder_attach(m, h, fd);
}
