/* SPDX-License-Identifier: MIT */
/*
 * The index of endpoints that are taken: sockets with a name of their own that somebody holds, by
 * what bind(2) compares first.  It answers who stood in the way of a bind that failed.
 */
#include "model_private.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

struct bound_key {
	uint16_t family; /* IPv6 counts as IPv4: their ports meet */
	uint16_t type;
	uint32_t name; /* port, or a hash of the UNIX name */
};

struct bucket {
	struct bound_key key;
	struct socket_node *first;
	UT_hash_handle hh;
};

/* Has it a name that another socket could want? */
static bool takes_endpoint(const struct socket *s)
{
	if (((const struct socket_node *)s)->held == 0 || s->listener != NULL)
		return false;
	if (s->local.family == AF_UNIX)
		return s->local.port > 0;
	return (s->local.family == AF_INET || s->local.family == AF_INET6) && s->local.port != 0;
}

static struct bound_key key_of(uint16_t type, const struct endpoint *ep)
{
	struct bound_key key = { .family = AF_INET, .type = type, .name = ep->port };

	if (ep->family != AF_UNIX)
		return key;
	key.family = AF_UNIX;
	key.name = model_hash(ep->name, ep->port);
	if (ep->port > 0 && ep->name[0] != '\0')
		key.type = 0; /* a path is taken for all types, an abstract name for its own */
	return key;
}

/* A bucket that nothing is in any more is used again: the index stays as small as what is bound. */
static void take_out(struct model *m, struct socket_node *n)
{
	struct bucket *b = n->bucket;

	if (b == NULL)
		return;
	if (n->bucket_prev != NULL)
		n->bucket_prev->bucket_next = n->bucket_next;
	else
		b->first = n->bucket_next;
	if (n->bucket_next != NULL)
		n->bucket_next->bucket_prev = n->bucket_prev;
	n->bucket = NULL;
	n->bucket_next = n->bucket_prev = NULL;
	if (b->first != NULL)
		return;
	HASH_DEL(m->buckets, b);
	slab_give(&m->spare_buckets, b);
}

static struct bucket *bucket_find(struct model *m, const struct bound_key *key)
{
	struct bucket *b;

	HASH_FIND(hh, m->buckets, key, sizeof(*key), b);
	return b;
}

static struct bucket *bucket_make(struct model *m, const struct bound_key *key)
{
	struct bucket *b = bucket_find(m, key);

	if (b != NULL)
		return b;
	b = slab_take(&m->spare_buckets, &m->pool);
	if (b == NULL)
		return NULL;
	b->key = *key;
	HASH_ADD(hh, m->buckets, key, sizeof(b->key), b);
	return b->hh.tbl != NULL ? b : NULL;
}

size_t bound_bucket_size(void)
{
	return sizeof(struct bucket);
}

int bound_update(struct model *m, struct socket *s)
{
	struct socket_node *n = socket_node(s);
	struct bound_key key;

	take_out(m, n);
	if (!takes_endpoint(s))
		return 0;
	key = key_of(s->type, &s->local);
	n->bucket = bucket_make(m, &key);
	if (n->bucket == NULL)
		return -ENOMEM;
	n->bucket_next = n->bucket->first;
	if (n->bucket_next != NULL)
		n->bucket_next->bucket_prev = n;
	n->bucket->first = n;
	return 0;
}

/* 0.0.0.0, or what is mapped from it. */
static bool any_ipv4(const struct in6_addr *ip)
{
	static const struct in6_addr mapped = { .s6_addr = { [10] = 0xff, [11] = 0xff } };

	return memcmp(ip, &mapped, sizeof(mapped)) == 0;
}

static bool overlap(const struct endpoint *a, bool a_v6only, const struct endpoint *b, bool b_v6only)
{
	struct in6_addr x, y;
	bool x4, y4;

	if (a->family == AF_UNIX || b->family == AF_UNIX)
		return a->family == b->family && a->port == b->port && memcmp(a->name, b->name, a->port) == 0;
	if (a->port != b->port)
		return false;
	x = endpoint_as_ipv6(a);
	y = endpoint_as_ipv6(b);
	x4 = IN6_IS_ADDR_V4MAPPED(&x);
	y4 = IN6_IS_ADDR_V4MAPPED(&y);
	if (memcmp(&x, &y, sizeof(x)) == 0)
		return a->scope == b->scope || a->scope == 0 || b->scope == 0;
	if (x4 && y4)
		return any_ipv4(&x) || any_ipv4(&y);
	if (x4 || y4) /* of two families: only [::] reaches into IPv4 */
		return x4 ? IN6_IS_ADDR_UNSPECIFIED(&y) && !b_v6only
			  : IN6_IS_ADDR_UNSPECIFIED(&x) && !a_v6only;
	return IN6_IS_ADDR_UNSPECIFIED(&x) || IN6_IS_ADDR_UNSPECIFIED(&y);
}

bool endpoint_overlap(const struct endpoint *a, const struct endpoint *b)
{
	return a->family != 0 && b->family != 0 && a->port != 0 && overlap(a, false, b, false);
}

static struct holder *first_live(const struct socket *s)
{
	struct holder *h = s->holders;

	while (h != NULL && h->n_fds == 0)
		h = h->next_of_socket;
	return h;
}

/* Of two that overlap, the listener is the better answer, then what was bound. */
static bool better(const struct socket *a, const struct socket *b)
{
	return b == NULL || (a->state == STATE_LISTEN && b->state != STATE_LISTEN) ||
	       (a->state == STATE_BOUND && b->state == STATE_CONNECTED);
}

/* elsewhere: not at the very same address. */
static struct holder *find_overlapping(struct model *m, struct socket *s, const struct endpoint *asked,
				       bool elsewhere)
{
	struct bound_key key = key_of(s->type, asked);
	struct bucket *b = bucket_find(m, &key);
	struct socket *found = NULL;

	if (b == NULL || asked->family == 0)
		return NULL;
	for (struct socket_node *n = b->first; n != NULL; n = n->bucket_next) {
		struct socket *other = &n->socket;

		if (other != s && overlap(&other->local, n->v6only, asked, socket_node(s)->v6only) &&
		    !(elsewhere && endpoint_equal(&other->local, asked)) && better(other, found))
			found = other;
	}
	return found != NULL ? first_live(found) : NULL;
}

struct holder *bound_in_the_way(struct model *m, struct socket *s, const struct endpoint *asked)
{
	return find_overlapping(m, s, asked, false);
}

struct holder *bound_beside(struct model *m, struct socket *s)
{
	return find_overlapping(m, s, &s->local, true);
}

enum taken bound_how_taken(const struct process *p, const struct socket *s, const struct holder *by)
{
	if (by == NULL)
		return TAKEN_UNKNOWN;
	if (!by->socket->reuseport)
		return TAKEN_UNSHARED;
	if (s != NULL && !s->reuseport)
		return TAKEN_HERE;
	return by->process->uid != p->uid ? TAKEN_OTHER_UID : TAKEN_OTHERWISE;
}

/* One that held it at that time, for all that is known by now. */
static struct holder *held_at(const struct socket *s, uint64_t stamp)
{
	struct holder *h = s->holders;

	while (h != NULL && (h->since > stamp || (h->until != 0 && h->until < stamp)))
		h = h->next_of_socket;
	return h;
}

void model_failure_moved(struct model *m, struct failure *f, uint64_t cookie, const struct endpoint *to)
{
	const struct socket *own = model_socket(m, cookie), *found = NULL;

	for (const struct socket *s = model_sockets(m); s != NULL; s = s->next) {
		if (s != own && s->listener == NULL && s->bound_at != 0 && s->bound_at <= f->stamp &&
		    (f->type == 0 || s->type == f->type) && endpoint_overlap(&s->local, to) &&
		    better(s, found) && held_at(s, f->stamp) != NULL)
			found = s;
	}
	f->stood_in_the_way = found != NULL ? held_at(found, f->stamp) : NULL;
	f->taken = bound_how_taken(f->process, own, f->stood_in_the_way);
}

void bound_free(struct model *m)
{
	HASH_CLEAR(hh, m->buckets);
}
