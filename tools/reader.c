/* SPDX-License-Identifier: MIT */
#include "reader.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "common/session.h"
#include "common/text.h"
#include "pool.h"
#include "runs.h"
#include "slots.h"
#include "util.h"

#define CLOCK_DRIFT_MAX INT64_C(1000000000)
#define CHUNK_PAGES_MAX 64u /* more than any writer claims, even with pages of 64 KiB */

struct chunk {
	uint64_t page;
	uint32_t pages, slots;
	bool ring;
	uint64_t count; /* as last read */
	uint32_t *seen; /* as of struct walk; NULL where nothing was taken, or all, for good */
	uint32_t pending;
	uint32_t n_counters;
};

struct arena {
	int fd;
	uint32_t uid;
	uint64_t first_gap; /* no page before it is outside a known chunk */
	uint64_t dropped, refused;
	struct chunk *chunks;
	size_t n_chunks, room;
};

struct reader {
	char dir[SESSION_PATH_MAX];
	struct session_info info;
	struct arena *arenas;
	size_t n_arenas;
	struct record *records;
	size_t n_records, room;
	uint64_t bad;
	uint64_t first; /* when the oldest chunk was claimed, CLOCK_MONOTONIC; 0: none yet */
	int64_t offset; /* CLOCK_REALTIME minus CLOCK_MONOTONIC then */
	char *glance;	/* a chunk that is looked at but not kept */
	uint32_t glance_pages;
	struct pool pool;
	struct copy *spare[CHUNK_PAGES_MAX + 1]; /* by their pages */
	struct visit *visits;			 /* by stamp */
	size_t n_visits, visits_room, visited;
	struct run *runs; /* room for one a visit */
	size_t n_runs, runs_room;
	struct record current;
};

/* A chunk that was found to have news. */
struct visit {
	size_t arena, chunk;
	uint32_t limit, n;
	bool whole;	  /* nothing more will come */
	uint64_t first;	  /* stamp */
	uint64_t commits; /* slots_hash() */
};

/* A chunk's bytes, and behind them its records. */
struct copy {
	struct copy *next;
	uint32_t pages;
	uint32_t spare;
	char bytes[];
};

static int64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static int set_dir(struct reader *r, const char *dir)
{
	struct text t = TEXT_IN(r->dir);

	text_add(&t, dir);
	return t.full ? -ENAMETOOLONG : session_info(dir, geteuid(), &r->info);
}

int reader_open(const char *dir, struct reader **out)
{
	CLEANUP(reader_closep) struct reader *r = calloc(1, sizeof(*r));
	int ret;

	if (r == NULL)
		return -ENOMEM;
	ret = set_dir(r, dir);
	if (ret < 0)
		return ret;
	*out = r;
	r = NULL;
	return 0;
}

void reader_close(struct reader *r)
{
	for (size_t i = 0; i < r->n_arenas; i++) {
		free(r->arenas[i].chunks);
		close(r->arenas[i].fd);
	}
	free(r->arenas);
	free(r->records);
	free(r->visits);
	free(r->runs);
	pool_free(&r->pool);
	free(r);
}

/* "arena.UID" -> UID */
static bool arena_uid(const char *name, uint32_t *uid)
{
	size_t len = strlen(SESSION_ARENA_PREFIX);
	const char *p = name + len;
	uint64_t n;

	if (strncmp(name, SESSION_ARENA_PREFIX, len) != 0 || !text_take_u64(&p, 10, &n) || *p != '\0' ||
	    n > UINT32_MAX)
		return false;
	*uid = (uint32_t)n;
	return true;
}

static bool have_arena(const struct reader *r, uint32_t uid)
{
	for (size_t i = 0; i < r->n_arenas; i++) {
		if (r->arenas[i].uid == uid)
			return true;
	}
	return false;
}

/* An arena must belong to the uid that its name says: nobody else may tell that uid's story. */
static int add_arena(struct reader *r, int dirfd, const char *name, uint32_t uid)
{
	struct arena *more, a = { .uid = uid, .first_gap = 1 };
	struct stat st;

	a.fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (a.fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(a.fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != uid) {
		close(a.fd);
		r->bad++;
		return 0;
	}
	more = reallocarray(r->arenas, r->n_arenas + 1, sizeof(*more));
	if (more == NULL) {
		close(a.fd);
		return -ENOMEM;
	}
	r->arenas = more;
	r->arenas[r->n_arenas++] = a;
	return 0;
}

static int find_arenas(struct reader *r)
{
	CLEANUP_DIR DIR *d = opendir(r->dir);
	struct dirent *e;
	uint32_t uid;
	int ret;

	if (d == NULL)
		return -errno;
	while ((e = readdir(d)) != NULL) {
		if (!arena_uid(e->d_name, &uid) || have_arena(r, uid))
			continue;
		ret = add_arena(r, dirfd(d), e->d_name, uid);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static bool is_chunk(const struct ps_chunk *c, uint64_t pages_left)
{
	return c->magic == PS_CHUNK_MAGIC && c->version == PS_VERSION && c->endian == PS_ENDIAN &&
	       c->pages > 0 && c->pages <= CHUNK_PAGES_MAX && c->pages <= pages_left;
}

static int add_chunk(struct arena *a, uint64_t page, const struct ps_chunk *head, size_t at)
{
	struct chunk *more, c = { .page = page, .pages = head->pages, .ring = head->ring != 0 };

	more = array_room(a->chunks, &a->room, a->n_chunks + 1, sizeof(*more));
	if (more == NULL)
		return -ENOMEM;
	a->chunks = more;
	c.slots = PS_CHUNK_SLOTS(c.pages);
	memmove(a->chunks + at + 1, a->chunks + at, (a->n_chunks - at) * sizeof(c));
	a->chunks[at] = c;
	a->n_chunks++;
	return 0;
}

/* The first page from `page` on that holds data: what was never claimed is a hole. */
static uint64_t next_data(const struct arena *a, uint64_t page, uint64_t end)
{
	off_t at = lseek(a->fd, (off_t)(page * PS_PAGE), SEEK_DATA);

	if (at < 0)
		return errno == ENXIO ? end : page;
	return (uint64_t)at / PS_PAGE > page ? (uint64_t)at / PS_PAGE : page;
}

/* The oldest chunk's clocks serve the whole session, so that a stamp is the same time at each look. */
static void note_clocks(struct reader *r, const struct ps_chunk *head)
{
	if (r->first != 0 && r->first <= head->monotonic)
		return;
	r->first = head->monotonic;
	r->offset = (int64_t)(head->realtime - head->monotonic);
}

/* Chunks are found by looking at every page that is none's yet; the header's cursor is not believed. */
static int find_chunks(struct reader *r, struct arena *a)
{
	uint64_t end = r->info.size / PS_PAGE, page = a->first_gap, gap = 0;
	size_t i = 0;
	struct ps_chunk head;
	int ret;

	while (i < a->n_chunks && a->chunks[i].page < page)
		i++;
	while (page < end) {
		if (i < a->n_chunks && a->chunks[i].page == page) {
			page += a->chunks[i++].pages;
			continue;
		}
		if (pread(a->fd, &head, sizeof(head), (off_t)(page * PS_PAGE)) != sizeof(head))
			break;
		if (is_chunk(&head, end - page)) {
			note_clocks(r, &head);
			ret = add_chunk(a, page, &head, i);
			if (ret < 0)
				return ret;
			continue;
		}
		if (gap == 0)
			gap = page;
		page = next_data(a, page + 1, end);
	}
	a->first_gap = gap != 0 ? gap : page;
	return 0;
}

static void read_header(struct arena *a)
{
	struct ps_arena head;

	if (pread(a->fd, &head, sizeof(head), 0) == sizeof(head) && head.magic == PS_ARENA_MAGIC) {
		a->dropped = head.dropped;
		a->refused = head.refused;
	}
}

static int find_all(struct reader *r)
{
	int ret = find_arenas(r);

	for (size_t i = 0; ret == 0 && i < r->n_arenas; i++) {
		read_header(&r->arenas[i]);
		ret = find_chunks(r, &r->arenas[i]);
	}
	return ret;
}

static size_t chunk_size(const struct chunk *c)
{
	return (size_t)c->pages * PS_PAGE;
}

static bool look(const struct arena *a, const struct chunk *c, char *copy)
{
	return pread(a->fd, copy, chunk_size(c), (off_t)(c->page * PS_PAGE)) == (ssize_t)chunk_size(c);
}

static bool may_have_news(const struct chunk *c)
{
	return c->ring || c->count < c->slots || c->pending > 0 || c->n_counters > 0;
}

/* Room for the largest chunk so far. */
static bool glance_room(struct reader *r, const struct chunk *c)
{
	char *more;

	if (c->pages <= r->glance_pages)
		return true;
	more = pool_take_raw(&r->pool, chunk_size(c));
	if (more == NULL)
		return false;
	r->glance = more;
	r->glance_pages = c->pages;
	return true;
}

/*
 * The first look finds what there is and when it begins; the chunk is copied at the second, when its
 * records' turn has come.  So no more of the log is in memory at a time than is written at a time.
 */
static int first_look(struct reader *r, size_t arena, size_t chunk)
{
	struct chunk *c = &r->arenas[arena].chunks[chunk];
	struct walk w = { .slots = c->slots, .seen = c->seen };
	struct visit *more;

	if (!glance_room(r, c))
		return -ENOMEM;
	if (!may_have_news(c) || !look(&r->arenas[arena], c, r->glance))
		return 0;
	w.copy = r->glance;
	c->count = ((const struct ps_chunk *)(const void *)r->glance)->count;
	w.limit = c->count < c->slots ? (uint32_t)c->count : c->slots;
	slots_walk(&w);
	c->pending = w.pending;
	if (w.n == 0 && w.settled == 0)
		return 0;
	more = array_room(r->visits, &r->visits_room, r->n_visits + 1, sizeof(*more));
	if (more == NULL)
		return -ENOMEM;
	r->visits = more;
	r->visits[r->n_visits++] = (struct visit){
		.arena = arena,
		.chunk = chunk,
		.limit = w.limit,
		.n = w.n,
		.whole = !c->ring && w.limit == c->slots && w.pending == 0 && w.counters == 0,
		.first = w.first,
		.commits = slots_hash(&w),
	};
	return 0;
}

static int by_first(const void *a, const void *b)
{
	const struct visit *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

int reader_begin(struct reader *r)
{
	int ret = find_all(r);
	struct run *runs;

	r->n_visits = r->visited = r->n_runs = 0;
	for (size_t i = 0; i < r->n_arenas && ret == 0; i++) {
		for (size_t k = 0; k < r->arenas[i].n_chunks && ret == 0; k++)
			ret = first_look(r, i, k);
	}
	if (ret < 0 || r->n_visits == 0)
		return ret;
	runs = array_room(r->runs, &r->runs_room, r->n_visits, sizeof(*runs));
	if (runs == NULL)
		return -ENOMEM;
	r->runs = runs;
	qsort(r->visits, r->n_visits, sizeof(*r->visits), by_first);
	return 0;
}

static struct copy *copy_take(struct reader *r, const struct chunk *c)
{
	struct copy *copy = r->spare[c->pages];

	if (copy != NULL) {
		r->spare[c->pages] = copy->next;
		return copy;
	}
	copy = pool_take_raw(&r->pool, sizeof(*copy) + chunk_size(c) + c->slots * sizeof(struct taken_slot));
	if (copy != NULL)
		copy->pages = c->pages;
	return copy;
}

static void copy_give(struct reader *r, struct copy *copy)
{
	copy->next = r->spare[copy->pages];
	r->spare[copy->pages] = copy;
}

/*
 * At the second look the commit words must be as at the first.  Where some are not, and in a ring,
 * which goes round, a third look tells which records are still those that were copied.  1, or 0 where
 * the file cannot be read, or -ENOMEM.
 */
static int second_look(struct reader *r, const struct visit *v, struct walk *w)
{
	const struct arena *a = &r->arenas[v->arena];
	struct chunk *c = &a->chunks[v->chunk];
	bool same = slots_hash(w) == v->commits && !c->ring;

	if (!same) {
		if (!look(a, c, r->glance))
			return 0;
		w->later = r->glance;
	}
	if (c->seen == NULL && !(same && v->whole))
		c->seen = pool_take(&r->pool, c->slots * sizeof(*c->seen));
	w->seen = c->seen;
	return same || c->seen != NULL ? 1 : -ENOMEM;
}

/* 1 if there is something in it, and *copy is the run's then; 0 or -ENOMEM. */
static int read_chunk(struct reader *r, const struct visit *v, struct copy *copy, struct run *run)
{
	const struct arena *a = &r->arenas[v->arena];
	struct chunk *c = &a->chunks[v->chunk];
	struct walk w = { .copy = copy->bytes, .slots = c->slots, .limit = v->limit, .least = v->first };
	int ret;

	w.taken = (struct taken_slot *)(void *)(copy->bytes + chunk_size(c));
	ret = look(a, c, copy->bytes) ? second_look(r, v, &w) : 0;
	if (ret <= 0) {
		c->count = 0; /* next time */
		r->bad += ret == 0;
		return ret;
	}
	slots_walk(&w);
	c->pending = w.pending;
	c->n_counters += w.counters;
	r->bad += w.bad;
	*run = (struct run){
		.at = w.taken,
		.end = w.taken + w.n,
		.copy = copy,
		.slots = copy->bytes + sizeof(struct ps_chunk),
		.place = (uint64_t)v->arena << 48 |
			 (c->page * PS_PAGE / PS_SLOT_SIZE + sizeof(struct ps_chunk) / PS_SLOT_SIZE),
		.uid = a->uid,
	};
	run_sort(run);
	return w.n > 0;
}

/* All chunks that may have the next record. */
static int open_chunks(struct reader *r)
{
	for (; r->visited < r->n_visits; r->visited++) {
		const struct visit *v = &r->visits[r->visited];
		struct copy *copy;
		struct run run;
		int ret;

		if (r->n_runs > 0 && r->runs[0].at->stamp < v->first)
			break;
		copy = copy_take(r, &r->arenas[v->arena].chunks[v->chunk]);
		if (copy == NULL)
			return -ENOMEM;
		ret = read_chunk(r, v, copy, &run);
		if (ret > 0)
			runs_add(r->runs, &r->n_runs, &run);
		else
			copy_give(r, copy);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int copy_tail(struct reader *r, struct record *rec, const struct ps_event *ev)
{
	char *tail;

	if (ev->slots == 1)
		return 0;
	tail = pool_take_raw(&r->pool, (ev->slots - 1u) * PS_TAIL_BYTES);
	if (tail == NULL)
		return -ENOMEM;
	for (uint32_t k = 1; k < ev->slots; k++) {
		const struct ps_tail *t = (const void *)(ev + k);

		memcpy(tail + (size_t)(k - 1) * PS_TAIL_BYTES, t->data, PS_TAIL_BYTES);
	}
	rec->tail = tail;
	rec->tail_len = ev->tail;
	return 0;
}

int reader_next(struct reader *r, const struct record **out)
{
	int ret = open_chunks(r);
	const struct run *run = r->runs;
	struct copy *copy;

	if (ret < 0 || r->n_runs == 0)
		return ret;
	copy = run->at + 1 == run->end ? run->copy : NULL;
	r->current = (struct record){ .ev = *run->at->ev, .uid = run->uid, .place = run_place(run, run->at) };
	ret = copy_tail(r, &r->current, run->at->ev);
	if (ret < 0)
		return ret;
	runs_advance(r->runs, &r->n_runs);
	if (copy != NULL)
		copy_give(r, copy);
	*out = &r->current;
	return 1;
}

void reader_rewind(struct reader *r)
{
	for (size_t i = 0; i < r->n_arenas; i++) {
		r->arenas[i].n_chunks = 0;
		r->arenas[i].first_gap = 1;
	}
	for (; r->n_runs > 0; r->n_runs--)
		copy_give(r, r->runs[r->n_runs - 1].copy);
	r->n_visits = r->visited = 0;
	r->n_records = 0;
	r->bad = 0;
}

static int keep_all(struct reader *r)
{
	size_t n = 0;
	struct record *more;
	const struct record *rec;
	int ret;

	for (size_t i = 0; i < r->n_visits; i++)
		n += r->visits[i].n;
	while ((ret = reader_next(r, &rec)) > 0) {
		more = huge_room(r->records, &r->room, r->n_records, r->n_records + n + 1, sizeof(*more));
		if (more == NULL)
			return -ENOMEM;
		r->records = more;
		r->records[r->n_records++] = *rec;
		n -= n > 0;
	}
	return ret;
}

ssize_t reader_poll(struct reader *r)
{
	size_t before = r->n_records;
	int ret = reader_begin(r);

	if (ret == 0)
		ret = keep_all(r);
	return ret < 0 ? ret : (ssize_t)(r->n_records - before);
}

const struct record *reader_records(const struct reader *r, size_t *n)
{
	*n = r->n_records;
	return r->records;
}

void reader_stats(const struct reader *r, struct reader_stats *out)
{
	struct reader_stats s = { .bad = r->bad };

	for (size_t i = 0; i < r->n_arenas; i++) {
		const struct arena *a = &r->arenas[i];

		s.dropped += a->dropped;
		s.refused += a->refused;
		s.chunks += a->n_chunks;
		for (size_t k = 0; k < a->n_chunks; k++) {
			const struct chunk *c = &a->chunks[k];

			s.bytes += (uint64_t)c->pages * PS_PAGE;
			s.torn += c->pending;
			if (c->ring && c->count > c->slots)
				s.overwritten += c->count - c->slots;
		}
	}
	*out = s;
}

const char *reader_dir(const struct reader *r)
{
	return r->dir;
}

uint64_t reader_created(const struct reader *r)
{
	return r->info.created;
}

int64_t reader_realtime_offset(const struct reader *r)
{
	int64_t now = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC);
	int64_t drift = r->offset - now;

	/* Unless the clock was set since, or somebody scribbled. */
	return r->first != 0 && drift > -CLOCK_DRIFT_MAX && drift < CLOCK_DRIFT_MAX ? r->offset : now;
}
