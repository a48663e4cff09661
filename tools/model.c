/* SPDX-License-Identifier: MIT */
/*
 * The model as a whole: records in, relation out.  See model_private.h for its parts.
 */
#include "model_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct model *model_new(void)
{
	struct model *m = calloc(1, sizeof(*m));

	if (m == NULL)
		return NULL;
	m->spare_sockets.size = sizeof(struct socket_node);
	m->spare_holders.size = sizeof(struct holder_node);
	m->spare_connections.size = sizeof(struct connection);
	m->spare_entries.size = sizeof(struct holder_entry);
	m->spare_buckets.size = bound_bucket_size();
	m->spare_packed.size = sizeof(struct packed);
	return m;
}

char *model_text(struct model *m, const char *text, size_t len)
{
	size_t n = strnlen(text, len);
	char *copy = pool_take(&m->pool, n + 1);

	return copy != NULL ? memcpy(copy, text, n) : NULL;
}

static void orphan_free(struct orphan *o)
{
	free(o->records);
	free(o);
}

/* The elements of a hash stay linked when its table is gone. */
static void free_orphans(struct model *m)
{
	struct orphan *o = m->orphans, *next;

	HASH_CLEAR(hh, m->orphans);
	for (; o != NULL; o = next) {
		next = o->hh.next;
		orphan_free(o);
	}
	for (o = m->ready; o != NULL; o = next) {
		next = o->ready_next;
		orphan_free(o);
	}
}

void model_free(struct model *m)
{
	if (m == NULL)
		return;
	HASH_CLEAR(hh, m->by_id);
	HASH_CLEAR(hh, m->by_cookie);
	HASH_CLEAR(hh, m->holders);
	HASH_CLEAR(hh, m->failures_by_key);
	HASH_CLEAR(hh, m->counts);
	HASH_CLEAR(hh, m->pids);
	bound_free(m);
	free_orphans(m);
	pool_free(&m->pool);
	pool_free(&m->processes_pool);
	pool_free(&m->holders_pool);
	free(m);
}

static int fold_exit(struct process *p, const struct record *r)
{
	p->exited = true;
	p->exit = r->ev.exit.status;
	p->ended = r->ev.stamp;
	return 0;
}

static int fold_kind(struct model *m, struct process *p, const struct record *r)
{
	switch (r->ev.kind) {
#define KIND(NAME, name) \
	case PS_##NAME:  \
		return fold_##name(m, p, r);
		KIND(START, start)
		KIND(FORK, fork)
		KIND(FORKED, forked)
		KIND(BORN, born)
		KIND(EXEC, exec)
		KIND(STOCK, stock)
		KIND(SET, set)
		KIND(LOCAL, local)
		KIND(PEER, peer)
		KIND(SOCKET, socket)
		KIND(ACT, act)
		KIND(BIND, bind)
		KIND(LISTEN, listen)
		KIND(CONNECT, connect)
		KIND(ACCEPT, accept)
		KIND(COUNT, count)
		KIND(SHUTDOWN, shutdown)
		KIND(OPTION, option)
		KIND(DUP, dup)
		KIND(CLOSE, close)
		KIND(CLOSE_RANGE, close_range)
		KIND(SEND_FD, send_fd)
		KIND(DROPPED, dropped)
#undef KIND
	case PS_EXIT:
		stock_finish(m, p);
		return fold_exit(p, r);
	case PS_EXEC_CLOSES:
		return fold_exec_closes(m, p, r);
	case PS_SANDBOX:
		return fold_sandbox(m, p, r);
	case PS_CREDENTIALS:
		p->uid = r->ev.credentials.uid;
		return 0;
	default: /* EXEC_FAILED: that it came is all it says; PAD, and what a newer shim may write */
		return 0;
	}
}

/* A later record of the process shows that an exec which was to leave it unseen has not happened. */
static void exec_check(struct process *p, const struct ps_event *ev)
{
	const struct process_node *n = process_node(p);

	if (ev->kind == PS_EXEC_CLOSES || ev->kind == PS_START)
		return;
	if (ev->kind == PS_EXEC_FAILED || ev->stamp > n->exec->stamp)
		exec_forget(p);
}

static int exec_answered(struct model *m, struct process *p)
{
	p->unanswered = 0;
	return process_partly(m, p, 0);
}

static int fold(struct model *m, struct process *p, const struct record *r)
{
	struct process_node *n = process_node(p);
	int err;

	if (!n->own) {
		n->own = true;
		p->reader = r->reader;
		err = process_partly(m, p, 0);
		if (err < 0)
			return err;
	}
	/* A counter counts on in its old place: that says nothing of what the process did since. */
	if (r->ev.kind == PS_COUNT)
		return fold_count(m, p, r);
	err = process_restore(m, p);
	if (err < 0)
		return err;
	if (n->exec != NULL)
		exec_check(p, &r->ev);
	if (p->unanswered != 0 && (r->ev.kind == PS_START || r->ev.kind == PS_EXEC_FAILED))
		err = exec_answered(m, p);
	if (err < 0)
		return err;
	if (p->last < r->ev.stamp)
		p->last = r->ev.stamp;
	return fold_kind(m, p, r);
}

/*
 * A process announces itself by a START, or by a BORN if no hook saw the fork.  Any other record of
 * an unknown one is read ahead of its parent's FORK, which was written before it: the chunks are
 * read one after the other while both write on.
 */
static bool announces(const struct ps_event *ev)
{
	if (ev->kind == PS_START)
		return ev->start.parent == 0 || (ev->flags & PS_F_UNSEEN);
	return ev->kind == PS_BORN && (ev->flags & PS_F_UNSEEN);
}

static struct orphan *orphan_make(struct model *m, uint64_t id)
{
	struct orphan *o;

	HASH_FIND(hh, m->orphans, &id, sizeof(id), o);
	if (o != NULL)
		return o;
	o = calloc(1, sizeof(*o));
	if (o == NULL)
		return NULL;
	o->id = id;
	HASH_ADD(hh, m->orphans, id, sizeof(o->id), o);
	if (o->hh.tbl != NULL)
		return o;
	free(o);
	return NULL;
}

static int orphan_add(struct model *m, const struct record *r)
{
	struct orphan *o = orphan_make(m, r->ev.process);

	if (o == NULL)
		return -ENOMEM;
	if (o->n == 0)
		o->first = r->ev.stamp;
	if (o->n == o->size) {
		size_t size = o->size == 0 ? 8 : 2 * o->size;
		struct record *records = realloc(o->records, size * sizeof(*records));

		if (records == NULL)
			return -ENOMEM;
		o->records = records;
		o->size = size;
	}
	o->records[o->n++] = *r;
	return 0;
}

void orphan_release(struct model *m, uint64_t id)
{
	struct orphan *o;

	HASH_FIND(hh, m->orphans, &id, sizeof(id), o);
	if (o == NULL)
		return;
	HASH_DEL(m->orphans, o);
	if (m->last_ready != NULL)
		m->last_ready->ready_next = o;
	else
		m->ready = o;
	m->last_ready = o;
}

uint64_t orphan_stamp(struct model *m, uint64_t id)
{
	struct orphan *o;

	HASH_FIND(hh, m->orphans, &id, sizeof(id), o);
	return o != NULL ? o->first : 0;
}

static struct process *process_of(struct model *m, uint64_t id)
{
	if (m->recent == NULL || m->recent->id != id)
		m->recent = model_process(m, id);
	return m->recent;
}

static struct process *process_make(struct model *m, uint64_t id, uint64_t stamp)
{
	struct process *p = process_of(m, id);

	return p != NULL ? p : process_new(m, id, stamp);
}

/* What becomes ready may make more so: a queue, not a recursion, since chains come from records. */
int orphans_fold(struct model *m)
{
	int err = 0;

	while (m->ready != NULL && err == 0) {
		struct orphan *o = m->ready;

		m->ready = o->ready_next;
		if (m->ready == NULL)
			m->last_ready = NULL;
		for (size_t i = 0; i < o->n && err == 0; i++) {
			struct process *p = process_make(m, o->id, o->records[i].ev.stamp);

			err = p != NULL ? fold(m, p, &o->records[i]) : -ENOMEM;
		}
		orphan_free(o);
	}
	return err;
}

static int fold_record(struct model *m, const struct record *r)
{
	struct process *p;
	int err;

	if (r->ev.process == 0 || r->ev.kind == PS_NO_EVENT || r->ev.kind >= PS_KINDS || r->ev.kind == PS_PAD)
		return 0;
	p = process_of(m, r->ev.process);
	if (p == NULL) {
		if (!announces(&r->ev))
			return orphan_add(m, r);
		orphan_release(m, r->ev.process);
		p = process_new(m, r->ev.process, r->ev.stamp);
		if (p == NULL)
			return -ENOMEM;
	}
	err = fold(m, p, r);
	return err < 0 || m->ready == NULL ? err : orphans_fold(m);
}

int model_add(struct model *m, const struct record *records, size_t n)
{
	int err = 0;

	for (size_t i = 0; i < n && err == 0; i++)
		err = fold_record(m, &records[i]);
	return err;
}

struct process *model_processes(struct model *m)
{
	return m->processes;
}

struct socket *model_sockets(struct model *m)
{
	return m->sockets;
}

struct failure *model_failure(struct model *m, uint64_t process, uint64_t stamp)
{
	const struct failure_key key = { process, stamp };
	struct failure *f;

	HASH_FIND(hh, m->failures_by_key, &key, sizeof(key), f);
	return f;
}

struct socket *model_socket(struct model *m, uint64_t cookie)
{
	return cookie != 0 ? socket_by_cookie(m, cookie) : NULL;
}

const char *taken_reason(enum taken taken)
{
	switch (taken) {
	case TAKEN_UNKNOWN:
		return "by nobody in the record: an outsider, or connections that are left over";
	case TAKEN_UNSHARED:
		return "it did not set SO_REUSEPORT";
	case TAKEN_HERE:
		return "it set SO_REUSEPORT, this socket did not";
	case TAKEN_OTHER_UID:
		return "it is another user's: SO_REUSEPORT works for one user alone";
	default:
		return "";
	}
}

struct failure *model_failures(struct model *m)
{
	return m->failures;
}

struct connection *model_connections(struct model *m)
{
	return m->connections;
}

struct process *model_process(struct model *m, uint64_t id)
{
	unsigned hash = model_hash(&id, sizeof(id));
	struct process **met = &m->processes_met[hash % MET], *p = *met;

	if (p != NULL && p->id == id)
		return p;
	HASH_FIND_BYHASHVALUE(hh, m->by_id, &id, sizeof(id), hash, p);
	if (p != NULL)
		*met = p;
	return p;
}

const char *holder_how(const struct holder *h)
{
	static const char *const words[] = { "created",	 "bound",   "accepted",	 "forked",
					     "received", "fetched", "inherited", "adopted" };
	const struct socket_node *s = (const struct socket_node *)h->socket;

	if (h->how == HOW_CREATED && s->bound_by == h->process)
		return words[HOW_BOUND];
	return words[h->how];
}

bool holder_live(const struct holder *h)
{
	return h->process->live && h->n_fds > 0;
}
