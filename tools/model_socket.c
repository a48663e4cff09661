/* SPDX-License-Identifier: MIT */
/*
 * Sockets: finding the one that a record means, learning what it is, and seeing that two are one.
 */
#include "model_private.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

struct socket *socket_new(struct model *m, uint64_t stamp)
{
	struct socket_node *n = slab_take(&m->spare_sockets, &m->pool);

	if (n == NULL)
		return NULL;
	n->first_seen = stamp;
	n->proto = n->type = "";
	n->prev = m->last_socket;
	if (m->last_socket != NULL)
		m->last_socket->next = &n->socket;
	else
		m->sockets = &n->socket;
	m->last_socket = &n->socket;
	return &n->socket;
}

void socket_bury(struct model *m, struct socket *s)
{
	struct socket_node *n = socket_node(s);

	if (n->prev != NULL)
		n->prev->next = s->next;
	else
		m->sockets = s->next;
	if (s->next != NULL)
		socket_node(s->next)->prev = n->prev;
	else
		m->last_socket = n->prev;
	s->next = NULL;
	n->prev = NULL;
	if (s->cookie != 0) {
		m->sockets_met[s->hh.hashv % MET] = NULL;
		HASH_DEL(m->by_cookie, s);
	}
}

struct socket *socket_by_cookie(struct model *m, uint64_t cookie)
{
	unsigned hash = model_hash(&cookie, sizeof(cookie));
	struct socket **met = &m->sockets_met[hash % MET], *s = *met;

	if (s != NULL && s->cookie == cookie)
		return s;
	if (cookie > m->last_cookie)
		return NULL;
	HASH_FIND_BYHASHVALUE(hh, m->by_cookie, &cookie, sizeof(cookie), hash, s);
	if (s != NULL)
		*met = s;
	return s;
}

static int give_cookie(struct model *m, struct socket *s, uint64_t cookie)
{
	s->cookie = cookie;
	if (cookie > m->last_cookie)
		m->last_cookie = cookie;
	HASH_ADD(hh, m->by_cookie, cookie, sizeof(s->cookie), s);
	if (s->hh.tbl != NULL)
		return 0;
	s->cookie = 0;
	return -ENOMEM;
}

struct socket *socket_make(struct model *m, uint64_t cookie, uint64_t stamp)
{
	struct socket *s = cookie != 0 ? socket_by_cookie(m, cookie) : NULL;

	if (s != NULL)
		return s;
	s = socket_new(m, stamp);
	if (s == NULL || cookie == 0)
		return s;
	return give_cookie(m, s, cookie) == 0 ? s : NULL;
}

static const char *word_of_inet(uint16_t type, uint16_t protocol, bool v6)
{
	switch (type) {
	case SOCK_STREAM:
		if (protocol == IPPROTO_SCTP)
			return v6 ? "sctp6" : "sctp";
		if (protocol == IPPROTO_MPTCP)
			return v6 ? "mptcp6" : "mptcp";
		return v6 ? "tcp6" : "tcp";
	case SOCK_DGRAM:
		if (protocol == IPPROTO_UDPLITE)
			return v6 ? "udplite6" : "udplite";
		if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6)
			return v6 ? "icmp6" : "icmp";
		return v6 ? "udp6" : "udp";
	case SOCK_SEQPACKET:
		return v6 ? "sctp6" : "sctp";
	default:
		return v6 ? "raw6" : "raw";
	}
}

static const char *word_of_family(uint16_t family)
{
	static const struct {
		uint16_t family;
		const char *word;
	} words[] = {
		{ AF_UNIX, "unix" },
		{ AF_NETLINK, "netlink" },
		{ AF_PACKET, "packet" },
		{ AF_VSOCK, "vsock" },
		{ AF_ALG, "alg" },
		{ AF_XDP, "xdp" },
		{ AF_BLUETOOTH, "bluetooth" },
		{ AF_CAN, "can" },
		{ AF_TIPC, "tipc" },
		{ AF_KEY, "key" },
		{ AF_RDS, "rds" },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (words[i].family == family)
			return words[i].word;
	}
	return NULL;
}

static const char *word_of_type(uint16_t type)
{
	switch (type) {
	case SOCK_STREAM:
		return "stream";
	case SOCK_DGRAM:
		return "dgram";
	case SOCK_RAW:
		return "raw";
	case SOCK_RDM:
		return "rdm";
	case SOCK_SEQPACKET:
		return "seqpacket";
	default:
		return NULL;
	}
}

/* What has no word is told by its number. */
static const char *odd_word(struct model *m, const char *what, unsigned number)
{
	char text[32];

	snprintf(text, sizeof(text), "%s-%u", what, number);
	return model_text(m, text, sizeof(text));
}

/* Both words are made when the numbers are learnt, so that asking for them cannot fail. */
static int learn_words(struct model *m, struct socket_node *n)
{
	struct socket *s = &n->socket;

	if (s->type != 0) {
		n->type = word_of_type(s->type);
		if (n->type == NULL)
			n->type = odd_word(m, "type", s->type);
		if (n->type == NULL)
			return -ENOMEM;
	}
	if (s->family == AF_INET || s->family == AF_INET6) {
		n->proto = s->type != 0 ? word_of_inet(s->type, s->protocol, s->family == AF_INET6) : "";
		return 0;
	}
	if (s->family == 0)
		return 0;
	n->proto = word_of_family(s->family);
	if (n->proto == NULL)
		n->proto = odd_word(m, "family", s->family);
	return n->proto != NULL ? 0 : -ENOMEM;
}

int socket_fill(struct model *m, struct socket *s, uint16_t family, uint16_t type, uint16_t protocol)
{
	bool news = (s->family == 0 && family != 0) || (s->type == 0 && type != 0) ||
		    (s->protocol == 0 && protocol != 0);

	if (!news)
		return 0;
	if (s->family == 0)
		s->family = family;
	if (s->type == 0)
		s->type = type;
	if (s->protocol == 0)
		s->protocol = protocol;
	if (learn_words(m, socket_node(s)) < 0)
		return -ENOMEM;
	return s->local.family != 0 ? bound_update(m, s) : 0;
}

void socket_like(struct socket *s, const struct socket *other)
{
	s->family = other->family;
	s->type = other->type;
	s->protocol = other->protocol;
	socket_node(s)->proto = ((const struct socket_node *)other)->proto;
	socket_node(s)->type = ((const struct socket_node *)other)->type;
}

int socket_set_local(struct model *m, struct socket *s, const struct endpoint *local)
{
	s->local = *local;
	return bound_update(m, s);
}

/*
 * Can the socket without a cookie be the one with?  Not if both were seen coming about, nor if the
 * other was there first.
 */
static bool can_be(const struct socket *s, const struct socket *other)
{
	const struct socket_node *n = (const struct socket_node *)s, *o = (const struct socket_node *)other;

	return !(n->born && o->born) && (!n->born || o->first_seen >= s->created) &&
	       (s->family == 0 || other->family == 0 || s->family == other->family) &&
	       (s->type == 0 || other->type == 0 || s->type == other->type) &&
	       (s->inode == 0 || other->inode == 0 || s->inode == other->inode);
}

/* What `s` knows and `into` does not. */
static int merge_knowledge(struct model *m, struct socket *s, struct socket *into)
{
	struct socket_node *n = socket_node(s), *o = socket_node(into);

	if (n->connection != NULL) {
		n->connection->socket = into;
		if (o->connection == NULL)
			o->connection = n->connection;
	}
	if (into->state == STATE_OPEN)
		into->state = s->state;
	if (into->peer.family == 0)
		into->peer = s->peer;
	if (into->listener == NULL)
		into->listener = s->listener;
	if (n->born) {
		o->born = true;
		into->created = s->created;
		into->created_by = s->created_by;
	}
	o->scanned = o->scanned && n->scanned;
	if (into->local.family == 0)
		into->local = s->local;
	if (into->inode == 0)
		into->inode = s->inode;
	return socket_fill(m, into, s->family, s->type, s->protocol);
}

static int socket_merge(struct model *m, struct socket *s, struct socket *into)
{
	struct holder *h, *next;
	int err = 0;

	/* A holder of which settle took the fds could not be followed by them. */
	for (h = s->holders; h != NULL && err == 0; h = h->next_of_socket)
		err = process_restore(m, h->process);
	for (h = into->holders; h != NULL && err == 0; h = h->next_of_socket)
		err = process_restore(m, h->process);
	for (h = s->holders; h != NULL && err == 0; h = next) {
		next = h->next_of_socket;
		err = holder_move(m, h, into);
	}
	if (err == 0)
		err = merge_knowledge(m, s, into);
	if (err < 0)
		return err;
	socket_bury(m, s);
	return bound_update(m, into);
}

int socket_identify(struct model *m, struct socket *s, uint64_t cookie, struct socket **out)
{
	struct socket *other = socket_by_cookie(m, cookie);

	*out = s;
	if (other == NULL)
		return give_cookie(m, s, cookie);
	*out = other;
	return can_be(s, other) ? socket_merge(m, s, other) : 0;
}

int socket_at(struct model *m, struct process *p, int32_t fd, uint64_t cookie, uint64_t stamp,
	      struct socket **out)
{
	struct fd_entry *e = table_find(&process_node(p)->table, fd);
	struct socket *s = e != NULL ? e->socket : NULL;

	*out = s;
	if (cookie == 0 || (s != NULL && s->cookie == cookie))
		return 0;
	if (s != NULL && s->cookie == 0)
		return socket_identify(m, s, cookie, out);
	*out = socket_make(m, cookie, stamp);
	return *out != NULL ? 0 : -ENOMEM;
}

const char *socket_proto(const struct socket *s)
{
	return ((const struct socket_node *)s)->proto;
}

const char *socket_type(const struct socket *s)
{
	return ((const struct socket_node *)s)->type;
}

const char *socket_state(const struct socket *s)
{
	static const char *const words[] = { "open", "bound", "listen", "connected" };

	return words[s->state];
}
