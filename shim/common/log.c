/* SPDX-License-Identifier: MIT */
#include "log.h"

#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "sys.h"
#include "text.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define FIRST_PAGES 1u
#define SECOND_PAGES 4u
#define LATER_PAGES 16u
#define RING_PAGES 16u
#define BORROWED_RECORDS 8
#define BORROW_ON 64 /* after a failed claim */
#define BACK_OFF_MIN 64u
#define BACK_OFF_MAX 4096u
#define CLAIM_TRIES 4
#define APPEND_TRIES 1000
#define SWEEP_FDS 1024

#define RELAXED memory_order_relaxed
#define ACQUIRE memory_order_acquire
#define RELEASE memory_order_release

/* Shared memory is plain in the record's layout; these make the accesses atomic. */
#define SHARED(field) ((_Atomic __typeof__(field) *)&(field))

uint64_t log_stamp(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t realtime(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* proc(5): field 22, counted from behind the command's last ')', which may hold anything itself. */
uint64_t log_own_start(void)
{
	char buf[512];
	ssize_t n;
	const char *p;
	uint64_t start = 0;
	int fd = sys_open("/proc/self/stat", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	n = sys_read(fd, buf, sizeof(buf) - 1);
	sys_close(fd);
	if (n <= 0)
		return 0;
	buf[n] = '\0';
	p = strrchr(buf, ')');
	for (int field = 2; p != NULL && field < 22; field++) {
		p = strchr(p, ' ');
		if (p != NULL)
			p++;
	}
	if (p != NULL)
		text_take_u64(&p, 10, &start);
	return start;
}

static struct ps_chunk *chunk_of(chunk_ref ref)
{
	return (struct ps_chunk *)(ref & ~(chunk_ref)(PS_PAGE - 1));
}

static unsigned slots_of(chunk_ref ref)
{
	unsigned pages = (unsigned)(ref & (CHUNK_RING - 1));

	/* A constant here spares the append a division by a variable. */
	return pages == LATER_PAGES ? PS_CHUNK_SLOTS(LATER_PAGES) : PS_CHUNK_SLOTS(pages);
}

static struct ps_event *slot_at(chunk_ref ref, unsigned i)
{
	return (struct ps_event *)(void *)((char *)chunk_of(ref) + sizeof(struct ps_chunk) +
					   (size_t)i * PS_SLOT_SIZE);
}

static void write_slot(void *slot, const void *from, uint32_t lap, enum ps_state state)
{
	_Atomic uint32_t *commit = slot;

	atomic_store_explicit(commit, PS_COMMIT(lap, PS_BEGIN), RELAXED);
	/* A reader that sees any of the new bytes must not see the old lap's commit word. */
	atomic_thread_fence(RELEASE);
	memcpy((char *)slot + sizeof(*commit), (const char *)from + sizeof(*commit),
	       PS_SLOT_SIZE - sizeof(*commit));
	atomic_store_explicit(commit, PS_COMMIT(lap, state), RELEASE);
}

static void write_tails(chunk_ref ref, unsigned i, unsigned slots, uint32_t lap, const char *tail, size_t len)
{
	for (unsigned k = 1; k < slots; k++) {
		struct ps_tail piece = { 0 };
		size_t part = len < sizeof(piece.data) ? len : sizeof(piece.data);

		memcpy(piece.data, tail, part);
		tail += part;
		len -= part;
		write_slot(slot_at(ref, i + k), &piece, lap, PS_TAIL);
	}
}

static void pad(chunk_ref ref, uint64_t from, uint64_t to)
{
	static const struct ps_event none = { .kind = PS_PAD, .slots = 1, .fd = -1 };
	unsigned total = slots_of(ref);

	for (; from < to; from++)
		write_slot(slot_at(ref, (unsigned)(from % total)), &none, (uint32_t)(from / total), PS_DONE);
}

struct ps_event *chunk_append(chunk_ref ref, const struct ps_event *ev, const void *tail, size_t tail_len)
{
	unsigned total = slots_of(ref);
	unsigned slots = 1 + (unsigned)((tail_len + PS_TAIL_BYTES - 1) / PS_TAIL_BYTES);
	_Atomic uint64_t *count = SHARED(chunk_of(ref)->count);

	for (;;) {
		uint64_t n;
		unsigned i;

		if (!(ref & CHUNK_RING) && atomic_load_explicit(count, RELAXED) >= total)
			return NULL;
		n = atomic_fetch_add_explicit(count, slots, RELAXED);
		if (!(ref & CHUNK_RING) && n >= total)
			return NULL;
		i = (unsigned)(n % total);
		if (i + slots <= total) {
			struct ps_event *slot = slot_at(ref, i);
			uint32_t lap = (uint32_t)(n / total);

			write_tails(ref, i, slots, lap, tail, tail_len);
			write_slot(slot, ev, lap, PS_DONE);
			return slot;
		}
		/* It would straddle the end. */
		if (!(ref & CHUNK_RING)) {
			pad(ref, n, total);
			return NULL;
		}
		pad(ref, n, n + slots);
	}
}

static bool same_file(const struct log_place *place, const struct stat *st)
{
	return S_ISREG(st->st_mode) && st->st_uid == place->uid && (st->st_mode & 077) == 0 &&
	       (place->ino == 0 || (st->st_dev == place->dev && st->st_ino == place->ino));
}

static bool is_error(long ret)
{
	return ret < 0 && ret > -4096;
}

static long map(int fd, uint64_t page, unsigned pages)
{
	return sys6(SYS_mmap, 0, pages * PS_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, page * PS_PAGE);
}

/* The header stays mapped, for the cursor and the drop counters. */
static int map_header(struct log_place *place, int fd, uint64_t size, struct ps_arena **out)
{
	struct ps_arena *header = atomic_load_explicit(&place->header, ACQUIRE);
	struct ps_arena *none = NULL;
	long p;

	if (header != NULL) {
		*out = header;
		return 0;
	}
	if (size < PS_PAGE)
		return -EPROTO;
	p = map(fd, 0, 1);
	if (is_error(p))
		return (int)p;
	header = (struct ps_arena *)p;
	if (header->magic != PS_ARENA_MAGIC || header->version != PS_VERSION || header->endian != PS_ENDIAN) {
		sys2(SYS_munmap, p, PS_PAGE);
		return -EPROTO;
	}
	if (!atomic_compare_exchange_strong(&place->header, &none, header)) {
		sys2(SYS_munmap, p, PS_PAGE);
		header = none;
	}
	*out = header;
	return 0;
}

static void fill_chunk(struct log *log, struct ps_chunk *chunk, unsigned pages, bool ring, uint32_t uid,
		       int pid)
{
	chunk->version = PS_VERSION;
	chunk->endian = PS_ENDIAN;
	chunk->pages = pages;
	chunk->process = atomic_load_explicit(&log->process, RELAXED);
	/* Of a forked one it is not known: to ask takes a descriptor, and a vfork child, on its parent's
	 * memory, would hear another answer than its parent. */
	chunk->start = atomic_load_explicit(&log->start, RELAXED);
	chunk->pid = (uint32_t)pid;
	chunk->uid = uid;
	chunk->ring = ring;
	chunk->monotonic = log_stamp();
	chunk->realtime = realtime();
	atomic_store_explicit(SHARED(chunk->magic), PS_CHUNK_MAGIC, RELEASE);
}

/*
 * Pages of the arena without a descriptor: mremap(2) of a shared mapping with an old size of 0 maps
 * the same file again, as far as it is told.  At EMFILE this goes on; no number is taken that the
 * program may close, or use for a file of its own that we would then close; and it works where the
 * path no longer leads anywhere.  The header is unlocked, or all before the pages were filled in.
 */
static long map_again(struct ps_arena *header, uint64_t page, unsigned pages)
{
	long p;

	sys2(SYS_munlock, header, PS_PAGE);
	p = sys5(SYS_mremap, header, 0, (page + pages) * PS_PAGE, MREMAP_MAYMOVE, 0);
	if (is_error(p))
		return p;
	sys2(SYS_munmap, p, page * PS_PAGE);
	return p + (long)(page * PS_PAGE);
}

/* One try at the pages the cursor points to.  -EAGAIN: they are somebody's. */
static int claim_at_cursor(struct log *log, struct log_place *place, int fd, uint64_t size, unsigned pages,
			   bool ring, chunk_ref *out)
{
	struct ps_arena *header;
	uint64_t at, unowned = 0;
	int pid, ret = map_header(place, fd, size, &header);
	long p;

	if (ret < 0)
		return ret;
	at = atomic_fetch_add_explicit(SHARED(header->cursor), pages, RELAXED);
	if (at == 0 || at >= size / PS_PAGE || pages > size / PS_PAGE - at)
		return -ENOSPC;
	p = fd < 0 ? map_again(header, at, pages) : map(fd, at, pages);
	if (is_error(p))
		return fd < 0 ? -ENOTSUP : (int)p;
	/* Untouched until it is populated: a page that the disk has no room for would be SIGBUS. */
	ret = (int)sys3(SYS_madvise, p, pages * PS_PAGE, MADV_POPULATE_WRITE);
	if (ret < 0) {
		uint64_t next = at + pages;

		sys2(SYS_munmap, p, pages * PS_PAGE);
		/* Nobody has them: when there is room again, they are as good as any. */
		atomic_compare_exchange_strong(SHARED(header->cursor), &next, at);
		return ret;
	}
	pid = sys_getpid();
	if (!atomic_compare_exchange_strong(SHARED(((struct ps_chunk *)p)->owner), &unowned, (uint64_t)pid)) {
		sys2(SYS_munmap, p, pages * PS_PAGE);
		return -EAGAIN;
	}
	fill_chunk(log, (struct ps_chunk *)p, pages, ring, place->uid, pid);
	*out = (chunk_ref)p | pages | (ring ? CHUNK_RING : 0);
	return 0;
}

static int claim_tries(struct log *log, struct log_place *place, int fd, uint64_t size, unsigned pages,
		       bool ring, chunk_ref *out)
{
	int ret = -EAGAIN;

	for (int tries = 0; tries < CLAIM_TRIES && ret == -EAGAIN; tries++)
		ret = claim_at_cursor(log, place, fd, size, pages, ring, out);
	return ret;
}

static int claim_from(struct log *log, struct log_place *place, int fd, unsigned pages, bool ring,
		      chunk_ref *out)
{
	struct stat st;
	int ret = (int)sys2(SYS_fstat, fd, &st);

	if (ret < 0)
		return ret;
	if (!same_file(place, &st))
		return -EPERM;
	/* Only the first claim, before other threads can have one. */
	if (place->ino == 0) {
		place->dev = st.st_dev;
		place->ino = st.st_ino;
	}
	ret = claim_tries(log, place, fd, (uint64_t)st.st_size, pages, ring, out);
	if (ret == 0)
		atomic_store_explicit(&place->size, (uint64_t)st.st_size, RELEASE);
	return ret;
}

/* Claims so that a chunk is a whole number of the machine's pages. */
static unsigned whole_pages(unsigned pages)
{
	unsigned unit = (unsigned)(getauxval(AT_PAGESZ) / PS_PAGE);

	return unit > 1 ? (pages + unit - 1) / unit * unit : pages;
}

static int claim(struct log *log, struct log_place *place, unsigned pages, bool ring, chunk_ref *out)
{
	struct ps_arena *header;
	uint64_t size = atomic_load_explicit(&place->size, ACQUIRE);
	struct stat st;
	int fd, ret;

	atomic_fetch_add(&log->claiming, 1);
	ret = size != 0 ? claim_tries(log, place, -1, size, whole_pages(pages), ring, out) : -ENOTSUP;
	if (ret == -ENOTSUP) {
		ret = fd = sys_open(place->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
		if (fd >= 0) {
			ret = claim_from(log, place, fd, whole_pages(pages), ring, out);
			/* The program may have closed it, and the number be another file's. */
			if (sys2(SYS_fstat, fd, &st) == 0 && same_file(place, &st))
				sys_close(fd);
		}
	}
	header = atomic_load_explicit(&place->header, ACQUIRE);
	if (ret < 0 && header != NULL)
		atomic_fetch_add_explicit(SHARED(header->refused), 1, RELAXED);
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

static void use_first(struct log *log, chunk_ref first)
{
	atomic_store(&log->main, first);
	atomic_store(&log->ring, first);
	atomic_store(&log->pages, SECOND_PAGES);
	atomic_store(&log->spare, 0);
}

static int set_place(struct log_place *place, const char *path, uint32_t uid)
{
	size_t len = strlen(path);

	if (len >= sizeof(place->path))
		return -ENAMETOOLONG;
	memcpy(place->path, path, len + 1);
	place->uid = uid;
	place->dev = 0;
	place->ino = 0;
	place->main = 0;
	atomic_store(&place->size, 0);
	atomic_store(&place->header, NULL);
	return 0;
}

int log_open(struct log *log, const char *path, uint32_t uid, uint64_t process)
{
	chunk_ref first;
	int ret = set_place(&log->places[0], path, uid);

	if (ret < 0)
		return ret;
	atomic_store(&log->place, 0);
	atomic_store(&log->process, process);
	ret = claim(log, &log->places[0], FIRST_PAGES, false, &first);
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
	cover(chunk_of(*ref), (unsigned)(*ref & (CHUNK_RING - 1)));
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
	ret = set_place(&log->places[next], path, uid);
	if (ret < 0)
		return ret;
	ret = claim(log, &log->places[next], LATER_PAGES, false, &first);
	if (ret < 0)
		return ret;
	remember(log, old);
	atomic_store(&log->place, next);
	use_first(log, first);
	atomic_store(&log->pages, LATER_PAGES);
	atomic_store(&log->borrowed, 0);
	return 0;
}

void log_forked(struct log *log, uint64_t process)
{
	struct log_place *place = present(log);

	atomic_store_explicit(&log->process, process, RELAXED);
	atomic_store_explicit(&log->start, 0, RELAXED);
	atomic_store_explicit(&log->borrowed, BORROWED_RECORDS, RELAXED);
	/* The parent's too, and not to be come back to. */
	if (!atomic_load_explicit(&log->frozen, RELAXED))
		log_leave(log);
	if (atomic_load_explicit(&log->claiming, RELAXED) <= 0 || atomic_load_explicit(&log->frozen, RELAXED))
		return;
	for (int fd = 0; fd < SWEEP_FDS; fd++) {
		struct stat st;

		if (sys2(SYS_fstat, fd, &st) == 0 && place->ino != 0 && st.st_ino == place->ino &&
		    same_file(place, &st))
			sys_close(fd);
	}
	atomic_store(&log->claiming, 0);
}

void log_reserve(struct log *log)
{
	chunk_ref ref = atomic_load(&log->ring), none = 0;

	if (atomic_load(&log->frozen))
		return;
	if (!(ref & CHUNK_RING) && claim_next(log, RING_PAGES, true, &ref))
		atomic_store(&log->ring, ref);
	if (atomic_load(&log->spare) == 0 && claim_next(log, LATER_PAGES, false, &ref))
		atomic_compare_exchange_strong(&log->spare, &none, ref);
}

/* A forked child's own first chunk.  Where it cannot be had the parent's goes on serving. */
static void stop_borrowing(struct log *log)
{
	int32_t last = 1;
	chunk_ref first;

	/* One thread alone; the others meanwhile still borrow. */
	if (!atomic_compare_exchange_strong(&log->borrowed, &last, 0))
		return;
	if (claim_next(log, FIRST_PAGES, false, &first))
		use_first(log, first);
	else
		atomic_store(&log->borrowed, BORROW_ON);
}

static void borrow(struct log *log)
{
	int32_t left = atomic_load_explicit(&log->borrowed, RELAXED);

	if (left > 1)
		atomic_compare_exchange_strong(&log->borrowed, &left, left - 1);
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
		sys3(SYS_madvise, chunk_of(before), (before & (CHUNK_RING - 1)) * PS_PAGE, MADV_DONTFORK);
}

/* The chunk to go on with after `full`, or 0. */
static chunk_ref next_chunk(struct log *log, _Atomic chunk_ref *lane, chunk_ref full)
{
	bool ring = lane == &log->ring;
	chunk_ref next = 0, none = 0;
	unsigned pages = atomic_load(&log->pages);

	/* The parent's is full: a child that is about to exec needs a small one, not the parent's next size. */
	if (atomic_load(&log->borrowed) > 0) {
		atomic_store(&log->borrowed, 1);
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
		atomic_store(&log->pages, LATER_PAGES);
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

	return (ref & CHUNK_RING) && at > from && at < from + (ref & (CHUNK_RING - 1)) * PS_PAGE;
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
		ev->process = atomic_load_explicit(&log->process, RELAXED);
	if (tail_len > PS_TAIL_MAX) {
		tail_len = PS_TAIL_MAX;
		ev->flags |= PS_F_TRUNCATED;
	}
	ev->tail = (uint16_t)tail_len;
	ev->slots = (uint8_t)(1 + (tail_len + PS_TAIL_BYTES - 1) / PS_TAIL_BYTES);
	if (atomic_load_explicit(&log->borrowed, RELAXED) > 0)
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
	    ev->process != atomic_load_explicit(&log->process, RELAXED))
		return LOG_OK;
	tell_lost(log, ev);
	return LOG_RECOVERED;
}
