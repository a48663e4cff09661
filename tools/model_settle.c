/* SPDX-License-Identifier: MIT */
/*
 * What /proc adds to the records: who lives, and, if asked, what the records of open sockets said
 * before they were overwritten.
 *
 * The end of a process and an exec that nobody reports are taken from its silence.  So what is shown
 * of them leaves the table of the process as it is: a record that comes after all undoes it
 * (process_restore).
 */
#include "model_private.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/program.h"
#include "kernel.h"

#define NS_PER_S 1000000000ll
#define SLACK_NS (20 * 1000000ll)   /* of start times: two ticks */
#define SILENT_NS NS_PER_S	    /* an image that reports has done so by then */
#define ORPHAN_NS (100 * 1000000ll) /* a parent's FORK is read at most some polls later */

struct clocks {
	int64_t now;	     /* CLOCK_MONOTONIC, as stamps */
	int64_t boot_offset; /* CLOCK_BOOTTIME, as start times, minus that */
	int64_t tick;	     /* ns */
};

/* What is asked of the kernel for all processes at once. */
struct settling {
	struct clocks clocks;
	bool asked_inner; /* it costs a look at every process there is */
	struct kernel_inner *inner;
	size_t n_inner;
};

static int64_t clock_ns(clockid_t clock)
{
	struct timespec ts = { 0 };

	(void)clock_gettime(clock, &ts);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static struct clocks clocks_now(void)
{
	long hz = sysconf(_SC_CLK_TCK);
	struct clocks c = { .now = clock_ns(CLOCK_MONOTONIC), .tick = NS_PER_S / (hz > 0 ? hz : 100) };

	c.boot_offset = clock_ns(CLOCK_BOOTTIME) - c.now;
	return c;
}

/* Those whose FORK should have come by now; and those of another boot. */
static int give_up_orphans(struct model *m, const struct clocks *c)
{
	struct orphan *next;

	for (struct orphan *o = m->orphans; o != NULL; o = next) {
		int64_t age = c->now - (int64_t)o->first;

		next = o->hh.next;
		if (age > ORPHAN_NS || age < 0)
			orphan_release(m, o->id);
	}
	return orphans_fold(m);
}

/* The process that now has the pid: is it the recorded one, or one that came after it? */
static bool still_it(struct process *p, const struct kernel_process *k, const struct clocks *c)
{
	int64_t start;

	if (p->start != 0)
		return p->start == k->start;
	start = (int64_t)k->start * c->tick - c->boot_offset;
	if (start > (int64_t)p->last + SLACK_NS)
		return false;
	/* Only a recorded fork tells when it started; else it may have run for long before. */
	return !process_node(p)->forked || start >= (int64_t)p->started - SLACK_NS;
}

static bool lives_as(struct process *p, pid_t pid, const struct clocks *c)
{
	struct kernel_process k;
	int err = kernel_process(pid, &k);

	if (err == -ESRCH)
		return false;
	if (err < 0) /* not ours to look at */
		return kill(pid, 0) == 0 || errno == EPERM;
	if (kernel_process_dead(&k) || !still_it(p, &k, c))
		return false;
	p->start = k.start;
	return true;
}

/*
 * The pid outside of a process that was recorded by the one it sees of itself; 0: none that lives.  Two
 * that started at one time under one pid are told apart by their parents, or not at all.
 */
static pid_t find_inner(struct process *p, const struct settling *s)
{
	pid_t found = 0, below_parent = 0;
	unsigned n = 0, n_below = 0;

	for (size_t i = 0; i < s->n_inner; i++) {
		const struct kernel_inner *in = &s->inner[i];
		struct kernel_process k;

		if (in->own != p->pid || kernel_process(in->pid, &k) < 0 || kernel_process_dead(&k) ||
		    !still_it(p, &k, &s->clocks))
			continue;
		found = in->pid;
		n++;
		if (p->parent != NULL && p->parent->live && k.ppid == p->parent->pid) {
			below_parent = in->pid;
			n_below++;
		}
	}
	if (n_below == 1)
		return below_parent;
	return n == 1 ? found : 0;
}

static int look_inside(struct model *m, struct process *p, struct settling *s)
{
	pid_t pid;
	int err = 0;

	if (!s->asked_inner)
		err = kernel_inner_pids(&s->inner, &s->n_inner);
	if (err < 0)
		return err == -ENOMEM ? err : 0;
	s->asked_inner = true;
	pid = find_inner(p, s);
	if (pid == 0)
		return 0;
	err = process_set_pid(m, p, (uint32_t)pid);
	p->live = err == 0 && lives_as(p, pid, &s->clocks);
	return err;
}

static int find_out_whether_it_lives(struct model *m, struct process *p, struct settling *s)
{
	p->live = false;
	if (p->pid == 0 || process_node(p)->replaced)
		return 0;
	p->live = lives_as(p, p->pid, &s->clocks);
	return p->live || !(process_node(p)->partly & PARTLY_NAMESPACE) ? 0 : look_inside(m, p, s);
}

static const char *uncovered(uint32_t seen)
{
	static char texts[PS_SEEN_COUNT][160];

	if (seen >= PS_SEEN_COUNT)
		return "no";
	if (texts[seen][0] == '\0')
		(void)snprintf(texts[seen], sizeof(texts[seen]), "no: %s",
			       program_reason((enum ps_seen)seen));
	return texts[seen];
}

/* The exec was the last thing that was heard of the process: it runs what does not report. */
static int show_exec(struct process *p, struct model *m)
{
	struct process_node *n = process_node(p);
	int err;

	if (n->exec == NULL || n->exec_image != NULL)
		return 0;
	err = image_of_exec(m, p);
	if (err < 0)
		return err;
	n->covered_before = p->covered;
	p->covered = uncovered(n->exec->seen);
	n->overlaid = true;
	for (size_t i = 0; i < n->exec->n_closes; i++) {
		struct fd_entry *e = table_find(&n->table, n->exec->closes[i]);

		if (e != NULL && e->socket != NULL)
			holder_detach(m, e->holder, e->fd, n->exec->stamp);
	}
	return 0;
}

static void show_dead(struct model *m, struct process *p)
{
	struct process_node *n = process_node(p);

	n->dead = true;
	n->overlaid = true;
	for (uint32_t i = 0; i < n->table.size; i++) {
		struct fd_entry *e = &n->table.slots[i];

		if (e->fd >= 0 && e->socket != NULL)
			holder_detach(m, e->holder, e->fd, p->ended);
	}
}

static int settle_process(struct model *m, struct process *p, struct settling *s)
{
	struct process_node *n = process_node(p);
	int err;

	if (n->dead)
		return 0;
	stock_finish(m, p);
	err = show_exec(p, m);
	if (err == 0)
		err = find_out_whether_it_lives(m, p, s);
	if (err < 0)
		return err;
	if (p->live && p->unanswered != 0 && s->clocks.now - (int64_t)p->unanswered >= SILENT_NS)
		p->covered = "no: did not report";
	/* Without a pid nothing can be asked: the fork may be under way. */
	if (!p->live && (p->pid != 0 || p->exited))
		show_dead(m, p);
	return 0;
}

/* The descriptors as the kernel has them. */

struct kernel_fd {
	int32_t fd;
	uint64_t inode;
};

struct inode_entry {
	uint64_t inode;
	struct socket_node *socket;
	UT_hash_handle hh;
};

struct scan {
	struct model *m;
	struct inode_entry *by_inode;
	struct pool pool;      /* of those entries */
	struct kernel_fd *fds; /* of the process at hand */
	size_t n, size;
	struct kernel_net *nets; /* those read so far */
	size_t n_nets;
};

static int note_fd(int32_t fd, uint64_t inode, void *arg)
{
	struct scan *scan = arg;

	if (scan->n == scan->size) {
		size_t size = scan->size == 0 ? 64 : 2 * scan->size;
		struct kernel_fd *fds = realloc(scan->fds, size * sizeof(*fds));

		if (fds == NULL)
			return -ENOMEM;
		scan->fds = fds;
		scan->size = size;
	}
	scan->fds[scan->n++] = (struct kernel_fd){ .fd = fd, .inode = inode };
	return 0;
}

static struct socket_node *inode_find(struct scan *scan, uint64_t inode)
{
	struct inode_entry *e;

	HASH_FIND(hh, scan->by_inode, &inode, sizeof(inode), e);
	return e != NULL ? e->socket : NULL;
}

static int inode_add(struct scan *scan, struct socket_node *n)
{
	struct inode_entry *e;

	if (n->socket.inode == 0 || inode_find(scan, n->socket.inode) != NULL)
		return 0;
	e = pool_take(&scan->pool, sizeof(*e));
	if (e == NULL)
		return -ENOMEM;
	e->inode = n->socket.inode;
	e->socket = n;
	HASH_ADD(hh, scan->by_inode, inode, sizeof(e->inode), e);
	return e->hh.tbl != NULL ? 0 : -ENOMEM;
}

/* NULL in *out where the process is gone or not ours to look at. */
static int net_of(struct scan *scan, pid_t pid, const struct kernel_net **out)
{
	struct kernel_net *wider;
	uint64_t netns;
	int err;

	*out = NULL;
	if (kernel_netns(pid, &netns) < 0)
		return 0;
	for (size_t i = 0; i < scan->n_nets; i++) {
		if (scan->nets[i].netns == netns) {
			*out = &scan->nets[i];
			return 0;
		}
	}
	wider = realloc(scan->nets, (scan->n_nets + 1) * sizeof(*wider));
	if (wider == NULL)
		return -ENOMEM;
	scan->nets = wider;
	err = kernel_net(pid, &wider[scan->n_nets]);
	if (err < 0)
		return err == -ENOMEM ? err : 0;
	*out = &wider[scan->n_nets++];
	return 0;
}

static bool wildcard(const struct endpoint *ep)
{
	static const uint8_t zeros[16];

	if (ep->family == AF_INET || ep->family == AF_INET6)
		return ep->port == 0 || memcmp(ep->ip, zeros, ep->family == AF_INET ? 4 : 16) == 0;
	return ep->family == 0;
}

static bool wants_names(const struct socket *s)
{
	if (s->family == AF_UNIX && s->local.family != 0)
		return false;
	return s->local.family == 0 || s->family == 0 ||
	       (s->state == STATE_CONNECTED && (wildcard(&s->local) || s->peer.family == 0));
}

static enum state state_of_kernel(enum kernel_state state)
{
	switch (state) {
	case KERNEL_BOUND:
		return STATE_BOUND;
	case KERNEL_LISTEN:
		return STATE_LISTEN;
	case KERNEL_CONNECTED:
		return STATE_CONNECTED;
	default:
		return STATE_OPEN;
	}
}

static int fill_names(struct model *m, struct socket *s, const struct kernel_socket *k)
{
	int err = socket_fill(m, s, k->family, k->type, 0);

	if (err < 0)
		return err;
	if (socket_node(s)->scanned)
		s->state = state_of_kernel(k->state);
	if (s->peer.family == 0)
		s->peer = k->peer;
	if (k->local.family == 0 || k->local.port == 0 || !wildcard(&s->local))
		return 0;
	if (s->state == STATE_OPEN)
		s->state = STATE_BOUND;
	return socket_set_local(m, s, &k->local);
}

static int look_up_names(struct scan *scan, struct process *p, struct socket *s)
{
	const struct kernel_net *net;
	const struct kernel_socket *k;
	int err;

	if (s->inode == 0 || !wants_names(s))
		return 0;
	err = net_of(scan, p->pid, &net);
	k = err == 0 && net != NULL ? kernel_net_find(net, s->inode) : NULL;
	return k != NULL ? fill_names(scan->m, s, k) : err;
}

/* The records of this one are overwritten, or were never written. */
static int add_unknown(struct scan *scan, struct process *p, const struct kernel_fd *fd, uint64_t stamp)
{
	struct socket_node *n = inode_find(scan, fd->inode);
	int err = 0;

	if (n == NULL) {
		struct socket *s = socket_new(scan->m, 0);

		if (s == NULL)
			return -ENOMEM;
		n = socket_node(s);
		s->inode = fd->inode;
		n->scanned = true;
		err = inode_add(scan, n);
		if (err == 0)
			err = look_up_names(scan, p, s);
	}
	return err < 0 ? err : fd_put(scan->m, p, fd->fd, stamp, &n->socket, ROAD_SCANNED, NULL);
}

static int scan_fd(struct scan *scan, struct process *p, const struct kernel_fd *fd)
{
	const struct fd_entry *e = table_find(&process_node(p)->table, fd->fd);
	int err;

	if (e == NULL || e->socket == NULL)
		return add_unknown(scan, p, fd, e != NULL ? e->stamp : 0);
	/* One that has a cookie was asked for by it. */
	if (e->socket->inode == 0 && e->socket->cookie == 0) {
		e->socket->inode = fd->inode;
		err = inode_add(scan, socket_node(e->socket));
		if (err < 0)
			return err;
	}
	/* Another one than recorded is a difference to report, not to adjust here. */
	return e->socket->inode == fd->inode ? look_up_names(scan, p, e->socket) : 0;
}

static int scan_process(struct scan *scan, struct process *p)
{
	int err;

	scan->n = 0;
	err = kernel_fds(p->pid, note_fd, scan);
	if (err < 0)
		return err == -ENOMEM ? err : 0;
	for (size_t i = 0; i < scan->n && err == 0; i++)
		err = scan_fd(scan, p, &scan->fds[i]);
	return err;
}

static int scan_all(struct model *m)
{
	struct scan scan = { .m = m };
	int err = model_learn_inodes(m);

	for (struct socket *s = m->sockets; s != NULL && err == 0; s = s->next) {
		if (socket_node(s)->held > 0)
			err = inode_add(&scan, socket_node(s));
	}
	for (struct process *p = m->processes; p != NULL && err == 0; p = p->next) {
		if (p->live)
			err = scan_process(&scan, p);
	}
	HASH_CLEAR(hh, scan.by_inode);
	pool_free(&scan.pool);
	for (size_t i = 0; i < scan.n_nets; i++)
		kernel_net_free(&scan.nets[i]);
	free(scan.nets);
	free(scan.fds);
	return err;
}

int model_settle(struct model *m, bool scan_fds)
{
	struct settling s = { .clocks = clocks_now() };
	int err = give_up_orphans(m, &s.clocks);

	for (struct count *c = m->counts; c != NULL; c = c->hh.next) {
		if (c->accepts != c->added_accepts || c->empty != c->added_empty)
			count_apply(m, c);
	}
	for (struct process *p = m->processes; p != NULL && err == 0; p = p->next)
		err = settle_process(m, p, &s);
	free(s.inner);
	return err == 0 && scan_fds ? scan_all(m) : err;
}
