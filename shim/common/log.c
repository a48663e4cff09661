/* SPDX-License-Identifier: MIT */
#include "log.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "sys.h"
#include "text.h"

#define RING_PAGES CHUNK_LATER
#define BORROWED_RECORDS 8
#define BORROW_ON 64 /* after a failed claim */
#define BACK_OFF_MIN 64u
#define BACK_OFF_MAX 4096u
#define APPEND_TRIES 1000

/* proc(5): the command is in parentheses, may hold anything itself, and is at most 15 bytes long; the start
 * is field 22. */
uint64_t log_own_start(char command[static 16])
{
	char buf[512], *first, *last;
	uint64_t start = 0;
	const char *p;
	ssize_t n;
	int fd = sys_open("/proc/self/stat", O_RDONLY | O_CLOEXEC);

	command[0] = '\0';
	if (fd < 0)
		return 0;
	n = sys_read(fd, buf, sizeof(buf) - 1);
	sys_close(fd);
	buf[n > 0 ? n : 0] = '\0';
	first = strchr(buf, '(');
	last = strrchr(buf, ')');
	if (first == NULL || last == NULL)
		return 0;
	p = last;
	for (int field = 2; p != NULL && field < 22; field++) {
		p = strchr(p, ' ');
		if (p != NULL)
			p++;
	}
	if (p != NULL)
		text_take_u64(&p, 10, &start);
	if (last - first <= 16) {
		memcpy(command, first + 1, (size_t)(last - first - 1));
		command[last - first - 1] = '\0';
	}
	return start;
}

/* Counted, as a child that is forked meanwhile has the claim's descriptor. */
static int claim(struct log *log, struct log_place *place, unsigned pages, bool ring, chunk_ref *out)
{
	struct claimant who = { .process = atomic_load_explicit(&unshared.process, RELAXED),
				.start = atomic_load_explicit(&unshared.start, RELAXED),
				.pid = atomic_load_explicit(&unshared.pid, RELAXED),
				.alone = log->alone };
	int ret;

	atomic_fetch_add(&log->claiming, 1);
	ret = place_claim(place, &who, pages, ring, out);
	atomic_fetch_sub(&log->claiming, 1);
	return ret;
}

static struct log_place *present(struct log *log)
{
	return &log->places[atomic_load_explicit(&log->place, ACQUIRE) & 1];
}

/* claim() for a running log: not while frozen, and less and less often where it keeps failing. */
static bool claim_next(struct log *log, unsigned pages, bool ring, chunk_ref *out)
{
	uint32_t wait = atomic_load_explicit(&log->back_off, RELAXED);
	struct log_place *place = present(log);

	if (atomic_load_explicit(&log->frozen, RELAXED))
		return false;
	if (wait > 0) {
		atomic_store_explicit(&log->back_off, wait - 1, RELAXED);
		return false;
	}
	if (claim(log, place, pages, ring, out) == 0) {
		atomic_store_explicit(&log->failures, 0, RELAXED);
		return true;
	}
	wait = atomic_fetch_add_explicit(&log->failures, 1, RELAXED);
	atomic_store_explicit(&log->back_off, wait < 6 ? BACK_OFF_MIN << wait : BACK_OFF_MAX, RELAXED);
	return false;
}

uint32_t log_uid(const struct log *log)
{
	return log->places[atomic_load_explicit(&log->place, ACQUIRE) & 1].uid;
}

static void use_first(struct log *log, chunk_ref first)
{
	atomic_store_explicit(&log->claimant, atomic_load_explicit(&unshared.process, RELAXED), RELAXED);
	atomic_store(&log->main, first);
	atomic_store(&log->ring, first);
	atomic_store(&log->pages, CHUNK_SECOND);
	atomic_store(&log->spare, 0);
}

int log_open(struct log *log, const char *path, uint32_t uid, uint64_t process)
{
	chunk_ref first;
	int ret = place_set(&log->places[0], path, uid);

	if (ret < 0)
		return ret;
	atomic_store(&log->place, 0);
	atomic_store(&unshared.process, process);
	atomic_store(&unshared.borrowed, 0);
	ret = claim(log, &log->places[0], CHUNK_FIRST, false, &first);
	if (ret < 0)
		return ret;
	use_first(log, first);
	return 0;
}

static void remember(struct log *log, struct log_place *place)
{
	place->main = atomic_load(&log->main);
	place->ring = atomic_load(&log->ring);
	place->spare = atomic_load(&log->spare);
	place->pages = atomic_load(&log->pages);
}

/* Memory of our own in its place: an append under way in another thread must find some. */
static void cover(void *p, unsigned pages)
{
	if (p != NULL)
		sys6(SYS_mmap, p, pages * PS_PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

static void cover_chunk(chunk_ref *ref)
{
	cover(chunk_of(*ref), chunk_pages(*ref));
	*ref = 0;
}

void log_leave(struct log *log)
{
	struct log_place *other = &log->places[(atomic_load(&log->place) + 1) & 1];
	chunk_ref retired;

	if (other->main == 0)
		return;
	retired = atomic_exchange(&log->retired, 0);
	if (other->ring == other->main)
		other->ring = 0;
	cover_chunk(&other->main);
	cover_chunk(&other->ring);
	cover_chunk(&other->spare);
	cover_chunk(&retired);
	cover(atomic_exchange(&other->header, NULL), 1);
}

bool log_return(struct log *log, uint32_t uid)
{
	uint32_t next = (atomic_load(&log->place) + 1) & 1;
	struct log_place *old = &log->places[(next + 1) & 1], *place = &log->places[next];

	if (place->main == 0 || place->uid != uid || old->uid == uid)
		return false;
	remember(log, old);
	atomic_store(&log->place, next);
	atomic_store(&log->main, place->main);
	atomic_store(&log->ring, place->ring);
	atomic_store(&log->spare, place->spare);
	atomic_store(&log->pages, place->pages);
	return true;
}

int log_move(struct log *log, const char *path, uint32_t uid)
{
	uint32_t next = (atomic_load(&log->place) + 1) & 1;
	struct log_place *old = &log->places[(next + 1) & 1];
	chunk_ref first;
	int ret;

	if (log_return(log, uid))
		return 0;
	log_leave(log);
	ret = place_set(&log->places[next], path, uid);
	if (ret < 0)
		return ret;
	ret = claim(log, &log->places[next], CHUNK_LATER, false, &first);
	if (ret < 0)
		return ret;
	remember(log, old);
	atomic_store(&log->place, next);
	use_first(log, first);
	atomic_store(&log->pages, CHUNK_LATER);
	atomic_store(&unshared.borrowed, 0);
	return 0;
}

void log_forked(struct log *log, uint64_t process)
{
	struct log_place *place = present(log);

	atomic_store_explicit(&unshared.process, process, RELAXED);
	atomic_store_explicit(&unshared.start, 0, RELAXED);
	atomic_store_explicit(&unshared.borrowed, BORROWED_RECORDS, RELAXED);
	/* The parent's too, and not to be come back to. */
	if (!atomic_load_explicit(&log->frozen, RELAXED))
		log_leave(log);
	if (atomic_load_explicit(&log->claiming, RELAXED) <= 0 || atomic_load_explicit(&log->frozen, RELAXED))
		return;
	place_close_fds(place);
	atomic_store(&log->claiming, 0);
}

void log_reserve(struct log *log)
{
	chunk_ref ref = atomic_load(&log->ring), none = 0;

	if (atomic_load(&log->frozen))
		return;
	if (!(ref & CHUNK_RING) && claim_next(log, RING_PAGES, true, &ref))
		atomic_store(&log->ring, ref);
	if (atomic_load(&log->spare) == 0 && claim_next(log, CHUNK_LATER, false, &ref))
		atomic_compare_exchange_strong(&log->spare, &none, ref);
}

/* A forked child's own first chunk.  Where it cannot be had the parent's goes on serving. */
static void stop_borrowing(struct log *log)
{
	int32_t last = 1;
	chunk_ref first;

	/* One thread alone; the others meanwhile still borrow. */
	if (!atomic_compare_exchange_strong(&unshared.borrowed, &last, 0))
		return;
	if (claim_next(log, CHUNK_FIRST, false, &first))
		use_first(log, first);
	else
		atomic_store(&unshared.borrowed, BORROW_ON);
}

static void borrow(struct log *log)
{
	int32_t left = atomic_load_explicit(&unshared.borrowed, RELAXED);

	if (left > 1)
		atomic_compare_exchange_strong(&unshared.borrowed, &left, left - 1);
	else
		stop_borrowing(log);
}

/*
 * Chunks that are full stay mapped, as a thread or a handler may be in the middle of its last record,
 * but a child need not have them: each would be one more mapping to copy at every fork.  The last one is
 * still left to it, for a handler that forks in the middle of an append.
 */
static void retire(struct log *log, chunk_ref full)
{
	chunk_ref before = atomic_exchange(&log->retired, full);

	if (before != 0 && !atomic_load_explicit(&log->frozen, RELAXED))
		sys3(SYS_madvise, chunk_of(before), chunk_pages(before) * PS_PAGE, MADV_DONTFORK);
}

/* The chunk to go on with after `full`, or 0. */
static chunk_ref next_chunk(struct log *log, _Atomic chunk_ref *lane, chunk_ref full)
{
	bool ring = lane == &log->ring;
	chunk_ref next = 0, none = 0;
	unsigned pages = atomic_load(&log->pages);

	/* The parent's is full: a child that is about to exec needs a small one, not the parent's next size.
	 */
	if (atomic_load(&unshared.borrowed) > 0) {
		atomic_store(&unshared.borrowed, 1);
		stop_borrowing(log);
	}
	if (atomic_load(lane) != full)
		return atomic_load(lane);
	if (!ring)
		next = atomic_exchange(&log->spare, 0);
	if (next == 0 && !claim_next(log, ring ? RING_PAGES : pages, ring, &next))
		return 0;
	if (!atomic_compare_exchange_strong(lane, &full, next)) {
		/* Another thread was faster.  A ring that lost stays claimed and empty. */
		if (!ring)
			atomic_compare_exchange_strong(&log->spare, &none, next);
		return atomic_load(lane);
	}
	if (!ring) {
		atomic_store(&log->pages, CHUNK_LATER);
		/* The first chunk may still be the ring's. */
		if (full != atomic_load(&log->ring))
			retire(log, full);
	}
	return next;
}

static struct ps_event *append_lane(struct log *log, _Atomic chunk_ref *lane, const struct ps_event *ev,
				    const void *tail, size_t tail_len)
{
	chunk_ref ref = atomic_load_explicit(lane, ACQUIRE);

	/* While this thread waits for a core the others may fill chunk after chunk; bounded all the same. */
	for (int tries = 0; ref != 0 && tries < APPEND_TRIES; tries++) {
		struct ps_event *slot = chunk_append(ref, ev, tail, tail_len);

		if (slot != NULL)
			return slot;
		ref = next_chunk(log, lane, ref);
	}
	return NULL;
}

bool log_in_ring(const struct log *log, const struct ps_event *place)
{
	chunk_ref ref = atomic_load_explicit(&log->ring, RELAXED);
	uintptr_t from = (uintptr_t)chunk_of(ref), at = (uintptr_t)place;

	return (ref & CHUNK_RING) && at > from && at < from + chunk_pages(ref) * PS_PAGE;
}

static void count_lost(struct log *log)
{
	struct ps_arena *header = atomic_load_explicit(&present(log)->header, ACQUIRE);

	atomic_fetch_add_explicit(&log->lost, 1, RELAXED);
	if (header != NULL)
		atomic_fetch_add_explicit(SHARED(header->dropped), 1, RELAXED);
}

static void tell_lost(struct log *log, const struct ps_event *first)
{
	struct ps_event ev = {
		.kind = PS_DROPPED, .slots = 1, .stamp = first->stamp, .process = first->process, .fd = -1
	};

	ev.dropped.records = atomic_exchange(&log->lost, 0);
	append_lane(log, &log->main, &ev, NULL, 0);
}

enum log_result log_append(struct log *log, struct ps_event *ev, const void *tail, size_t tail_len, bool ring,
			   struct ps_event **place)
{
	struct ps_event *slot;

	if (ev->process == 0)
		ev->process = atomic_load_explicit(&unshared.process, RELAXED);
	if (tail_len > PS_TAIL_MAX) {
		tail_len = PS_TAIL_MAX;
		ev->flags |= PS_F_TRUNCATED;
	}
	ev->tail = (uint16_t)tail_len;
	ev->slots = (uint8_t)(1 + (tail_len + PS_TAIL_BYTES - 1) / PS_TAIL_BYTES);
	if (atomic_load_explicit(&unshared.borrowed, RELAXED) > 0)
		borrow(log);
	slot = append_lane(log, ring ? &log->ring : &log->main, ev, tail, tail_len);
	if (slot == NULL) {
		count_lost(log);
		return LOG_DROPPED;
	}
	if (place != NULL)
		*place = slot;
	/* Not for a vfork child, whose record this may be: the loss is its parent's, who must take stock. */
	if (atomic_load_explicit(&log->lost, RELAXED) == 0 ||
	    ev->process != atomic_load_explicit(&unshared.process, RELAXED))
		return LOG_OK;
	tell_lost(log, ev);
	return LOG_RECOVERED;
}
