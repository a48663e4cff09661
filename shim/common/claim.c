/* SPDX-License-Identifier: MIT */
#include "claim.h"

#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "sys.h"
#include "unshared.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define CLAIM_TRIES 4
#define SWEEP_FDS 1024
#define EARLY_STAMPS 12

HOT static _Atomic bool clock_by_call;

void log_clock_by_call(bool may)
{
	atomic_store(&clock_by_call, may);
}

/* The vDSO is three pages that an image has not touched yet, and a child not since the fork: that is dearer
 * than a few system calls. */
static bool is_early(void)
{
	uint32_t n;

	if (!atomic_load_explicit(&clock_by_call, RELAXED))
		return false;
	n = atomic_load_explicit(&unshared.stamps, RELAXED);
	if (n >= EARLY_STAMPS)
		return false;
	atomic_store_explicit(&unshared.stamps, n + 1, RELAXED);
	return true;
}

static uint64_t clock_now(clockid_t clock)
{
	struct timespec ts;

	if (!is_early() || sys2(SYS_clock_gettime, clock, &ts) < 0)
		clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t log_stamp(void)
{
	return clock_now(CLOCK_MONOTONIC);
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

static bool is_ours(const struct ps_arena *header)
{
	return header->magic == PS_ARENA_MAGIC && header->version == PS_VERSION &&
	       header->endian == PS_ENDIAN;
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
	if (!is_ours(header)) {
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

static void fill_chunk(const struct claimant *who, struct ps_chunk *chunk, unsigned pages, bool ring,
		       uint32_t uid, int pid)
{
	chunk->version = PS_VERSION;
	chunk->endian = PS_ENDIAN;
	chunk->pages = pages;
	chunk->process = who->process;
	/* Of a forked one it is not known: to ask takes a descriptor, and a vfork child, on its parent's
	 * memory, would hear another answer than its parent. */
	chunk->start = who->start;
	chunk->pid = (uint32_t)pid;
	chunk->uid = uid;
	chunk->ring = ring;
	chunk->monotonic = log_stamp();
	chunk->realtime = clock_now(CLOCK_REALTIME);
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

/* The pages at that number.  -EAGAIN: they are somebody's. */
static int claim_pages(const struct claimant *who, const struct log_place *place, long p, unsigned pages,
		       bool ring, chunk_ref *out)
{
	uint64_t unowned = 0;
	int pid = who->pid != 0 ? (int)who->pid : sys_getpid();

	if (!atomic_compare_exchange_strong(SHARED(((struct ps_chunk *)p)->owner), &unowned, (uint64_t)pid))
		return -EAGAIN;
	fill_chunk(who, (struct ps_chunk *)p, pages, ring, place->uid, pid);
	*out = (chunk_ref)p | pages | (ring ? CHUNK_RING : 0);
	return 0;
}

/* Untouched until they are populated: a page that the disk has no room for would be SIGBUS. */
static int populate(long p, unsigned pages)
{
	return (int)sys3(SYS_madvise, p, pages * PS_PAGE, MADV_POPULATE_WRITE);
}

/* One try at the pages the cursor points to. */
static int claim_at_cursor(const struct claimant *who, struct log_place *place, int fd, uint64_t size,
			   unsigned pages, bool ring, chunk_ref *out)
{
	struct ps_arena *header;
	uint64_t at;
	int ret = map_header(place, fd, size, &header);
	long p;

	if (ret < 0)
		return ret;
	at = atomic_fetch_add_explicit(SHARED(header->cursor), pages, RELAXED);
	if (at == 0 || at >= size / PS_PAGE || pages > size / PS_PAGE - at)
		return -ENOSPC;
	p = fd < 0 ? map_again(header, at, pages) : map(fd, at, pages);
	if (is_error(p))
		return fd < 0 ? -ENOTSUP : (int)p;
	ret = populate(p, pages);
	if (ret < 0) {
		uint64_t next = at + pages;

		/* Nobody has them: when there is room again, they are as good as any. */
		atomic_compare_exchange_strong(SHARED(header->cursor), &next, at);
	} else {
		ret = claim_pages(who, place, p, pages, ring, out);
	}
	if (ret < 0)
		sys2(SYS_munmap, p, pages * PS_PAGE);
	return ret;
}

static int claim_tries(const struct claimant *who, struct log_place *place, int fd, uint64_t size,
		       unsigned pages, bool ring, chunk_ref *out)
{
	int ret = -EAGAIN;

	for (int tries = 0; tries < CLAIM_TRIES && ret == -EAGAIN; tries++)
		ret = claim_at_cursor(who, place, fd, size, pages, ring, out);
	return ret;
}

static int claim_from(const struct claimant *who, struct log_place *place, int fd, unsigned pages, bool ring,
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
	ret = claim_tries(who, place, fd, (uint64_t)st.st_size, pages, ring, out);
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

int place_claim(struct log_place *place, const struct claimant *who, unsigned pages, bool ring,
		chunk_ref *out)
{
	struct ps_arena *header;
	uint64_t size = atomic_load_explicit(&place->size, ACQUIRE);
	struct stat st;
	int fd, ret;

	ret = size != 0 ? claim_tries(who, place, -1, size, whole_pages(pages), ring, out) : -ENOTSUP;
	if (ret == -ENOTSUP) {
		ret = fd = sys_open(place->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
		if (fd >= 0) {
			ret = claim_from(who, place, fd, whole_pages(pages), ring, out);
			/* The program may have closed it, and the number be another file's. */
			if (who->alone || (sys2(SYS_fstat, fd, &st) == 0 && same_file(place, &st)))
				sys_close(fd);
		}
	}
	header = atomic_load_explicit(&place->header, ACQUIRE);
	if (ret < 0 && header != NULL)
		atomic_fetch_add_explicit(SHARED(header->refused), 1, RELAXED);
	return ret;
}

int place_set(struct log_place *place, const char *path, uint32_t uid)
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

void place_close_fds(const struct log_place *place)
{
	for (int fd = 0; fd < SWEEP_FDS; fd++) {
		struct stat st;

		if (sys2(SYS_fstat, fd, &st) == 0 && place->ino != 0 && st.st_ino == place->ino &&
		    same_file(place, &st))
			sys_close(fd);
	}
}
