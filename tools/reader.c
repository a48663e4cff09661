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
#include "util.h"

#define CLOCK_DRIFT_MAX INT64_C(1000000000)
#define CHUNK_PAGES_MAX 64u /* more than any writer claims, even with pages of 64 KiB */

struct chunk {
	uint64_t page;
	uint32_t pages, slots;
	bool ring;
	uint64_t count; /* as last read */
	uint32_t *seen; /* the commit word that each slot was taken with; 0: not yet */
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
	char *again;	/* a chunk, as it was at the second look */
	struct pool pool;
};

/* What one poll finds. */
struct poll {
	char *copies; /* the chunks one behind another, each as it was at the first look */
	struct taken *taken;
	size_t n_taken;
	struct run *runs;
	size_t n_runs;
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
	r->again = malloc((size_t)CHUNK_PAGES_MAX * PS_PAGE);
	if (r->again == NULL)
		return -ENOMEM;
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
	free(r->again);
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

static int add_chunk(struct reader *r, struct arena *a, uint64_t page, const struct ps_chunk *head, size_t at)
{
	struct chunk *more, c = { .page = page, .pages = head->pages, .ring = head->ring != 0 };

	more = array_room(a->chunks, &a->room, a->n_chunks + 1, sizeof(*more));
	if (more == NULL)
		return -ENOMEM;
	a->chunks = more;
	c.slots = PS_CHUNK_SLOTS(c.pages);
	c.seen = pool_take(&r->pool, c.slots * sizeof(*c.seen));
	if (c.seen == NULL)
		return -ENOMEM;
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
			ret = add_chunk(r, a, page, &head, i);
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

static const struct ps_event *slot_of(const char *copy, uint32_t i)
{
	return (const struct ps_event *)(const void *)(copy + sizeof(struct ps_chunk) +
						       (size_t)i * PS_SLOT_SIZE);
}

/* Both looks at one chunk. */
struct looks {
	const char *first, *second;
};

/* Finished, and the same at both looks: then the first copy is whole. */
static bool is_whole(const struct looks *l, uint32_t i, enum ps_state state)
{
	uint32_t commit = slot_of(l->first, i)->commit;

	return commit == slot_of(l->second, i)->commit && (commit & 3) == (uint32_t)state;
}

/* Whether all tails of the record at slot i are its own. */
static bool has_tails(const struct looks *l, uint32_t i, const struct ps_event *ev)
{
	for (uint32_t k = 1; k < ev->slots; k++) {
		if (!is_whole(l, i + k, PS_TAIL) || slot_of(l->first, i + k)->commit >> 2 != ev->commit >> 2)
			return false;
	}
	return true;
}

static bool is_sane(const struct chunk *c, uint32_t i, const struct ps_event *ev)
{
	return ev->kind > PS_NO_EVENT && ev->kind < PS_KINDS && ev->slots >= 1 && ev->slots <= PS_SLOTS_MAX &&
	       i + ev->slots <= c->slots && ev->tail <= (ev->slots - 1u) * PS_TAIL_BYTES;
}

/* Takes the record at slot i; returns how many slots that settled, 0 if it is not there yet. */
static uint32_t take_record(struct reader *r, struct poll *p, const struct looks *l, struct chunk *c,
			    uint32_t i)
{
	const struct ps_event *ev = slot_of(l->first, i);

	if (!is_whole(l, i, PS_DONE))
		return 0;
	if (!is_sane(c, i, ev)) {
		r->bad++;
		c->seen[i] = ev->commit;
		return 1;
	}
	if (!has_tails(l, i, ev))
		return 0;
	if (ev->kind != PS_PAD)
		p->taken[p->n_taken++] = (struct taken){ ev->stamp, ev };
	c->n_counters += ev->kind == PS_COUNT;
	for (uint32_t k = 0; k < ev->slots; k++)
		c->seen[i + k] = slot_of(l->first, i + k)->commit;
	return ev->slots;
}

/* A counter that was taken before: given again, the model finds what is new. */
static void again(struct reader *r, struct poll *p, const struct looks *l, struct chunk *c, uint32_t i)
{
	if (slot_of(l->first, i)->kind != PS_COUNT)
		return;
	c->n_counters--;
	take_record(r, p, l, c, i);
}

static void take_records(struct reader *r, struct poll *p, const struct looks *l, struct chunk *c)
{
	uint32_t limit;

	c->count = ((const struct ps_chunk *)(const void *)l->first)->count;
	limit = c->count < c->slots ? (uint32_t)c->count : c->slots;
	c->pending = 0;
	for (uint32_t i = 0; i < limit;) {
		uint32_t commit = slot_of(l->first, i)->commit, taken;

		if (c->seen[i] != 0 && c->seen[i] == commit) {
			again(r, p, l, c, i);
			i++;
			continue;
		}
		taken = take_record(r, p, l, c, i);
		/* Tails of a record that is not whole are no records of their own. */
		if (taken == 0 && (commit & 3) != PS_TAIL)
			c->pending++;
		i += taken > 0 ? taken : 1;
	}
}

static bool may_have_news(const struct chunk *c)
{
	return c->ring || c->count < c->slots || c->pending > 0 || c->n_counters > 0;
}

static size_t chunk_size(const struct chunk *c)
{
	return (size_t)c->pages * PS_PAGE;
}

static bool look(const struct arena *a, const struct chunk *c, char *copy)
{
	return pread(a->fd, copy, chunk_size(c), (off_t)(c->page * PS_PAGE)) == (ssize_t)chunk_size(c);
}

static void read_chunk(struct reader *r, struct poll *p, const struct arena *a, struct chunk *c, char *copy)
{
	struct looks l = { copy, r->again };
	struct run run = { .at = p->taken + p->n_taken,
			   .copy = copy + sizeof(struct ps_chunk),
			   .uid = a->uid };

	if (!look(a, c, copy) || !look(a, c, r->again))
		return;
	take_records(r, p, &l, c);
	run.end = p->taken + p->n_taken;
	run.place = (uint64_t)(a - r->arenas) << 48 |
		    (c->page * PS_PAGE / PS_SLOT_SIZE + sizeof(struct ps_chunk) / PS_SLOT_SIZE);
	if (run.at == run.end)
		return;
	run_sort(&run);
	p->runs[p->n_runs++] = run;
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

/* Room for all that the chunks may hold. */
static int poll_begin(const struct reader *r, struct poll *p)
{
	size_t size = 0, n = 0;

	for (size_t i = 0; i < r->n_arenas; i++) {
		const struct arena *a = &r->arenas[i];

		for (size_t k = 0; k < a->n_chunks; k++) {
			if (!may_have_news(&a->chunks[k]))
				continue;
			size += chunk_size(&a->chunks[k]);
			n++;
		}
	}
	p->copies = huge_alloc(size + 1);
	p->taken = huge_alloc(size / PS_SLOT_SIZE * sizeof(*p->taken) + 1);
	p->runs = huge_alloc(n * sizeof(*p->runs) + 1);
	return p->copies != NULL && p->taken != NULL && p->runs != NULL ? 0 : -ENOMEM;
}

static void poll_free(struct poll *p)
{
	free(p->copies);
	free(p->taken);
	free(p->runs);
}

static void read_all(struct reader *r, struct poll *p)
{
	char *copy = p->copies;

	for (size_t i = 0; i < r->n_arenas; i++) {
		const struct arena *a = &r->arenas[i];

		for (size_t k = 0; k < a->n_chunks; k++) {
			size_t size = chunk_size(&a->chunks[k]);

			if (!may_have_news(&a->chunks[k]))
				continue;
			read_chunk(r, p, a, &a->chunks[k], copy);
			copy += size;
		}
	}
}

static int copy_tail(struct reader *r, struct record *rec, const struct ps_event *ev)
{
	char *tail;

	if (ev->slots == 1)
		return 0;
	tail = pool_take(&r->pool, (ev->slots - 1u) * PS_TAIL_BYTES);
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

static int add_records(struct reader *r, struct poll *p)
{
	struct record *more =
		huge_room(r->records, &r->room, r->n_records, r->n_records + p->n_taken, sizeof(*more));
	int ret = 0;

	if (more == NULL)
		return -ENOMEM;
	r->records = more;
	runs_begin(p->runs, p->n_runs);
	while (p->n_runs > 0 && ret == 0) {
		const struct run *run = p->runs;
		struct record *rec = &r->records[r->n_records++];

		*rec = (struct record){ .ev = *run->at->ev,
					.uid = run->uid,
					.place = run_place(run, run->at) };
		ret = copy_tail(r, rec, run->at->ev);
		runs_advance(p->runs, &p->n_runs);
	}
	return ret;
}

ssize_t reader_poll(struct reader *r)
{
	CLEANUP(poll_free) struct poll p = { 0 };
	size_t before = r->n_records;
	int ret = find_all(r);

	if (ret == 0)
		ret = poll_begin(r, &p);
	if (ret == 0) {
		read_all(r, &p);
		ret = p.n_taken > 0 ? add_records(r, &p) : 0;
	}
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
