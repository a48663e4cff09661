/* SPDX-License-Identifier: MIT */
/* An allocation that fails leaves the element out of the hash, with hh.tbl NULL, instead of exiting;
 * and a hash function that clang does not warn of. */
#define HASH_NONFATAL_OOM 1
#define HASH_FUNCTION(key, len, value) HASH_FNV(key, len, value)
#include "verify_live.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/program.h"
#include "util.h"
#include "verify_notes.h"
#include "verify_procs.h"
#include "verify_suspects.h"
#include "view.h"

#define LOOKS_MAX 60
#define LOOKS_FOR_NEW 3 /* processes that appear later are left to the next verify */
#define WAIT_MAX_NS (50 * 1000000l)

/* A recorded process that is being compared; by id, since the model may be made anew. */
struct target {
	uint64_t id;
	pid_t pid;
	bool again;	/* to be looked at in the next look */
	bool gone;	/* ended, or is not what is compared any more */
	int unreadable; /* why its descriptors could not be read */
	bool differs;
	struct fd_list before, after;
	struct verify_count count;
	UT_hash_handle hh;
};

struct live {
	struct recording *r;
	const char *dir;
	uint64_t overwritten;
	struct note *notes;
	struct target *targets;
	struct suspects suspects;
	struct kernel_diag *nets; /* of this look */
	size_t n_nets, nets_room;
	struct procs procs;
	struct record *fresh;
	size_t fresh_room;
};

/* Reading on. */

static uint64_t overwritten(const struct recording *r)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < r->n_readers; i++) {
		struct reader_stats stats;

		reader_stats(r->readers[i], &stats);
		sum += stats.overwritten;
	}
	return sum;
}

/* After a fold of everything. */
static int begin_reading(struct live *l)
{
	notes_free(&l->notes);
	l->overwritten = overwritten(l->r);
	return notes_add(&l->notes, l->r->records, l->r->n_records);
}

static int by_stamp(const void *a, const void *b)
{
	const struct record *x = a, *y = b;

	if (x->ev.stamp != y->ev.stamp)
		return x->ev.stamp < y->ev.stamp ? -1 : 1;
	return (x->place > y->place) - (x->place < y->place);
}

static int poll_readers(struct live *l, size_t *n_fresh)
{
	int ret = 0;

	*n_fresh = 0;
	for (size_t i = 0; i < l->r->n_readers && ret == 0; i++) {
		const struct record *record;

		ret = reader_begin(l->r->readers[i]);
		while (ret == 0 && (ret = reader_next(l->r->readers[i], &record)) > 0) {
			struct record *fresh =
				array_room(l->fresh, &l->fresh_room, *n_fresh + 1, sizeof(*fresh));

			if (fresh == NULL)
				return -ENOMEM;
			l->fresh = fresh;
			fresh[*n_fresh] = *record;
			fresh[(*n_fresh)++].reader = (uint32_t)i;
			ret = 0;
		}
	}
	if (*n_fresh > 1)
		qsort(l->fresh, *n_fresh, sizeof(*l->fresh), by_stamp);
	return ret;
}

/*
 * What the log holds now, folded.  A ring that went round since the last reading may have lost the
 * close of a connection whose accept was read: then only the log as it is now is consistent.
 */
static int read_on(struct live *l)
{
	size_t n;
	int err = poll_readers(l, &n);

	if (err < 0)
		return err;
	if (overwritten(l->r) == l->overwritten) {
		err = notes_add(&l->notes, l->fresh, n);
		if (err == 0)
			err = model_add(l->r->model, l->fresh, n);
		return err < 0 ? err : model_settle(l->r->model, false);
	}
	recording_close(l->r);
	err = recording_open(l->dir, l->r);
	if (err == 0)
		err = recording_fold(l->r, RECORDING_KEEP | (l->dir == NULL ? RECORDING_LIVE_ONLY : 0));
	return err < 0 ? err : begin_reading(l);
}

static bool lapped(struct live *l, const struct process *p)
{
	for (; p != NULL; p = p->parent) {
		const struct note *n = notes_find(l->notes, p->id);

		if (n != NULL && n->lapped)
			return true;
	}
	return false;
}

/* Its exec is not answered, and will not be: what has been replaced a moment ago only has not begun. */
static bool is_silent(const struct process *p)
{
	return p->unanswered != 0 && verify_clock(CLOCK_MONOTONIC) - (int64_t)p->unanswered >= CONFIRM_NS;
}

/* Targets. */

static int add_targets(struct live *l)
{
	for (struct process *p = model_processes(l->r->model); p != NULL; p = p->next) {
		struct target *t;

		HASH_FIND(hh, l->targets, &p->id, sizeof(p->id), t);
		if (!p->live || t != NULL)
			continue;
		t = calloc(1, sizeof(*t));
		if (t == NULL)
			return -ENOMEM;
		t->id = p->id;
		t->pid = p->pid;
		t->again = true;
		HASH_ADD(hh, l->targets, id, sizeof(t->id), t);
		if (t->hh.tbl == NULL) {
			free(t);
			return -ENOMEM;
		}
	}
	return 0;
}

static void free_targets(struct live *l)
{
	struct target *t = l->targets, *next;

	HASH_CLEAR(hh, l->targets);
	for (; t != NULL; t = next) {
		next = t->hh.next;
		fd_list_free(&t->before);
		fd_list_free(&t->after);
		free(t);
	}
}

static int on_fd(int32_t fd, uint64_t inode, void *arg)
{
	return fd_list_add(arg, fd, inode);
}

static int read_fds(struct target *t, struct fd_list *list)
{
	int err;

	list->n = 0;
	err = kernel_fds(t->pid, on_fd, list);
	if (err == -ENOMEM)
		return err;
	t->gone = err == -ESRCH;
	t->unreadable = err < 0 && err != -ESRCH ? err : 0;
	fd_list_sort(list);
	return 0;
}

static int read_all_fds(struct live *l, bool after)
{
	int err = 0;

	for (struct target *t = l->targets; t != NULL && err == 0; t = t->hh.next) {
		if (t->again && !t->gone)
			err = read_fds(t, after ? &t->after : &t->before);
	}
	return err;
}

/* NULL where it cannot be read: then less is compared. */
static int net_of(struct live *l, pid_t pid, const struct kernel_diag **out)
{
	struct kernel_diag *nets;
	uint64_t netns;
	int err;

	*out = NULL;
	if (kernel_netns(pid, &netns) < 0)
		return 0;
	for (size_t i = 0; i < l->n_nets; i++) {
		if (l->nets[i].netns == netns)
			*out = &l->nets[i];
	}
	if (*out != NULL)
		return 0;
	nets = array_room(l->nets, &l->nets_room, l->n_nets + 1, sizeof(*nets));
	if (nets == NULL)
		return -ENOMEM;
	l->nets = nets;
	err = kernel_diag(pid, &nets[l->n_nets]);
	if (err < 0)
		return err == -ENOMEM ? err : 0;
	*out = &nets[l->n_nets++];
	return 0;
}

static void free_nets(struct live *l)
{
	for (size_t i = 0; i < l->n_nets; i++)
		kernel_diag_free(&l->nets[i]);
	l->n_nets = 0;
}

static bool is_covered(const struct process *p)
{
	return strcmp(p->covered, "preload") == 0;
}

/* The process of a target, if it still is to be compared. */
static struct process *process_of(struct live *l, const struct target *t)
{
	struct process *p = t->gone ? NULL : model_process(l->r->model, t->id);

	return p != NULL && p->live && p->pid == t->pid ? p : NULL;
}

static int compare_target(struct live *l, struct verify *v, struct target *t)
{
	struct process *p = process_of(l, t);
	const struct kernel_diag *net;
	size_t before = v->n;
	int err;

	t->again = false;
	t->differs = false;
	t->gone = p == NULL;
	t->count = (struct verify_count){ 0 };
	if (p == NULL || !is_covered(p) || t->unreadable != 0)
		return 0;
	if (p->unanswered != 0) { /* being replaced; in a while it will have reported, or never will */
		t->again = !is_silent(p);
		return 0;
	}
	err = net_of(l, t->pid, &net);
	if (err == 0)
		err = verify_process(v, p, &t->before, &t->after, net, lapped(l, p), &t->count);
	t->differs = v->n > before;
	t->again = t->differs;
	return err;
}

/* Whose descriptors are taken for one socket must be compared in one look. */
static void call_contenders(struct live *l, const struct verify *v)
{
	for (size_t i = 0; i < v->n; i++) {
		struct target *t;

		HASH_FIND(hh, l->targets, &v->list[i].contender, sizeof(uint64_t), t);
		if (t != NULL)
			t->again = true;
	}
}

static int compare_all(struct live *l)
{
	CLEANUP(verify_freep) struct verify v = { 0 };
	int err = verify_begin(&v, l->r->model);

	for (struct target *t = l->targets; t != NULL && err == 0; t = t->hh.next) {
		if (t->again)
			err = compare_target(l, &v, t);
	}
	free_nets(l);
	if (err < 0)
		return err;
	call_contenders(l, &v);
	return suspects_see(&l->suspects, &v);
}

/* Looking, until nothing is in doubt. */

static int look(struct live *l, unsigned n, bool *waits)
{
	int err = read_all_fds(l, false);

	if (err == 0)
		err = read_on(l);
	if (err == 0)
		err = read_all_fds(l, true);
	if (err == 0)
		err = compare_all(l);
	if (err == 0 && n < LOOKS_FOR_NEW)
		err = add_targets(l);
	*waits = false;
	if (err == 0 && (n == 0 || l->procs.n > 0))
		err = procs_look(&l->procs, l->r->model, n == 0, waits);
	return err;
}

static bool in_doubt(struct live *l)
{
	for (const struct target *t = l->targets; t != NULL; t = t->hh.next) {
		if (t->again && !t->differs)
			return true;
	}
	return suspects_in_doubt(&l->suspects);
}

static void wait_before(unsigned look)
{
	struct timespec ts = { .tv_nsec = look < 6 ? 1000000l << look : WAIT_MAX_NS };

	if (ts.tv_nsec > WAIT_MAX_NS)
		ts.tv_nsec = WAIT_MAX_NS;
	(void)nanosleep(&ts, NULL); /* cut short by a signal: looks sooner */
}

static int look_until_sure(struct live *l)
{
	bool waits = false;
	int err = add_targets(l);

	for (unsigned i = 0; i < LOOKS_MAX && err == 0; i++) {
		err = look(l, i, &waits);
		if (err < 0 || (!waits && !in_doubt(l)))
			break;
		wait_before(i);
	}
	return err;
}

/* What came of it. */

static void command_of(struct live *l, uint64_t id, char out[static COMMAND_MAX])
{
	const struct process *p = model_process(l->r->model, id);
	const char *command = p != NULL ? process_command(p, UINT64_MAX) : NULL;

	(void)snprintf(out, COMMAND_MAX, "%s", command != NULL ? command : "");
}

static int add_unseen(struct verified *v, const struct unseen *u)
{
	struct unseen *list = array_room(v->unseen, &v->unseen_room, v->n_unseen + 1, sizeof(*list));

	if (list == NULL)
		return -ENOMEM;
	v->unseen = list;
	list[v->n_unseen++] = *u;
	return 0;
}

static bool why_unseen(struct live *l, const struct target *t, const struct process *p,
		       char out[static REASON_MAX])
{
	static const char no[] = "no: ";
	int n = 0;

	if (is_silent(p))
		n = snprintf(out, REASON_MAX,
			     "did not report: the program it runs should have loaded the library");
	else if (!is_covered(p))
		n = snprintf(out, REASON_MAX, "%s",
			     strncmp(p->covered, no, sizeof(no) - 1) == 0 ? p->covered + sizeof(no) - 1
									  : p->covered);
	else if (t->unreadable != 0)
		n = snprintf(out, REASON_MAX, "its descriptors cannot be read: %s", strerror(-t->unreadable));
	else if (t->count.lost > 0)
		n = snprintf(out, REASON_MAX, "%zu of its connections: their records were overwritten",
			     t->count.lost);
	return n > 0;
}

static int gather_target(struct live *l, const struct target *t, struct verified *v)
{
	const struct process *p = process_of(l, t);
	struct unseen u = { .pid = t->pid };

	if (p == NULL)
		return 0;
	if (is_covered(p) && !is_silent(p) && t->unreadable == 0) {
		v->processes++;
		v->compared += t->count.compared;
	}
	if (!why_unseen(l, t, p, u.reason))
		return 0;
	command_of(l, t->id, u.command);
	return add_unseen(v, &u);
}

/* Records carry the pid that a process sees of itself. */
static const char *why_unrecorded(pid_t pid)
{
	uint64_t its, ours;

	if (kernel_pidns(pid, &its) == 0 && kernel_pidns(getpid(), &ours) == 0 && its != ours)
		return "in a pid namespace of its own: there is no record of it, or it is not to be told "
		       "from "
		       "another's";
	return "no record of it: started without the library";
}

static int gather_procs(const struct live *l, struct verified *v)
{
	int err = 0;

	for (size_t i = 0; i < l->procs.n && err == 0; i++) {
		struct kernel_process k;
		struct unseen u = { .pid = l->procs.list[i].pid };

		if (!l->procs.list[i].unseen || kernel_process(u.pid, &k) < 0 || kernel_process_dead(&k) ||
		    k.start != l->procs.list[i].start)
			continue;
		procs_command(u.pid, u.command, sizeof(u.command));
		(void)snprintf(u.reason, sizeof(u.reason), "%s", why_unrecorded(u.pid));
		err = add_unseen(v, &u);
	}
	return err;
}

static int gather_found(struct live *l, struct verified *v)
{
	for (size_t i = 0; i < l->suspects.n; i++) {
		struct found *list;

		if (!suspect_confirmed(&l->suspects.list[i]))
			continue;
		list = array_room(v->found, &v->found_room, v->n_found + 1, sizeof(*list));
		if (list == NULL)
			return -ENOMEM;
		v->found = list;
		list[v->n_found].difference = l->suspects.list[i].difference;
		command_of(l, list[v->n_found].difference.process, list[v->n_found].command);
		v->n_found++;
	}
	return 0;
}

static int by_unseen_pid(const void *a, const void *b)
{
	const struct unseen *x = a, *y = b;

	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

static int by_found_fd(const void *a, const void *b)
{
	const struct difference *x = &((const struct found *)a)->difference,
				*y = &((const struct found *)b)->difference;

	if (x->pid != y->pid)
		return x->pid < y->pid ? -1 : 1;
	return x->fd < y->fd ? -1 : x->fd > y->fd;
}

static int gather(struct live *l, struct verified *v)
{
	int err = gather_found(l, v);

	for (struct target *t = l->targets; t != NULL && err == 0; t = t->hh.next)
		err = gather_target(l, t, v);
	if (err == 0)
		err = gather_procs(l, v);
	if (v->n_unseen > 1)
		qsort(v->unseen, v->n_unseen, sizeof(*v->unseen), by_unseen_pid);
	if (v->n_found > 1)
		qsort(v->found, v->n_found, sizeof(*v->found), by_found_fd);
	return err;
}

static void live_free(struct live *l)
{
	notes_free(&l->notes);
	free_targets(l);
	free_nets(l);
	free(l->nets);
	free(l->suspects.list);
	free(l->procs.list);
	free(l->fresh);
}

int verify_live(struct recording *r, const char *dir, struct verified *out)
{
	CLEANUP(live_free) struct live l = { .r = r, .dir = dir };
	struct verified v = { 0 };
	int err = begin_reading(&l);

	if (err == 0)
		err = look_until_sure(&l);
	if (err == 0)
		err = gather(&l, &v);
	if (err < 0) {
		verified_free(&v);
		return err;
	}
	*out = v;
	return 0;
}

void verified_free(struct verified *v)
{
	free(v->found);
	free(v->unseen);
	*v = (struct verified){ 0 };
}
