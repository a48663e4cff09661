/* SPDX-License-Identifier: MIT */
/* An allocation that fails leaves the element out of the hash, with hh.tbl NULL, instead of exiting;
 * and a hash function that clang does not warn of. */
#define HASH_NONFATAL_OOM 1
#define HASH_FUNCTION(key, len, value) HASH_FNV(key, len, value)
#include "verify.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "util.h"

/* Lists of descriptors. */

int fd_list_add(struct fd_list *l, int32_t fd, uint64_t inode)
{
	struct fd_inode *list = array_room(l->list, &l->room, l->n + 1, sizeof(*list));

	if (list == NULL)
		return -ENOMEM;
	l->list = list;
	list[l->n++] = (struct fd_inode){ fd, inode };
	return 0;
}

static int by_fd(const void *a, const void *b)
{
	const struct fd_inode *x = a, *y = b;

	return x->fd < y->fd ? -1 : x->fd > y->fd;
}

void fd_list_sort(struct fd_list *l)
{
	if (l->n > 1)
		qsort(l->list, l->n, sizeof(*l->list), by_fd);
}

void fd_list_free(struct fd_list *l)
{
	free(l->list);
	*l = (struct fd_list){ 0 };
}

/* 0: no socket. */
static uint64_t inode_at(const struct fd_list *l, int32_t fd)
{
	struct fd_inode key = { .fd = fd }, *found = NULL;

	if (l->n > 0)
		found = bsearch(&key, l->list, l->n, sizeof(key), by_fd);
	return found != NULL ? found->inode : 0;
}

/* Which recorded socket is which inode.  One to one: an accepted socket, whose own inode nobody
 * asked for, must be the same in all its holders, and no other's. */

struct verify_link {
	uint64_t inode;
	const struct socket *socket;
	uint64_t process; /* by whose fd this was found; 0: recorded */
	UT_hash_handle hh_inode, hh_socket;
	struct verify_link *next;
};

static struct verify_link *link_of_inode(const struct verify *v, uint64_t inode)
{
	struct verify_link *l;

	HASH_FIND(hh_inode, v->by_inode, &inode, sizeof(inode), l);
	return l;
}

static struct verify_link *link_of_socket(const struct verify *v, const struct socket *s)
{
	struct verify_link *l;

	HASH_FIND(hh_socket, v->by_socket, &s, sizeof(const void *), l);
	return l;
}

static int link_add(struct verify *v, uint64_t inode, const struct socket *s, uint64_t process)
{
	struct verify_link *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return -ENOMEM;
	*l = (struct verify_link){ .inode = inode, .socket = s, .process = process, .next = v->links };
	v->links = l;
	HASH_ADD(hh_inode, v->by_inode, inode, sizeof(l->inode), l);
	if (l->hh_inode.tbl == NULL)
		return -ENOMEM;
	HASH_ADD(hh_socket, v->by_socket, socket, sizeof(const void *), l);
	return l->hh_socket.tbl != NULL ? 0 : -ENOMEM;
}

static bool is_held(const struct socket *s)
{
	const struct holder *h = s->holders;

	while (h != NULL && !holder_live(h))
		h = h->next_of_socket;
	return h != NULL;
}

int verify_begin(struct verify *v, struct model *m)
{
	int err = 0;

	for (const struct socket *s = model_sockets(m); s != NULL && err == 0; s = s->next) {
		if (s->inode != 0 && is_held(s) && link_of_inode(v, s->inode) == NULL)
			err = link_add(v, s->inode, s, 0);
	}
	return err;
}

void verify_free(struct verify *v)
{
	struct verify_link *next;

	HASH_CLEAR(hh_inode, v->by_inode);
	HASH_CLEAR(hh_socket, v->by_socket);
	for (struct verify_link *l = v->links; l != NULL; l = next) {
		next = l->next;
		free(l);
	}
	free(v->list);
	*v = (struct verify){ 0 };
}

/* Names. */

static bool is_ip(const struct endpoint *ep)
{
	return ep->family == AF_INET || ep->family == AF_INET6;
}

/* The scope of a link-local address is not compared: the kernel keeps it apart from the address. */
static bool same_ip(const struct endpoint *a, const struct endpoint *b)
{
	struct in6_addr x, y;

	if (a->port != b->port)
		return false;
	x = endpoint_as_ipv6(a);
	y = endpoint_as_ipv6(b);
	return memcmp(&x, &y, sizeof(x)) == 0;
}

/* True also where one of them is not known. */
static bool agree(const struct endpoint *a, const struct endpoint *b, bool exact)
{
	if (is_ip(a) && is_ip(b))
		return same_ip(a, b);
	if (a->family == AF_UNIX && b->family == AF_UNIX && exact)
		return a->port == b->port && memcmp(a->name, b->name, a->port) == 0;
	return true;
}

/* A side in words. */

static const char *proto_of(const struct kernel_socket *k)
{
	bool stream = k->type == SOCK_STREAM, six = k->family == AF_INET6;

	if (k->family == AF_UNIX)
		return "unix";
	if (k->type == SOCK_RAW)
		return six ? "raw6" : "raw";
	if (stream)
		return six ? "tcp6" : "tcp";
	return six ? "udp6" : "udp";
}

static void put_what(char out[static VERIFY_WHAT_MAX], const char *proto, const char *state,
		     const struct endpoint *shown)
{
	char name[ENDPOINT_TEXT_MAX];

	endpoint_text(shown, name);
	(void)snprintf(out, VERIFY_WHAT_MAX, "%s %s%s%s", proto[0] != '\0' ? proto : "socket", state,
		       name[0] != '\0' ? " " : "", name);
}

static struct verify_side kernel_side(uint64_t inode, const struct diag_socket *d)
{
	static const char *const states[] = { "open", "bound", "listen", "connected" };
	struct verify_side side = { .has = inode != 0, .inode = inode };

	if (!side.has)
		return side;
	if (d == NULL) {
		memcpy(side.what, "socket", sizeof("socket"));
		return side;
	}
	/* Of a connection the peer tells more. */
	put_what(side.what, proto_of(&d->socket), states[d->socket.state],
		 d->socket.state == KERNEL_CONNECTED && d->socket.peer.family != 0 ? &d->socket.peer
										   : &d->socket.local);
	return side;
}

/* As long as it is open: a cookie tells it from what is at the descriptor now. */
static uint64_t inode_of(const struct socket *s, const struct kernel_diag *net)
{
	for (size_t i = 0; s->inode == 0 && s->cookie != 0 && net != NULL && i < net->n; i++) {
		if (net->sockets[i].cookie == s->cookie)
			return net->sockets[i].socket.inode;
	}
	return s->inode;
}

static struct verify_side recorded_side(const struct holder *h, const struct kernel_diag *net)
{
	struct verify_side side = { .has = h != NULL };

	if (h == NULL)
		return side;
	side.inode = inode_of(h->socket, net);
	put_what(side.what, socket_proto(h->socket), socket_state(h->socket),
		 h->socket->state == STATE_CONNECTED && h->socket->peer.family != 0 ? &h->socket->peer
										    : &h->socket->local);
	return side;
}

/* One process. */

struct look {
	struct verify *v;
	const struct process *p;
	const struct fd_list *before, *after;
	const struct kernel_diag *net;
	bool lapped;
	struct verify_count count;
};

static int report(const struct look *l, int32_t fd, uint64_t inode, const struct diag_socket *d,
		  const struct holder *h, uint64_t contender)
{
	struct verify *v = l->v;
	struct difference *list = array_room(v->list, &v->room, v->n + 1, sizeof(*list));

	if (list == NULL)
		return -ENOMEM;
	v->list = list;
	list[v->n++] = (struct difference){
		.process = l->p->id,
		.pid = l->p->pid,
		.fd = fd,
		.kernel = kernel_side(inode, d),
		.recorded = recorded_side(h, l->net),
		.since = h != NULL ? h->since : 0,
		.contender = contender,
	};
	return 0;
}

/* What can be told without an inode: an accepted socket is known by its accept record. */
static bool can_be(const struct socket *s, const struct diag_socket *d)
{
	const struct kernel_socket *k = &d->socket;

	if (s->cookie != 0 && d->cookie != 0)
		return s->cookie == d->cookie;
	if ((s->family != 0 && s->family != k->family) ||
	    (s->type != 0 && k->type != 0 && s->type != k->type))
		return false;
	return s->state != STATE_CONNECTED || s->peer.port == 0 || k->peer.family == 0 || !is_ip(&s->peer) ||
	       agree(&s->peer, &k->peer, false);
}

/* sock_diag does not tell of sockets without a name, nor the cookies of another network namespace: then the
 * descriptor itself is asked, where that is allowed. */
static bool has_other_cookie(const struct process *p, int32_t fd, const struct socket *s, uint64_t inode)
{
	uint64_t cookie, asked;

	return s->cookie != 0 && kernel_fd_socket(p->pid, fd, &cookie, &asked) == 0 && asked == inode &&
	       cookie != s->cookie;
}

/* Is it this one?  *contender: by whose fd it was found to be another. */
static bool same_socket(const struct look *l, int32_t fd, const struct socket *s, uint64_t inode,
			const struct diag_socket *d, uint64_t *contender)
{
	struct verify *v = l->v;
	const struct verify_link *of_inode, *of_socket;

	*contender = 0;
	if (s->inode != 0)
		return s->inode == inode;
	if ((d != NULL && !can_be(s, d)) ||
	    ((d == NULL || d->cookie == 0) && has_other_cookie(l->p, fd, s, inode)))
		return false;
	of_inode = link_of_inode(v, inode);
	of_socket = link_of_socket(v, s);
	if (of_inode != NULL && of_inode->socket != s)
		*contender = of_inode->process;
	else if (of_socket != NULL && of_socket->inode != inode)
		*contender = of_socket->process;
	return (of_inode == NULL || of_inode->socket == s) &&
	       (of_socket == NULL || of_socket->inode == inode);
}

/* The name of a socket that others may want; an accepted one shows its listener's. */
static bool same_name(const struct socket *s, const struct diag_socket *d, bool exact)
{
	const struct kernel_socket *k = &d->socket;
	bool named = s->state == STATE_LISTEN || s->state == STATE_BOUND;

	if (k->family != AF_INET && k->family != AF_INET6 && k->family != AF_UNIX)
		return true;
	if ((s->state == STATE_LISTEN) != (k->state == KERNEL_LISTEN))
		return false;
	return !named || s->listener != NULL || s->local.port == 0 || agree(&s->local, &k->local, exact);
}

static int compare_both(struct look *l, int32_t fd, uint64_t inode, const struct diag_socket *d,
			const struct holder *h)
{
	const struct socket *s = h->socket;
	uint64_t contender;
	int err = 0;

	l->count.compared++;
	if (!same_socket(l, fd, s, inode, d, &contender))
		return report(l, fd, inode, d, h, contender);
	if (s->inode == 0 && link_of_socket(l->v, s) == NULL)
		err = link_add(l->v, inode, s, l->p->id);
	if (err == 0 && d != NULL && !same_name(s, d, l->net->exact))
		err = report(l, fd, inode, d, h, 0);
	return err;
}

/*
 * The kernel alone has it.  The records of plain connections may be overwritten, and the relation
 * then takes them from /proc; one that is bound or listens, or that the record has elsewhere, was
 * never of that kind.
 */
static int compare_unrecorded(struct look *l, int32_t fd, uint64_t inode, const struct diag_socket *d)
{
	bool plain = d == NULL || d->socket.state == KERNEL_CONNECTED || d->socket.state == KERNEL_OPEN;

	if (l->lapped && plain && link_of_inode(l->v, inode) == NULL) {
		l->count.lost++;
		return 0;
	}
	l->count.compared++;
	return report(l, fd, inode, d, NULL, 0);
}

/* At a descriptor where the kernel's two words agree. */
static int compare_fd(struct look *l, int32_t fd, uint64_t inode, const struct holder *h)
{
	const struct diag_socket *d = inode != 0 && l->net != NULL ? kernel_diag_find(l->net, inode) : NULL;

	if (h != NULL && inode != 0)
		return compare_both(l, fd, inode, d, h);
	if (h == NULL)
		return compare_unrecorded(l, fd, inode, d);
	l->count.compared++;
	return report(l, fd, 0, NULL, h, 0);
}

/* What the record has, ascending by fd. */
struct held {
	int32_t fd;
	const struct holder *holder;
};

static int by_held_fd(const void *a, const void *b)
{
	const struct held *x = a, *y = b;

	return x->fd < y->fd ? -1 : x->fd > y->fd;
}

static int held_by(const struct process *p, struct held **out, size_t *n)
{
	struct held *list;
	size_t count = 0;

	*n = 0;
	for (const struct holder *h = p->holders; h != NULL; h = h->next_of_process)
		count += h->n_fds;
	list = calloc(count + 1, sizeof(*list));
	if (list == NULL)
		return -ENOMEM;
	for (const struct holder *h = p->holders; h != NULL; h = h->next_of_process) {
		for (size_t i = 0; i < h->n_fds; i++)
			list[(*n)++] = (struct held){ h->fds[i], h };
	}
	qsort(list, *n, sizeof(*list), by_held_fd);
	*out = list;
	return 0;
}

static const struct holder *holder_at(const struct held *list, size_t n, int32_t fd)
{
	struct held key = { .fd = fd };
	const struct held *found = bsearch(&key, list, n, sizeof(key), by_held_fd);

	return found != NULL ? found->holder : NULL;
}

static int compare(struct look *l, const struct held *held, size_t n_held)
{
	int err = 0;

	for (size_t i = 0; i < l->before->n && err == 0; i++) {
		const struct fd_inode *k = &l->before->list[i];

		if (inode_at(l->after, k->fd) == k->inode)
			err = compare_fd(l, k->fd, k->inode, holder_at(held, n_held, k->fd));
	}
	for (size_t i = 0; i < n_held && err == 0; i++) {
		if (inode_at(l->before, held[i].fd) == 0 && inode_at(l->after, held[i].fd) == 0)
			err = compare_fd(l, held[i].fd, 0, held[i].holder);
	}
	return err;
}

int verify_process(struct verify *v, const struct process *p, const struct fd_list *before,
		   const struct fd_list *after, const struct kernel_diag *net, bool lapped,
		   struct verify_count *out)
{
	struct look l = { .v = v, .p = p, .before = before, .after = after, .net = net, .lapped = lapped };
	CLEANUP_FREE struct held *held = NULL;
	size_t n_held;
	int err = held_by(p, &held, &n_held);

	if (err == 0)
		err = compare(&l, held, n_held);
	if (err == 0)
		*out = l.count;
	return err;
}

bool difference_same(const struct difference *a, const struct difference *b)
{
	return a->process == b->process && a->pid == b->pid && a->fd == b->fd && a->since == b->since &&
	       a->kernel.has == b->kernel.has && a->kernel.inode == b->kernel.inode &&
	       a->recorded.has == b->recorded.has && a->recorded.inode == b->recorded.inode &&
	       strcmp(a->kernel.what, b->kernel.what) == 0 && strcmp(a->recorded.what, b->recorded.what) == 0;
}
