/* SPDX-License-Identifier: MIT */
#include "outsider.h"

#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "kernel.h"
#include "model.h"
#include "util.h"
#include "verify_procs.h"

#define FRESH_NS 1000000000

static const struct kernel_socket *find_socket(const struct kernel_diag *diag, const struct endpoint *asked,
					       uint16_t type)
{
	const struct kernel_socket *found = NULL;

	for (size_t i = 0; i < diag->n; i++) {
		const struct kernel_socket *s = &diag->sockets[i].socket;

		if (s->state == KERNEL_OPEN || s->state == KERNEL_CONNECTED ||
		    (type != 0 && s->type != type) || !endpoint_overlap(&s->local, asked))
			continue;
		if (found == NULL || s->state == KERNEL_LISTEN)
			found = s;
	}
	return found;
}

static int is_inode(int32_t fd, uint64_t inode, void *arg)
{
	return inode == *(const uint64_t *)arg;
}

static pid_t find_holder(uint64_t inode)
{
	CLEANUP_DIR DIR *dir = opendir("/proc");
	struct dirent *d;

	while (dir != NULL && (d = readdir(dir)) != NULL) {
		pid_t pid = isdigit((unsigned char)d->d_name[0]) ? (pid_t)strtol(d->d_name, NULL, 10) : 0;

		if (pid > 0 && kernel_fds(pid, is_inode, &inode) == 1)
			return pid;
	}
	return 0;
}

void outsiders_free(struct outsiders *l)
{
	if (l->read != 0)
		kernel_diag_free(&l->diag);
	l->read = 0;
	recording_close(&l->sessions);
	l->sessions_read = false;
}

static bool read_kernel(struct outsiders *l)
{
	int64_t now = verify_clock(CLOCK_MONOTONIC);

	if (l->read != 0 && now - l->read < FRESH_NS)
		return true;
	outsiders_free(l);
	if (kernel_diag(getpid(), &l->diag) < 0)
		return false;
	l->read = now;
	return true;
}

static const char *find_session(struct outsiders *l, pid_t pid)
{
	struct recording *r = &l->sessions;

	if (!l->sessions_read && (recording_open(NULL, r) < 0 || recording_fold(r, RECORDING_LIVE_ONLY) < 0))
		recording_close(r);
	l->sessions_read = true;
	for (const struct process *p = r->model != NULL ? model_processes(r->model) : NULL; p != NULL;
	     p = p->next) {
		if (p->live && p->pid == pid && p->reader < r->n_readers)
			return reader_dir(r->readers[p->reader]);
	}
	return NULL;
}

bool outsider_find(struct outsiders *l, const struct endpoint *asked, uint16_t type, struct outsider *out)
{
	const struct kernel_socket *s = read_kernel(l) ? find_socket(&l->diag, asked, type) : NULL;

	if (s == NULL)
		return false;
	*out = (struct outsider){ .local = s->local, .pid = find_holder(s->inode) };
	if (out->pid == 0)
		return true;
	procs_command(out->pid, out->command, sizeof(out->command));
	out->session = find_session(l, out->pid);
	return true;
}
