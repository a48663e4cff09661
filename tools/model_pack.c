/* SPDX-License-Identifier: MIT */
/*
 * Closed connections, kept small.  Most sockets of a busy server are accepted, used by it alone and
 * closed; all that there is to say of such a one fits into few bytes, and the socket, the holder and
 * the connection that told it while it was open are used again for the next.
 */
#include "model_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What connections of one listener have in common, as long as its name stays. */
struct packed_like {
	struct socket *listener;
	struct endpoint local;
	uint16_t family, type, protocol;
};

/* Nothing is known of the socket but what its ACCEPT and the close of it said. */
static bool is_plain_socket(const struct socket *s)
{
	const struct socket_node *n = (const struct socket_node *)s;

	return s->cookie == 0 && s->inode == 0 && s->state == STATE_CONNECTED && s->listener != NULL &&
	       s->asked == NULL && s->peer_asked == NULL && s->rule == NULL && s->unshared == NULL &&
	       s->backlog == 0 && !s->reuseport && !s->reuseaddr && !s->pair && s->bound_at == 0 && n->born &&
	       !n->scanned && !n->v6only && !n->port_chosen && !n->moved && n->held == 0 &&
	       n->first_seen == s->created && n->bound_by == NULL && n->senders[0] == NULL &&
	       n->connection != NULL && n->packed_like == NULL && n->bucket == NULL;
}

static bool is_plain_peer(const struct endpoint *peer)
{
	return peer->family == 0 || peer->family == AF_INET || peer->family == AF_INET6 ||
	       (peer->family == AF_UNIX && peer->port == 0);
}

static bool is_plain(const struct holder *h)
{
	const struct socket *s = h->socket;
	const struct connection *c = ((const struct socket_node *)s)->connection;

	return h->n_fds == 0 && h->how == HOW_ACCEPTED && h->from == NULL && h->accepts == 0 &&
	       h->empty_accepts == 0 && s->holders == h && s->last_holder == h && is_plain_socket(s) &&
	       h->since == s->created && s->created_by == h->process && is_plain_peer(&s->peer) &&
	       c->socket == s && c->process == h->process && c->listener == s->listener &&
	       c->opened == h->since && c->closed == h->until;
}

static bool is_like(const struct packed_like *like, const struct socket *s)
{
	return like != NULL && like->family == s->family && like->type == s->type &&
	       like->protocol == s->protocol && endpoint_equal(&like->local, &s->local);
}

static struct packed_like *like_of(struct model *m, const struct socket *s)
{
	struct socket_node *listener = socket_node(s->listener);
	struct packed_like *like = listener->packed_like;

	if (is_like(like, s))
		return like;
	like = MODEL_NEW(m, struct packed_like);
	if (like == NULL)
		return NULL;
	*like = (struct packed_like){ s->listener, s->local, s->family, s->type, s->protocol };
	listener->packed_like = like;
	return like;
}

static void connection_remove(struct model *m, struct connection *c)
{
	if (c->prev != NULL)
		c->prev->next = c->next;
	else
		m->connections = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	else
		m->last_connection = c->prev;
	slab_give(&m->spare_connections, c);
}

static int pack(struct model *m, struct holder *h)
{
	struct process_node *p = process_node(h->process);
	struct socket *s = h->socket;
	struct packed_like *like = like_of(m, s);
	struct packed *c = like != NULL ? slab_take(&m->spare_packed, &m->pool) : NULL;

	if (c == NULL)
		return -ENOMEM;
	c->next = p->packed;
	c->like = like;
	c->opened = h->since;
	c->closed = h->until;
	c->family = s->peer.family;
	c->port = s->peer.port;
	c->scope = s->peer.scope;
	memcpy(c->ip, s->peer.ip, sizeof(c->ip));
	p->packed = c;
	connection_remove(m, socket_node(s)->connection);
	holder_remove(m, h);
	socket_bury(m, s);
	slab_give(&m->spare_holders, holder_node(h));
	slab_give(&m->spare_sockets, socket_node(s));
	return 0;
}

/* Not at once: a late record may have more to tell of it. */
int pack_later(struct model *m, struct holder *h)
{
	struct holder **place = &m->ended[m->n_ended % ENDED], *before = *place;

	if (h->how != HOW_ACCEPTED || holder_node(h)->ended)
		return 0;
	holder_node(h)->ended = true;
	*place = h;
	m->n_ended++;
	if (before == NULL)
		return 0;
	holder_node(before)->ended = false;
	return holder_node(before)->newest && is_plain(before) ? pack(m, before) : 0;
}

/* Its holder comes behind `before` in the list of p. */
static int unpack(struct model *m, struct process *p, struct packed *c, struct holder *before)
{
	struct holder_node *n = slab_take(&m->spare_holders, &m->holders_pool);
	struct socket *s = n != NULL ? socket_new(m, c->opened) : NULL;
	int err;

	if (s == NULL)
		return -ENOMEM;
	s->listener = c->like->listener;
	s->local = c->like->local;
	s->peer.family = c->family;
	s->peer.port = c->port;
	s->peer.scope = c->scope;
	memcpy(s->peer.ip, c->ip, sizeof(c->ip));
	s->state = STATE_CONNECTED;
	s->created_by = p;
	s->created = c->opened;
	socket_node(s)->born = true;
	err = socket_fill(m, s, c->like->family, c->like->type, c->like->protocol);
	if (err == 0)
		err = connection_add(m, p, s, c->opened);
	if (err < 0)
		return err;
	socket_node(s)->connection->closed = c->closed;
	n->holder.process = p;
	n->holder.socket = s;
	n->holder.how = HOW_ACCEPTED;
	n->holder.since = c->opened;
	n->holder.until = c->closed;
	slab_give(&m->spare_packed, c);
	return holder_return(m, &n->holder, before);
}

int unpack_opened(struct model *m, struct process *p, uint64_t stamp)
{
	struct holder *before = p->last_holder;
	struct packed **at = &process_node(p)->packed, *c;

	while (*at != NULL && (*at)->opened != stamp)
		at = &(*at)->next;
	c = *at;
	if (c == NULL)
		return 0;
	*at = c->next;
	while (before != NULL && before->since > stamp)
		before = holder_node(before)->prev_of_process;
	return unpack(m, p, c, before);
}

static int by_opened(const void *a, const void *b)
{
	const struct packed *x = *(struct packed *const *)a, *y = *(struct packed *const *)b;

	return x->opened < y->opened ? -1 : x->opened > y->opened;
}

/* All of p, in the order of its holders. */
static struct packed **take_packed(struct process_node *p, size_t *n)
{
	struct packed **list;

	*n = 0;
	for (const struct packed *c = p->packed; c != NULL; c = c->next)
		++*n;
	list = calloc(*n, sizeof(struct packed *));
	if (list == NULL)
		return NULL;
	for (size_t i = *n; i-- > 0; p->packed = p->packed->next)
		list[i] = p->packed;
	qsort(list, *n, sizeof(struct packed *), by_opened);
	return list;
}

static int unpack_process(struct model *m, struct process *p)
{
	struct holder *before = NULL, *next = p->holders;
	struct packed **list;
	int err = 0;
	size_t n;

	if (process_node(p)->packed == NULL)
		return 0;
	list = take_packed(process_node(p), &n);
	if (list == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n && err == 0; i++) {
		for (; next != NULL && next->since <= list[i]->opened; next = next->next_of_process)
			before = next;
		err = unpack(m, p, list[i], before);
		before = before != NULL ? before->next_of_process : p->holders;
	}
	free(list);
	return err;
}

int model_unpack(struct model *m)
{
	int err = 0;

	for (struct process *p = m->processes; p != NULL && err == 0; p = p->next)
		err = unpack_process(m, p);
	return err;
}
