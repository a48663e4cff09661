/* SPDX-License-Identifier: MIT */
#include "recording.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include "sessions.h"
#include "util.h"

/* Field 22 of /proc/PID/stat, or 0. */
static uint64_t start_of(pid_t pid)
{
	char path[32], buf[1024];
	CLEANUP_CLOSE int fd = -1;
	ssize_t n;
	char *p;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	if (n <= 0)
		return 0;
	buf[n] = '\0';
	/* The command, field 2, may hold blanks and brackets itself. */
	p = strrchr(buf, ')');
	for (int field = 2; p != NULL && field < 22; field++)
		p = strchr(p + 1, ' ');
	return p != NULL ? strtoull(p + 1, NULL, 10) : 0;
}

static bool names_living(const struct record *r)
{
	pid_t pid;

	switch (r->ev.kind) {
	case PS_START:
		pid = (pid_t)r->ev.start.pid;
		break;
	case PS_BORN:
		pid = (pid_t)r->ev.born.pid;
		break;
	case PS_FORKED:
		pid = (pid_t)r->ev.forked.pid;
		break;
	default:
		return false;
	}
	if (pid <= 0 || (kill(pid, 0) < 0 && errno != EPERM))
		return false;
	return r->ev.kind != PS_START || r->ev.start.start == 0 || start_of(pid) == r->ev.start.start;
}

static bool may_live(const struct reader *reader)
{
	size_t n;
	const struct record *r = reader_records(reader, &n);

	for (size_t i = 0; i < n; i++) {
		if (names_living(&r[i]))
			return true;
	}
	return false;
}

static int open_read(const char *dir, struct reader **out)
{
	int ret = reader_open(dir, out);
	ssize_t n;

	if (ret < 0)
		return ret;
	n = reader_poll(*out);
	if (n >= 0)
		return 0;
	reader_close(*out);
	return (int)n;
}

static int open_living(const struct session_list *l, struct recording *r)
{
	r->readers = calloc(l->n + 1, sizeof(struct reader *));
	if (r->readers == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < l->n; i++) {
		struct reader *reader;

		/* One that has been removed meanwhile, or cannot be read, is no live one of the caller's. */
		if (l->list[i].error != 0 || open_read(l->list[i].dir, &reader) < 0)
			continue;
		if (may_live(reader))
			r->readers[r->n_readers++] = reader;
		else
			reader_close(reader);
	}
	return 0;
}

int recording_open(const char *dir, struct recording *out)
{
	CLEANUP(session_list_freep) struct session_list list = { 0 };
	int ret;

	*out = (struct recording){ 0 };
	if (dir == NULL) {
		ret = session_list_find(true, &list);
		return ret < 0 ? ret : open_living(&list, out);
	}
	out->readers = calloc(1, sizeof(struct reader *));
	if (out->readers == NULL)
		return -ENOMEM;
	ret = open_read(dir, &out->readers[0]);
	if (ret == 0)
		out->n_readers = 1;
	else
		recording_close(out);
	return ret;
}

static size_t count_records(const struct recording *r)
{
	size_t total = 0, n;

	for (size_t i = 0; i < r->n_readers; i++) {
		reader_records(r->readers[i], &n);
		total += n;
	}
	return total;
}

/* The oldest that is left; at: how many of each reader have been taken.  NULL behind the last. */
static const struct record *take_oldest(const struct recording *r, size_t *at)
{
	const struct record *oldest = NULL;
	size_t whose = 0;

	for (size_t i = 0; i < r->n_readers; i++) {
		size_t n;
		const struct record *records = reader_records(r->readers[i], &n);

		if (at[i] < n && (oldest == NULL || records[at[i]].ev.stamp < oldest->ev.stamp)) {
			oldest = &records[at[i]];
			whose = i;
		}
	}
	at[whose]++;
	return oldest;
}

/* Each reader's records are in order already. */
static int merge(struct recording *r)
{
	CLEANUP_FREE size_t *at = calloc(r->n_readers, sizeof(*at));
	struct record *merged = calloc(count_records(r) + 1, sizeof(*merged));
	const struct record *oldest;
	size_t n = 0;

	if (at == NULL || merged == NULL) {
		free(merged);
		return -ENOMEM;
	}
	while ((oldest = take_oldest(r, at)) != NULL)
		merged[n++] = *oldest;
	free(r->merged);
	r->merged = merged;
	r->records = merged;
	r->n_records = n;
	return 0;
}

static int fold(struct recording *r, bool scan_fds)
{
	int ret = 0;

	r->records = NULL;
	r->n_records = 0;
	if (r->n_readers == 1)
		r->records = reader_records(r->readers[0], &r->n_records);
	else if (r->n_readers > 1)
		ret = merge(r);
	if (ret < 0)
		return ret;
	model_freep(&r->model);
	r->model = model_new();
	if (r->model == NULL)
		return -ENOMEM;
	ret = model_add(r->model, r->records, r->n_records);
	return ret < 0 ? ret : model_settle(r->model, scan_fds);
}

static bool reader_lives(const struct reader *reader, struct model *m)
{
	size_t n;
	const struct record *r = reader_records(reader, &n);

	for (size_t i = 0; i < n; i++) {
		const struct process *p = model_process(m, r[i].ev.process);

		if (p != NULL && p->live)
			return true;
	}
	return false;
}

static bool drop_dead(struct recording *r)
{
	size_t kept = 0, n = r->n_readers;

	for (size_t i = 0; i < n; i++) {
		if (reader_lives(r->readers[i], r->model))
			r->readers[kept++] = r->readers[i];
		else
			reader_close(r->readers[i]);
	}
	r->n_readers = kept;
	return kept < n;
}

bool recording_may_live(const struct recording *r)
{
	for (size_t i = 0; i < r->n_readers; i++) {
		if (may_live(r->readers[i]))
			return true;
	}
	return false;
}

int recording_fold(struct recording *r, bool live_only, bool scan_fds)
{
	int ret = fold(r, scan_fds);

	/* Rare: a pid of an ended session is in use again. */
	if (ret == 0 && live_only && drop_dead(r))
		ret = fold(r, scan_fds);
	return ret;
}

void recording_close(struct recording *r)
{
	model_freep(&r->model);
	for (size_t i = 0; i < r->n_readers; i++)
		reader_close(r->readers[i]);
	free(r->readers);
	free(r->merged);
	*r = (struct recording){ 0 };
}

int64_t recording_offset(const struct recording *r)
{
	return r->n_readers > 0 ? reader_realtime_offset(r->readers[0]) : 0;
}

const struct process *model_live(struct model *m)
{
	for (const struct process *p = model_processes(m); p != NULL; p = p->next) {
		if (p->live)
			return p;
	}
	return NULL;
}
