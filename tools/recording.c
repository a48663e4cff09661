/* SPDX-License-Identifier: MIT */
#include "recording.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include "pool.h"
#include "sessions.h"
#include "util.h"

#define BOOT_MAX sizeof(((struct session_info *)0)->boot)

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

int recording_survey(struct reader *reader, bool all, struct survey *out)
{
	const struct record *r;
	int ret = reader_begin(reader);

	*out = (struct survey){ 0 };
	while (ret == 0 && (ret = reader_next(reader, &r)) > 0) {
		out->records++;
		out->last = r->ev.stamp;
		out->may_live = out->may_live || names_living(r);
		ret = out->may_live && !all;
	}
	reader_rewind(reader);
	return ret < 0 ? ret : 0;
}

/* Stamps count from the boot: those of two boots make no one order. */
static void read_boot(char out[static BOOT_MAX])
{
	CLEANUP_CLOSE int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, out, BOOT_MAX - 1);

	out[n > 0 ? n : 0] = '\0';
	out[strcspn(out, "\n")] = '\0';
}

static bool is_wanted(struct reader *reader, const struct session_info *info, const char *boot)
{
	struct survey s;

	if (boot != NULL)
		return strcmp(info->boot, boot) == 0;
	return recording_survey(reader, false, &s) == 0 && s.may_live;
}

/* boot: with the ended ones of that boot; NULL: the live ones alone. */
static int open_found(const struct session_list *l, const char *boot, struct recording *r)
{
	r->readers = calloc(l->n + 1, sizeof(struct reader *));
	if (r->readers == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < l->n; i++) {
		struct reader *reader;

		/* One that has been removed meanwhile, or cannot be read, is no live one of the caller's. */
		if (l->list[i].error != 0 || reader_open(l->list[i].dir, &reader) < 0)
			continue;
		if (is_wanted(reader, &l->list[i].info, boot))
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
		return ret < 0 ? ret : open_found(&list, NULL, out);
	}
	out->readers = calloc(1, sizeof(struct reader *));
	if (out->readers == NULL)
		return -ENOMEM;
	ret = reader_open(dir, &out->readers[0]);
	if (ret == 0)
		out->n_readers = 1;
	else
		recording_close(out);
	return ret;
}

int recording_open_all(struct recording *out)
{
	CLEANUP(session_list_freep) struct session_list list = { 0 };
	char boot[BOOT_MAX];
	int ret;

	*out = (struct recording){ 0 };
	read_boot(boot);
	ret = session_list_find(true, &list);
	return ret < 0 ? ret : open_found(&list, boot, out);
}

/* What comes next of each reader. */
struct next {
	struct reader *reader;
	const struct record *record; /* NULL: nothing more */
};

static int advance(struct next *n)
{
	int ret = reader_next(n->reader, &n->record);

	if (ret == 0)
		n->record = NULL;
	return ret < 0 ? ret : 0;
}

static int begin(const struct recording *r, struct next *next)
{
	int ret = 0;

	for (size_t i = 0; i < r->n_readers && ret == 0; i++) {
		next[i].reader = r->readers[i];
		reader_rewind(next[i].reader);
		ret = reader_begin(next[i].reader);
		if (ret == 0)
			ret = advance(&next[i]);
	}
	return ret;
}

static struct next *oldest(struct next *next, size_t n)
{
	struct next *found = NULL;

	for (size_t i = 0; i < n; i++) {
		const struct record *r = next[i].record;

		if (r != NULL && (found == NULL || r->ev.stamp < found->record->ev.stamp))
			found = &next[i];
	}
	return found;
}

static int keep(struct recording *r, const struct record *record)
{
	struct record *more = huge_room(r->records, &r->room, r->n_records, r->n_records + 1, sizeof(*more));

	if (more == NULL)
		return -ENOMEM;
	r->records = more;
	r->records[r->n_records] = *record;
	return 0;
}

static int add_all(struct recording *r, struct next *next, unsigned flags)
{
	struct next *one;
	int ret = begin(r, next);

	while (ret == 0 && (one = oldest(next, r->n_readers)) != NULL) {
		struct record record = *one->record;

		record.reader = (uint32_t)(one - next);
		if (flags & RECORDING_KEEP)
			ret = keep(r, &record);
		if (ret == 0)
			ret = model_add(r->model, &record, 1);
		r->n_records++;
		if (ret == 0)
			ret = advance(one);
	}
	return ret;
}

static int fold(struct recording *r, unsigned flags)
{
	CLEANUP_FREE struct next *next = calloc(r->n_readers + 1, sizeof(*next));
	int ret;

	r->n_records = 0;
	model_freep(&r->model);
	r->model = model_new();
	if (r->model == NULL || next == NULL)
		return -ENOMEM;
	ret = add_all(r, next, flags);
	return ret < 0 ? ret : model_settle(r->model, flags & RECORDING_SCAN_FDS);
}

static int drop_dead(struct recording *r)
{
	CLEANUP_FREE bool *lives = calloc(r->n_readers + 1, sizeof(*lives));
	size_t kept = 0, n = r->n_readers;

	if (lives == NULL)
		return -ENOMEM;
	for (const struct process *p = model_processes(r->model); p != NULL; p = p->next) {
		if (p->live && p->reader < n)
			lives[p->reader] = true;
	}
	for (size_t i = 0; i < n; i++) {
		if (lives[i])
			r->readers[kept++] = r->readers[i];
		else
			reader_close(r->readers[i]);
	}
	r->n_readers = kept;
	return kept < n;
}

int recording_fold(struct recording *r, unsigned flags)
{
	int ret = fold(r, flags);

	if (ret == 0 && (flags & RECORDING_LIVE_ONLY))
		ret = drop_dead(r);
	/* Rare: a pid of an ended session is in use again. */
	return ret > 0 ? fold(r, flags) : ret;
}

void recording_close(struct recording *r)
{
	model_freep(&r->model);
	for (size_t i = 0; i < r->n_readers; i++)
		reader_close(r->readers[i]);
	free(r->readers);
	free(r->records);
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
