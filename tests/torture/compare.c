/* SPDX-License-Identifier: MIT */
#include "compare.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "event_text.h"
#include "util.h"

#define TOLD_RECORDS 40
#define TOLD_TRACES 20
#define LINEAGE 4
#define MARGIN 2000000 /* ns: what the parent stamped after the child was there */

/* One descriptor of one process, on either side. */
struct holding {
	pid_t pid;
	int32_t fd;
	uint64_t inode;		     /* the kernel's side */
	const struct holder *holder; /* the relation's */
};

struct holdings {
	struct holding *list;
	size_t n, room;
};

struct check {
	struct relation *r;
	const pid_t *pids;
	size_t n_pids;
	const struct board *board;
	struct count *count;
	FILE *out;
	struct holdings kernel, ours;
};

int relation_open(const char *session, struct relation *r)
{
	int ret = reader_open(session, &r->reader);

	if (ret < 0)
		return ret;
	r->model = model_new();
	r->folded = 0;
	return r->model != NULL ? 0 : -ENOMEM;
}

void relation_close(struct relation *r)
{
	model_freep(&r->model);
	reader_closep(&r->reader);
}

static int relation_read(struct relation *r)
{
	const struct record *records;
	ssize_t got = reader_poll(r->reader);
	size_t n;
	int ret;

	if (got < 0)
		return (int)got;
	records = reader_records(r->reader, &n);
	ret = model_add(r->model, records + r->folded, n - r->folded);
	r->folded = n;
	return ret < 0 ? ret : model_settle(r->model, false);
}

static void holdings_add(struct holdings *h, struct holding one)
{
	struct holding *list = array_room(h->list, &h->room, h->n + 1, sizeof(*list));

	if (list == NULL)
		abort();
	h->list = list;
	list[h->n++] = one;
}

static int by_place(const void *a, const void *b)
{
	const struct holding *x = a, *y = b;

	return x->pid != y->pid ? (x->pid < y->pid ? -1 : 1) : (x->fd > y->fd) - (x->fd < y->fd);
}

static void holdings_sort(struct holdings *h)
{
	if (h->n > 0)
		qsort(h->list, h->n, sizeof(*h->list), by_place);
}

static void read_kernel(struct check *c, pid_t pid)
{
	char path[64], link[64];
	CLEANUP_DIR DIR *dir = NULL;
	struct dirent *e;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	while (dir != NULL && (e = readdir(dir)) != NULL) {
		ssize_t n = readlinkat(dirfd(dir), e->d_name, link, sizeof(link) - 1);
		uint64_t inode;

		link[n > 0 ? n : 0] = '\0';
		if (sscanf(link, "socket:[%lu]", &inode) == 1)
			holdings_add(&c->kernel, (struct holding){ pid, atoi(e->d_name), inode, NULL });
	}
}

static void read_ours(struct check *c)
{
	for (struct process *p = model_processes(c->r->model); p != NULL; p = p->next) {
		for (struct holder *h = p->live ? p->holders : NULL; h != NULL; h = h->next_of_process) {
			for (size_t i = 0; i < h->n_fds; i++)
				holdings_add(&c->ours, (struct holding){ p->pid, h->fds[i], 0, h });
		}
	}
}

/* What is told of a difference. */

static bool concerns(const struct record *r, int32_t fd)
{
	switch (r->ev.kind) {
	case PS_START:
	case PS_FORK:
	case PS_FORKED:
	case PS_BORN:
	case PS_EXEC:
	case PS_EXEC_FAILED:
	case PS_STOCK:
	case PS_CLOSE_RANGE:
	case PS_DROPPED:
	case PS_EXIT:
		return true;
	case PS_DUP:
		return r->ev.fd == fd || r->ev.dup.from == fd;
	default:
		return r->ev.fd == fd;
	}
}

static const struct process *live_process(const struct check *c, pid_t pid)
{
	for (struct process *p = model_processes(c->r->model); p != NULL; p = p->next) {
		if (p->live && p->pid == pid)
			return p;
	}
	return NULL;
}

static int by_stamp(const void *a, const void *b)
{
	const struct record *const *x = a, *const *y = b;

	return (*x)->ev.stamp < (*y)->ev.stamp ? -1 : (*x)->ev.stamp > (*y)->ev.stamp;
}

static void tell_list(struct check *c, const struct record **list, size_t n, size_t most)
{
	struct event_writer w = { .model = c->r->model, .verbose = true };

	if (n > 0)
		qsort(list, n, sizeof(*list), by_stamp);
	for (size_t i = n > most ? n - most : 0; i < n; i++) {
		fprintf(c->out, "#     %llu %#x ", (unsigned long long)list[i]->ev.stamp, list[i]->ev.flags);
		event_put_text(&w, list[i], c->out);
	}
}

/* Its own records about fd, and before them those of its parent up to its birth, and so on. */
static void tell_records(struct check *c, const struct process *p, int32_t fd, int depth, uint64_t until)
{
	size_t n, found = 0;
	const struct record *records = reader_records(c->r->reader, &n);
	CLEANUP_FREE const struct record **list = calloc(n + 1, sizeof(struct record *));

	if (p->parent != NULL && depth < LINEAGE)
		tell_records(c, p->parent, fd, depth + 1, p->started + MARGIN);
	for (size_t i = 0; list != NULL && i < n; i++) {
		if (p->id == records[i].ev.process && records[i].ev.stamp < until &&
		    concerns(&records[i], fd))
			list[found++] = &records[i];
	}
	if (list != NULL)
		tell_list(c, list, found, depth == 0 ? TOLD_RECORDS : TOLD_RECORDS / 4);
}

static bool trace_concerns(const struct trace *t, int fd)
{
	if (strcmp(t->name, "close_range") == 0)
		return t->a <= fd && fd <= t->b;
	return t->a == fd || t->b == fd;
}

static void tell_traces(struct check *c, pid_t pid, int fd)
{
	uint64_t end = atomic_load(&c->board->traces), told = 0;
	const struct trace *last[TOLD_TRACES];

	for (uint64_t i = 0; i < end && i < TRACES && told < TOLD_TRACES; i++) {
		const struct trace *t = &c->board->trace[(end - 1 - i) % TRACES];

		if (t->pid == pid && trace_concerns(t, fd))
			last[told++] = t;
	}
	while (told-- > 0)
		fprintf(c->out, "#     %llu tid %d %.15s %d %d\n", (unsigned long long)last[told]->stamp,
			last[told]->tid, last[told]->name, last[told]->a, last[told]->b);
}

__attribute__((format(printf, 4, 5))) static void differ(struct check *c, pid_t pid, int32_t fd,
							 const char *format, ...)
{
	const struct process *p = live_process(c, pid);
	va_list ap;

	c->count->differences++;
	fprintf(c->out, "# pid %d fd %d: ", pid, fd);
	va_start(ap, format);
	vfprintf(c->out, format, ap);
	va_end(ap);
	fprintf(c->out, " (%s)\n", p != NULL ? p->covered : "not in the relation");
	if (c->count->differences > 3)
		return;
	if (p != NULL)
		tell_records(c, p, fd, 0, UINT64_MAX);
	tell_traces(c, pid, fd);
}

/* What of a socket that no record names can still be held against the kernel. */

static int open_copy(pid_t pid, int fd)
{
	CLEANUP_CLOSE int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

	return pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
}

static bool peer_differs(int copy, const struct endpoint *peer)
{
	struct sockaddr_storage addr = { 0 };
	socklen_t len = sizeof(addr);

	if ((peer->family != AF_INET && peer->family != AF_INET6) ||
	    getpeername(copy, (struct sockaddr *)&addr, &len) < 0)
		return false;
	return addr.ss_family != peer->family || ntohs(((struct sockaddr_in *)&addr)->sin_port) != peer->port;
}

static int option(int copy, int name)
{
	socklen_t len = sizeof(int);
	int value = -1;

	return getsockopt(copy, SOL_SOCKET, name, &value, &len) == 0 ? value : -1;
}

static void compare_identity(struct check *c, const struct holding *k, const struct socket *s)
{
	CLEANUP_CLOSE int copy = open_copy(k->pid, k->fd);
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	/* The cookie is the name, where no record has the inode. */
	if (copy < 0 && s->inode == 0 && s->cookie != 0)
		differ(c, k->pid, k->fd, "inode %lu cannot be asked for its cookie", k->inode);
	if (copy < 0)
		return;
	if (s->cookie != 0 && getsockopt(copy, SOL_SOCKET, SO_COOKIE, &cookie, &len) == 0 &&
	    cookie != s->cookie)
		differ(c, k->pid, k->fd, "cookie %#lx in the kernel, %#lx in the relation", cookie,
		       s->cookie);
	if (s->family != 0 && option(copy, SO_DOMAIN) != s->family)
		differ(c, k->pid, k->fd, "family %d in the kernel, %d in the relation",
		       option(copy, SO_DOMAIN), s->family);
	if (s->cookie == 0 && peer_differs(copy, &s->peer))
		differ(c, k->pid, k->fd, "inode %lu has another peer than recorded", k->inode);
}

static bool above(const struct process *p, const struct process *of)
{
	for (int i = 0; of != NULL && i < 4096; i++, of = of->parent) {
		if (of->parent == p)
			return true;
	}
	return false;
}

/* The road by which it came: what cannot be. */
static const char *wrong_road(const struct holder *h)
{
	switch (h->how) {
	case HOW_FORKED:
		return h->from == NULL		     ? "forked from nobody"
		       : !above(h->from, h->process) ? "forked from no ancestor"
						     : NULL;
	case HOW_CREATED:
	case HOW_BOUND:
	case HOW_ACCEPTED:
		return h->from != NULL ? "made itself, from someone" : NULL;
	case HOW_RECEIVED:
	case HOW_FETCHED:
		/* Of whom is not always to be known: he may have ended, or closed it, before he said so. */
		return NULL;
	default:
		/* An exec may have ended the thread that made it, before it could say so: then its own
		 * child can be the only one who is known to have it. */
		return h->from == NULL ? "inherited from outside" : NULL;
	}
}

static void compare_holding(struct check *c, const struct holding *k, const struct holding *o)
{
	const struct socket *s = o->holder->socket;
	const char *wrong = wrong_road(o->holder);

	if (s->inode == 0 && s->cookie == 0)
		c->count->nameless++;
	if (s->inode != 0 && s->inode != k->inode)
		differ(c, k->pid, k->fd, "inode %lu in the kernel, %lu in the relation", k->inode, s->inode);
	else if (s->inode == 0 && s->cookie == 0 && s->listener == NULL)
		differ(c, k->pid, k->fd, "inode %lu, not accepted and not named in the relation", k->inode);
	else
		compare_identity(c, k, s);
	if (wrong != NULL)
		differ(c, k->pid, k->fd, "%s", wrong);
}

static bool is_partly(const struct check *c, pid_t pid)
{
	const struct process *p = live_process(c, pid);

	return p != NULL && strncmp(p->covered, "partly", 6) == 0;
}

static void compare_all(struct check *c)
{
	size_t i = 0, k = 0;

	while (i < c->ours.n || k < c->kernel.n) {
		const struct holding *o = i < c->ours.n ? &c->ours.list[i] : NULL;
		struct holding *there = k < c->kernel.n ? &c->kernel.list[k] : NULL;
		int order = o == NULL ? 1 : there == NULL ? -1 : by_place(o, there);
		bool partly = is_partly(c, order < 0 ? o->pid : there->pid);

		if (i > 0 && o != NULL && by_place(o, o - 1) == 0)
			differ(c, o->pid, o->fd, "two sockets in the relation");
		if (order >= 0)
			c->count->holdings += !partly;
		c->count->partly += partly;
		if (partly)
			;
		else if (order < 0)
			differ(c, o->pid, o->fd, "not in the kernel; %s, inode %lu in the relation",
			       holder_how(o->holder), o->holder->socket->inode);
		else if (order > 0 && live_process(c, there->pid) == NULL)
			c->count->differences++; /* that was said already */
		else if (order > 0)
			differ(c, there->pid, there->fd, "inode %lu, not in the relation", there->inode);
		else
			compare_holding(c, there, o);
		if (order == 0 && !partly)
			there->holder = o->holder;
		i += order <= 0;
		k += order >= 0;
	}
}

/*
 * One socket of the relation is one of the kernel's and the other way round.  But an accepted
 * connection has no name in the records before it escapes, and not every road by which another
 * process comes to it tells whose it is: a fork in the very middle of the accept, pidfd_getfd(2).
 */

static bool is_nameless(const struct holding *h)
{
	const struct socket *s = h->holder->socket;

	return s->inode == 0 && s->cookie == 0 && s->listener != NULL;
}

static int by_inode(const void *a, const void *b)
{
	const struct holding *x = a, *y = b;

	return x->inode < y->inode ? -1 : x->inode > y->inode;
}

static int by_socket(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t)((const struct holding *)a)->holder->socket;
	uintptr_t y = (uintptr_t)((const struct holding *)b)->holder->socket;

	return x < y ? -1 : x > y;
}

static void compare_sockets(struct check *c)
{
	struct holdings *h = &c->kernel;
	size_t n = 0;

	for (size_t i = 0; i < h->n; i++) {
		if (h->list[i].holder != NULL)
			h->list[n++] = h->list[i];
	}
	if (n == 0)
		return;
	qsort(h->list, n, sizeof(*h->list), by_inode);
	for (size_t i = 1; i < n; i++) {
		const struct holding *a = &h->list[i - 1], *b = a + 1;

		if (a->inode != b->inode || a->holder->socket == b->holder->socket)
			continue;
		if (is_nameless(a) || is_nameless(b))
			c->count->twins++;
		else
			differ(c, a->pid, a->fd, "inode %lu is two sockets in the relation: pid %d fd %d",
			       a->inode, b->pid, b->fd);
	}
	qsort(h->list, n, sizeof(*h->list), by_socket);
	for (size_t i = 1; i < n; i++) {
		const struct holding *a = &h->list[i - 1], *b = a + 1;

		if (a->inode != b->inode && a->holder->socket == b->holder->socket)
			differ(c, a->pid, a->fd,
			       "inode %lu and pid %d fd %d inode %lu are one in the relation", a->inode,
			       b->pid, b->fd, b->inode);
	}
}

static void compare_processes(struct check *c)
{
	size_t live = 0;

	for (size_t i = 0; i < c->n_pids; i++) {
		if (live_process(c, c->pids[i]) == NULL)
			differ(c, c->pids[i], -1, "lives and is not in the relation");
	}
	for (struct process *p = model_processes(c->r->model); p != NULL; p = p->next)
		live += p->live;
	if (live > c->n_pids)
		differ(c, 0, -1, "%zu live in the relation, %zu in the kernel", live, c->n_pids);
}

void compare(struct relation *r, const pid_t *pids, size_t n, const struct board *board, struct count *count,
	     FILE *out)
{
	struct check c = { .r = r, .pids = pids, .n_pids = n, .board = board, .count = count, .out = out };
	struct reader_stats stats;
	int ret = relation_read(r);

	if (ret < 0) {
		fprintf(out, "# the log cannot be read: %s\n", strerror(-ret));
		count->differences++;
		return;
	}
	for (size_t i = 0; i < n; i++)
		read_kernel(&c, pids[i]);
	read_ours(&c);
	holdings_sort(&c.kernel);
	holdings_sort(&c.ours);
	compare_processes(&c);
	compare_all(&c);
	compare_sockets(&c);
	reader_stats(r->reader, &stats);
	count->dropped = stats.dropped;
	free(c.kernel.list);
	free(c.ours.list);
}
