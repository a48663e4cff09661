/* SPDX-License-Identifier: MIT */
#include "verify_procs.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel.h"
#include "util.h"

int64_t verify_clock(clockid_t clock)
{
	struct timespec ts = { 0 };

	(void)clock_gettime(clock, &ts);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static int by_pid(const void *a, const void *b)
{
	const struct proc *x = a, *y = b;

	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

static struct proc *proc_find(const struct procs *l, pid_t pid)
{
	struct proc key = { .pid = pid };

	return l->n > 0 ? bsearch(&key, l->list, l->n, sizeof(key), by_pid) : NULL;
}

static int add_proc(struct procs *l, pid_t pid)
{
	struct kernel_process k;
	struct proc *list;

	if (kernel_process(pid, &k) < 0)
		return 0;
	list = array_room(l->list, &l->room, l->n + 1, sizeof(*list));
	if (list == NULL)
		return -ENOMEM;
	l->list = list;
	list[l->n++] = (struct proc){
		.pid = pid, .ppid = k.ppid, .start = k.start, .dead = kernel_process_dead(&k) != 0
	};
	return 0;
}

static int read_procs(struct procs *l)
{
	CLEANUP_DIR DIR *dir = opendir("/proc");
	struct dirent *d;
	int err = 0;

	l->n = 0;
	if (dir == NULL)
		return -errno;
	while (err == 0 && (d = readdir(dir)) != NULL) {
		if (isdigit((unsigned char)d->d_name[0]))
			err = add_proc(l, (pid_t)strtol(d->d_name, NULL, 10));
	}
	if (l->n > 1)
		qsort(l->list, l->n, sizeof(*l->list), by_pid);
	return err;
}

/* Below a recorded process, through others that have no record either. */
static bool below_recorded(const struct procs *l, const struct proc *p)
{
	for (size_t i = 0; i < l->n && p != NULL; i++) { /* what was read while it changed may have loops */
		p = proc_find(l, p->ppid);
		if (p != NULL && p->recorded)
			return true;
	}
	return false;
}

static void mark_procs(struct procs *l, struct model *m)
{
	for (const struct process *p = model_processes(m); p != NULL; p = p->next) {
		struct proc *found = p->live ? proc_find(l, p->pid) : NULL;

		if (found != NULL)
			found->recorded = true;
	}
	for (size_t i = 0; i < l->n; i++) {
		struct proc *p = &l->list[i];

		p->unseen = !p->dead && !p->recorded && p->pid != getpid() && below_recorded(l, p);
	}
}

static bool is_young(const struct proc *p)
{
	long hz = sysconf(_SC_CLK_TCK);
	int64_t start = (int64_t)(p->start * (uint64_t)(NS_PER_S / (hz > 0 ? hz : 100)));

	return verify_clock(CLOCK_BOOTTIME) - start < CONFIRM_NS;
}

static bool same_proc(const struct procs *l, const struct proc *p)
{
	const struct proc *found = proc_find(l, p->pid);

	return found != NULL && found->unseen && found->start == p->start;
}

int procs_look(struct procs *known, struct model *m, bool first, bool *waits)
{
	struct procs now = { 0 };
	int err = read_procs(&now);

	*waits = false;
	if (err < 0) {
		free(now.list);
		return err;
	}
	mark_procs(&now, m);
	for (size_t i = 0; i < now.n; i++) {
		struct proc *p = &now.list[i];

		if (!p->unseen || !is_young(p))
			continue;
		p->unseen = first || same_proc(known, p);
		*waits = *waits || p->unseen;
	}
	free(known->list);
	*known = now;
	return 0;
}

void procs_command(pid_t pid, char *out, size_t size)
{
	char path[32];
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	out[0] = '\0';
	f = fopen(path, "re");
	if (f == NULL)
		return;
	if (fgets(out, (int)size, f) != NULL)
		out[strcspn(out, "\n")] = '\0';
	fclose(f);
}
