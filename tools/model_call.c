/* SPDX-License-Identifier: MIT */
/*
 * Records of calls on sockets and descriptors.
 */
#include "common/rules.h"
#include "model_private.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

static struct endpoint address_of(const struct record *r, const struct ps_addr *addr)
{
	struct endpoint ep;

	addr_unpack(addr, r->tail != NULL ? r->tail : "", r->tail != NULL ? r->tail_len : 0, &ep);
	return ep;
}

/* Told by an ACT right before: the call was never made. */
static bool was_denied(struct process *p, int32_t fd)
{
	const struct process_node *n = process_node(p);

	return n->act_rule != NULL && n->act_fd == fd && n->act_denied;
}

/* ACT comes right before the record of its call; the rule is handed on to what becomes of that. */
static const char *take_rule(struct process *p, int32_t fd)
{
	struct process_node *n = process_node(p);
	const char *rule = n->act_fd == fd ? n->act_rule : NULL;

	n->act_rule = NULL;
	return rule;
}

/* Where it was moved to is more to know than what else was done to it, then or later. */
static void keep_rule(struct process *p, struct socket *s, int32_t fd)
{
	const char *rule = take_rule(p, fd);

	if (rule == NULL || (s->rule != NULL && s->asked != NULL && !process_node(p)->act_moved))
		return;
	s->rule = rule;
}

int fold_act(struct model *m, struct process *p, const struct record *r)
{
	struct process_node *n = process_node(p);
	bool further = n->act_rule != NULL && n->act_fd == r->ev.fd;
	struct socket *s;
	int err = socket_at(m, p, r->ev.fd, r->ev.act.cookie, r->ev.stamp, &s);

	if (err < 0 || s == NULL || r->tail == NULL || r->tail_len == 0)
		return err;
	if (r->ev.act.action == ACT_REDIRECT && r->ev.error == 0)
		socket_node(s)->moved = true;
	if (r->ev.act.action == ACT_REUSEPORT && r->ev.error == 0) {
		s->reuseport = true;
		s->reuseaddr = s->reuseaddr || s->type == SOCK_STREAM;
	}
	n->act_reuseport =
		(further && n->act_reuseport) || (r->ev.act.action == ACT_REUSEPORT && r->ev.error == 0);
	n->act_fd = r->ev.fd;
	if (further && n->act_moved)
		return 0;
	n->act_moved = r->ev.act.action == ACT_REDIRECT;
	n->act_denied = r->ev.act.action == ACT_DENY && r->ev.error == 0;
	n->act_rule = model_text(m, r->tail, r->tail_len);
	return n->act_rule != NULL ? 0 : -ENOMEM;
}

/* What ACT announced is over with the call that it was about. */
static bool take_moved(struct socket *s)
{
	bool moved = s != NULL && socket_node(s)->moved;

	if (moved)
		socket_node(s)->moved = false;
	return moved;
}

/* What the program asked for, if it was moved elsewhere. */
static int take_asked(struct model *m, struct socket *s, const struct endpoint *asked,
		      const struct endpoint **out)
{
	struct endpoint *copy;

	*out = NULL;
	if (!take_moved(s))
		return 0;
	copy = MODEL_NEW(m, struct endpoint);
	if (copy == NULL)
		return -ENOMEM;
	*copy = *asked;
	*out = asked->family != 0 ? copy : NULL;
	return 0;
}

static int failure_add(struct model *m, struct process *p, const struct record *r,
		       const struct endpoint *asked, struct holder *stood_in_the_way, bool moved)
{
	struct failure *f = MODEL_NEW(m, struct failure);

	if (f == NULL)
		return -ENOMEM;
	f->process = p;
	f->stamp = r->ev.stamp;
	f->kind = r->ev.kind;
	f->error = r->ev.error;
	f->fd = r->ev.fd;
	if (asked != NULL)
		f->asked = *asked;
	f->moved = moved;
	f->denied = was_denied(p, r->ev.fd);
	f->stood_in_the_way = f->denied ? NULL : stood_in_the_way;
	if (r->ev.kind == PS_BIND && r->ev.error == EADDRINUSE) {
		const struct socket *s = socket_by_cookie(m, r->ev.bind.cookie);

		f->type = s != NULL ? s->type : 0;
		/* Where it was moved to, and who is there, no record tells: nothing is better than another's.
		 */
		f->taken = moved || f->denied ? TAKEN_NOT : bound_how_taken(p, s, stood_in_the_way);
	}
	f->rule = take_rule(p, r->ev.fd);
	f->key = (struct failure_key){ p->id, f->stamp };
	HASH_ADD(hh, m->failures_by_key, key, sizeof(f->key), f);
	if (m->last_failure != NULL)
		m->last_failure->next = f;
	else
		m->failures = f;
	m->last_failure = f;
	return f->hh.tbl != NULL ? 0 : -ENOMEM;
}

/* Of a kind, where both sides know it. */
static bool like(const struct socket *s, uint16_t family, uint16_t type)
{
	return (s->family == 0 || family == 0 || s->family == family) &&
	       (s->type == 0 || type == 0 || s->type == type);
}

#define LINEAGE_MAX 256

/* The nameless socket that p, or an ancestor, accepted at that time; *out NULL: there is none. */
static int socket_accepted(struct model *m, struct process *p, uint64_t stamp, struct socket **out)
{
	for (int i = 0; p != NULL && i < LINEAGE_MAX; i++, p = p->parent) {
		int err = unpack_opened(m, p, stamp);

		if (err < 0)
			return err;
		for (struct holder *h = p->holders; h != NULL; h = h->next_of_process) {
			if (h->socket->cookie != 0 || h->socket->created != stamp)
				continue;
			*out = h->socket;
			return 0;
		}
	}
	return 0;
}

/*
 * The socket that SET says fd is.  Without the cookie of what was there it may be the same, and is
 * if the record says so, if it was to be found there by a stock, or if nobody knows the new cookie.
 */
static int socket_of_set(struct model *m, struct process *p, const struct record *r, struct socket **out)
{
	const struct ps_set *set = &r->ev.set;
	struct fd_entry *e = table_find(&process_node(p)->table, r->ev.fd);
	struct socket *there = e != NULL ? e->socket : NULL, *accepted = NULL;
	bool same = r->ev.flags & (PS_F_SAME | PS_F_STOCK);

	if (set->accepted != 0 && socket_accepted(m, p, set->accepted, &accepted) < 0)
		return -ENOMEM;
	if (accepted != NULL)
		return socket_identify(m, accepted, set->cookie, out);
	if (there != NULL && there->cookie == 0 && e->stamp <= r->ev.stamp &&
	    like(there, set->family, set->type) && (same || socket_by_cookie(m, set->cookie) == NULL))
		return socket_identify(m, there, set->cookie, out);
	*out = socket_make(m, set->cookie, r->ev.stamp);
	return *out != NULL ? 0 : -ENOMEM;
}

static enum road road_of_set(uint32_t flags)
{
	if (flags & PS_F_RECEIVED)
		return ROAD_RECEIVED;
	if (flags & PS_F_FETCHED)
		return ROAD_FETCHED;
	return flags & PS_F_STOCK ? ROAD_STOCK : ROAD_FOUND;
}

static int set_socket(struct model *m, struct process *p, const struct record *r)
{
	const struct ps_set *set = &r->ev.set;
	struct socket *s;
	int err = socket_of_set(m, p, r, &s);

	if (err == 0)
		err = socket_fill(m, s, set->family, set->type, set->protocol);
	if (err < 0)
		return err;
	socket_node(s)->scanned = false;
	if (set->listening)
		s->state = STATE_LISTEN;
	return fd_put(m, p, r->ev.fd, r->ev.stamp, s, road_of_set(r->ev.flags), NULL);
}

int fold_set(struct model *m, struct process *p, const struct record *r)
{
	struct process_node *n = process_node(p);
	bool unknown = r->ev.flags & PS_F_UNKNOWN;
	int err = unknown ? process_partly(m, p, PARTLY_BLIND) : 0;

	if (err < 0)
		return err;
	if (unknown || r->ev.set.cookie == 0)
		err = fd_put(m, p, r->ev.fd, r->ev.stamp, NULL, ROAD_FOUND, NULL);
	else
		err = set_socket(m, p, r);
	if ((r->ev.flags & PS_F_STOCK) && n->stocking && --n->stock_left == 0)
		stock_finish(m, p);
	return err;
}

/* PS_F_SAME: told again, perhaps because the first record is about to be overwritten. */
static int socket_of_socket(struct model *m, struct process *p, const struct record *r, struct socket **out)
{
	uint64_t cookie = r->ev.socket.cookie;

	if (r->ev.flags & PS_F_SAME) {
		int err = socket_at(m, p, r->ev.fd, cookie, r->ev.stamp, out);

		if (err < 0 || *out != NULL)
			return err;
	}
	*out = socket_make(m, cookie, r->ev.stamp);
	return *out != NULL ? 0 : -ENOMEM;
}

int fold_socket(struct model *m, struct process *p, const struct record *r)
{
	const struct ps_socket *e = &r->ev.socket;
	bool known = e->cookie != 0 && socket_by_cookie(m, e->cookie) != NULL;
	const struct fd_entry *there;
	struct socket *s;
	int err;

	if (r->ev.error != 0)
		return failure_add(m, p, r, NULL, NULL, false);
	err = socket_of_socket(m, p, r, &s);
	if (err == 0)
		err = socket_fill(m, s, e->family, e->type, e->protocol);
	if (err < 0)
		return err;
	socket_node(s)->scanned = false;
	if (e->pair && s->state == STATE_OPEN) {
		s->pair = true;
		s->state = STATE_CONNECTED;
	}
	if (!socket_node(s)->born) {
		socket_node(s)->born = true;
		s->created_by = p;
		s->created = r->ev.stamp;
	}
	/* Told again: whether fd is still it, the table knows better, if what it knows is of the socket's own
	 * time.  Else this record is the first to say who has it, and the end of what was there before is
	 * overwritten. */
	there = table_find(&process_node(p)->table, r->ev.fd);
	if (known && (r->ev.flags & PS_F_SAME) && there != NULL && there->stamp >= socket_node(s)->first_seen)
		return 0;
	return fd_put(m, p, r->ev.fd, r->ev.stamp, s, ROAD_CREATED, NULL);
}

int fold_bind(struct model *m, struct process *p, const struct record *r)
{
	struct endpoint asked = address_of(r, &r->ev.bind.address);
	struct socket *s;
	bool reuseport;
	int err = socket_at(m, p, r->ev.fd, r->ev.bind.cookie, r->ev.stamp, &s);

	if (err < 0)
		return err;
	if (r->ev.error != 0) {
		bool moved = take_moved(s);

		return failure_add(m, p, r, &asked,
				   r->ev.error == EADDRINUSE && s != NULL && !moved
					   ? bound_in_the_way(m, s, &asked)
					   : NULL,
				   moved);
	}
	if (s == NULL)
		return 0;
	if (s->state == STATE_OPEN)
		s->state = STATE_BOUND;
	s->bound_at = r->ev.stamp;
	socket_node(s)->bound_by = p;
	socket_node(s)->port_chosen = asked.family != AF_UNIX && asked.family != 0 && asked.port == 0;
	err = take_asked(m, s, &asked, &s->asked);
	if (err < 0)
		return err;
	reuseport = process_node(p)->act_reuseport && process_node(p)->act_fd == r->ev.fd;
	process_node(p)->act_reuseport = false;
	keep_rule(p, s, r->ev.fd);
	err = socket_set_local(m, s, &asked);
	if (reuseport)
		s->unshared = bound_beside(m, s);
	return err;
}

static bool has_name(const struct endpoint *ep)
{
	return ep->family != 0 && ep->port != 0;
}

int fold_local(struct model *m, struct process *p, const struct record *r)
{
	struct endpoint local = address_of(r, &r->ev.local.address);
	struct socket *s;
	int err = socket_at(m, p, r->ev.fd, r->ev.local.cookie, r->ev.stamp, &s);

	if (err < 0 || s == NULL || local.family == 0)
		return err;
	if (s->state == STATE_OPEN && has_name(&local))
		s->state = STATE_BOUND;
	return socket_set_local(m, s, &local);
}

int fold_peer(struct model *m, struct process *p, const struct record *r)
{
	struct endpoint peer = address_of(r, &r->ev.peer.address);
	struct socket *s;
	int err = socket_at(m, p, r->ev.fd, r->ev.peer.cookie, r->ev.stamp, &s);

	if (err < 0 || s == NULL || peer.family == 0)
		return err;
	s->peer = peer;
	if (s->state != STATE_LISTEN)
		s->state = STATE_CONNECTED;
	return 0;
}

int fold_listen(struct model *m, struct process *p, const struct record *r)
{
	struct socket *s;
	int err = socket_at(m, p, r->ev.fd, r->ev.listen.cookie, r->ev.stamp, &s);

	if (err < 0)
		return err;
	if (r->ev.error != 0)
		return failure_add(m, p, r, s != NULL ? &s->local : NULL,
				   r->ev.error == EADDRINUSE && s != NULL ? bound_in_the_way(m, s, &s->local)
									  : NULL,
				   false);
	if (s == NULL)
		return 0;
	keep_rule(p, s, r->ev.fd);
	s->state = STATE_LISTEN;
	s->backlog = r->ev.listen.backlog;
	return 0;
}

/* connect(2) with AF_UNSPEC, and the end of a listener by shutdown(2): the kernel gives up a port that it
 * chose itself (net/ipv4/tcp.c, tcp_disconnect), though getsockname(2) still tells it. */
static int dissolve(struct model *m, struct socket *s)
{
	static const struct endpoint none;
	bool chosen = socket_node(s)->port_chosen || (s->bound_at == 0 && socket_node(s)->born);

	s->peer = none;
	s->state = !chosen && has_name(&s->local) ? STATE_BOUND : STATE_OPEN;
	return chosen ? socket_set_local(m, s, &none) : 0;
}

int fold_connect(struct model *m, struct process *p, const struct record *r)
{
	struct endpoint peer = address_of(r, &r->ev.connect.address);
	struct socket *s;
	int err = socket_at(m, p, r->ev.fd, r->ev.connect.cookie, r->ev.stamp, &s);

	if (err < 0)
		return err;
	if (r->ev.error != 0 && r->ev.error != EINPROGRESS)
		return failure_add(m, p, r, &peer, NULL, take_moved(s));
	if (s == NULL)
		return 0;
	err = take_asked(m, s, &peer, &s->peer_asked);
	if (err < 0)
		return err;
	keep_rule(p, s, r->ev.fd);
	if (peer.family == AF_UNSPEC)
		return dissolve(m, s);
	s->peer = peer;
	s->state = STATE_CONNECTED;
	return 0;
}

int connection_add(struct model *m, struct process *p, struct socket *s, uint64_t opened)
{
	struct connection *c = slab_take(&m->spare_connections, &m->pool);

	if (c == NULL)
		return -ENOMEM;
	c->process = p;
	c->listener = s->listener;
	c->socket = s;
	c->peer = s->peer;
	c->opened = opened;
	socket_node(s)->connection = c;
	c->prev = m->last_connection;
	if (m->last_connection != NULL)
		m->last_connection->next = c;
	else
		m->connections = c;
	m->last_connection = c;
	return 0;
}

int fold_accept(struct model *m, struct process *p, const struct record *r)
{
	struct socket *listener = NULL, *s;
	struct fd_entry *e;
	int err;

	/* Said again because it escapes: new only where the ring has lost the first record. */
	if ((r->ev.flags & PS_F_SAME) && table_find(&process_node(p)->table, r->ev.fd) != NULL)
		return 0;
	if (r->ev.accept.listener != 0) {
		listener = socket_make(m, r->ev.accept.listener, r->ev.stamp);
		if (listener == NULL)
			return -ENOMEM;
	}
	if (r->ev.error != 0)
		return failure_add(m, p, r, listener != NULL ? &listener->local : NULL, NULL, false);
	s = socket_new(m, r->ev.stamp);
	if (s == NULL)
		return -ENOMEM;
	s->listener = listener;
	s->peer = address_of(r, &r->ev.accept.address);
	s->state = STATE_CONNECTED;
	s->created_by = p;
	s->created = r->ev.stamp;
	socket_node(s)->born = true;
	if (listener != NULL) {
		s->local = listener->local;
		socket_like(s, listener);
	}
	err = connection_add(m, p, s, r->ev.stamp);
	if (err == 0)
		err = fd_put(m, p, r->ev.fd, r->ev.stamp, s, ROAD_ACCEPTED, NULL);
	e = table_find(&process_node(p)->table, r->ev.fd);
	if (err == 0 && e != NULL && e->socket != s) /* read late: it is gone already */
		socket_node(s)->connection->closed = e->stamp;
	return err;
}

/* A listening TCP socket that is shut for reading stops listening; others stay as they are. */
int fold_shutdown(struct model *m, struct process *p, const struct record *r)
{
	int32_t how = r->ev.shutdown.how;
	struct socket *s;
	int err = socket_at(m, p, r->ev.fd, r->ev.shutdown.cookie, r->ev.stamp, &s);

	if (err == 0 && s != NULL && r->ev.error == 0 && (how == SHUT_RD || how == SHUT_RDWR) &&
	    s->state == STATE_LISTEN && s->family != AF_UNIX)
		return dissolve(m, s);
	return err;
}

int fold_option(struct model *m, struct process *p, const struct record *r)
{
	const struct ps_option *o = &r->ev.option;
	struct socket *s;
	int err = socket_at(m, p, r->ev.fd, o->cookie, r->ev.stamp, &s);

	if (err < 0 || s == NULL || r->ev.error != 0)
		return err;
	if (o->level == SOL_SOCKET && o->name == SO_REUSEADDR)
		s->reuseaddr = o->value != 0;
	else if (o->level == SOL_SOCKET && o->name == SO_REUSEPORT)
		s->reuseport = o->value != 0;
	else if (o->level == IPPROTO_IPV6 && o->name == IPV6_V6ONLY)
		socket_node(s)->v6only = o->value != 0;
	return 0;
}

int fold_dup(struct model *m, struct process *p, const struct record *r)
{
	struct socket *s;
	int err;

	if (r->ev.error != 0)
		return 0;
	err = socket_at(m, p, r->ev.dup.from, r->ev.dup.cookie, r->ev.stamp, &s);
	return err < 0 ? err : fd_put(m, p, r->ev.fd, r->ev.stamp, s, ROAD_FOUND, NULL);
}

int fold_close(struct model *m, struct process *p, const struct record *r)
{
	return fd_put(m, p, r->ev.fd, r->ev.stamp, NULL, ROAD_FOUND, NULL);
}

int fold_close_range(struct model *m, struct process *p, const struct record *r)
{
	const struct fd_table *t = &process_node(p)->table;
	int err = 0;

	if (r->ev.error != 0)
		return 0;
	for (uint32_t i = 0; i < t->size && err == 0; i++) {
		const struct fd_entry *e = &t->slots[i];

		if (e->fd >= 0 && (uint32_t)e->fd >= r->ev.close_range.first &&
		    (uint32_t)e->fd <= r->ev.close_range.last)
			err = fd_put(m, p, e->fd, r->ev.stamp, NULL, ROAD_FOUND, NULL);
	}
	return err;
}

int fold_send_fd(struct model *m, struct process *p, const struct record *r)
{
	struct socket *s;
	struct socket_node *n;
	int err = socket_at(m, p, r->ev.send_fd.passed, r->ev.send_fd.cookie, r->ev.stamp, &s);

	if (err < 0 || s == NULL || r->ev.error != 0)
		return err;
	n = socket_node(s);
	if (n->senders[0] != p) {
		n->senders[1] = n->senders[0];
		n->senders[0] = p;
	}
	return 0;
}

void count_apply(struct model *m, struct count *c)
{
	struct socket *s = socket_by_cookie(m, c->cookie);
	struct holder *h = s != NULL ? holder_find(m, c->process, s) : NULL;

	if (h == NULL)
		return;
	h->accepts += c->accepts - c->added_accepts;
	h->empty_accepts += c->empty - c->added_empty;
	c->added_accepts = c->accepts;
	c->added_empty = c->empty;
}

static struct count *count_of(const struct model *m, const struct record *r)
{
	const struct count_key key = { .place = r->place, .reader = r->reader };
	struct count *c;

	HASH_FIND(hh, m->counts, &key, sizeof(key), c);
	return c;
}

bool model_counted(const struct model *m, const struct record *r)
{
	const struct count *c = count_of(m, r);

	return c != NULL && r->ev.count.accepts <= c->accepts && r->ev.count.empty <= c->empty;
}

int fold_count(struct model *m, struct process *p, const struct record *r)
{
	const struct ps_count *told = &r->ev.count;
	struct count *c = count_of(m, r);

	if (c == NULL) {
		c = MODEL_NEW(m, struct count);
		if (c == NULL)
			return -ENOMEM;
		c->key = (struct count_key){ .place = r->place, .reader = r->reader };
		c->process = p;
		c->cookie = told->cookie;
		HASH_ADD(hh, m->counts, key, sizeof(c->key), c);
		if (c->hh.tbl == NULL)
			return -ENOMEM;
	}
	if (c->process != p || c->cookie != told->cookie)
		return 0; /* a counter does not change its subject */
	if (told->accepts > c->accepts)
		c->accepts = told->accepts;
	if (told->empty > c->empty)
		c->empty = told->empty;
	count_apply(m, c);
	return 0;
}
