/* SPDX-License-Identifier: MIT */
/*
 * Appending to the log alone, without a hook around it.  Beside it, as the bare thing, what no log can do
 * without: as many bytes stored to memory of the same kind.
 */
#include "arena.h"
#include "bench.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/session.h"

/* A round has claims of room in it, as long runs have: one for a thousand records. */
#define APPENDS 20000
#define ROUNDS 12
#define SESSIONS 5
#define ROOM (CHUNK_LATER * PS_PAGE)
#define SPARSE_SIZE (256 << 20)
#define STORES_A_ROOM (ROOM / sizeof(struct ps_event))

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

void arena_open(struct log *log, const char *dir, uint64_t process)
{
	struct session_info info;
	char path[LOG_PATH_MAX];

	if (session_info(dir, geteuid(), &info) != 0 &&
	    (session_make(dir) != 0 || session_info(dir, geteuid(), &info) != 0))
		die(dir);
	if (session_arena_make(dir, geteuid(), info.size) != 0 ||
	    session_arena_path(dir, geteuid(), path, sizeof(path)) != 0 ||
	    log_open(log, path, geteuid(), process) != 0)
		die("the arena");
}

static double append_round(struct log *log, bool ring)
{
	double begin = now();

	for (int i = 0; i < APPENDS; i++) {
		struct ps_event ev = { .kind = PS_CLOSE, .stamp = log_stamp(), .fd = i };

		if (log_append(log, &ev, NULL, 0, ring, NULL) != LOG_OK)
			die("append");
	}
	return (now() - begin) / APPENDS;
}

static void append_session(bool ring, double *out, unsigned n)
{
	static struct log log;
	char dir[4200];

	new_dir(dir, sizeof(dir));
	arena_open(&log, dir, 1);
	for (unsigned r = 0; r < n; r++)
		out[r] = append_round(&log, ring);
	remove_dir(dir);
}

/* Room at that place of the file, populated as a claim does it. */
static struct ps_event *map_room(int fd, off_t at)
{
	void *p = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_SHARED, fd, at);

	if (p == MAP_FAILED)
		die("mmap");
	(void)madvise(p, ROOM, MADV_POPULATE_WRITE);
	return p;
}

static double store_round(int fd, off_t *size, bool ring)
{
	static struct ps_event *room;
	double begin = now();

	for (size_t i = 0; i < APPENDS; i++) {
		struct ps_event ev = { .kind = PS_CLOSE, .fd = (int)i };

		if (room == NULL || (!ring && i % STORES_A_ROOM == 0)) {
			room = map_room(fd, *size);
			*size += ROOM;
		}
		memcpy(&room[i % STORES_A_ROOM], &ev, sizeof(ev));
		/* Not to be left out, or done once for all. */
		__asm__ volatile("" ::: "memory");
	}
	return (now() - begin) / APPENDS;
}

static void store_session(bool ring, double *out, unsigned n)
{
	char file[4200];
	off_t size = 0;
	int fd;

	new_dir(file, sizeof(file));
	fd = open(file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, SPARSE_SIZE) != 0)
		die(file);
	for (unsigned r = 0; r < n; r++)
		out[r] = store_round(fd, &size, ring);
	unlink(file);
	close(fd);
}

static void append_main(double *out, unsigned n)
{
	append_session(false, out, n);
}

static void append_ring(double *out, unsigned n)
{
	append_session(true, out, n);
}

static void store_main(double *out, unsigned n)
{
	store_session(false, out, n);
}

static void store_ring(double *out, unsigned n)
{
	store_session(true, out, n);
}

typedef void measure_fn(double *out, unsigned n);

static void measure_append(const char *row, measure_fn *store, measure_fn *append, double most)
{
	double bare[SESSIONS * ROUNDS], rounds[SESSIONS * ROUNDS];
	unsigned sessions = bench.smoke ? 1 : SESSIONS, each = bench.smoke ? 1 : ROUNDS;

	if (!wanted(row))
		return;
	for (unsigned s = 0; s < sessions; s++) {
		apart(store, bare + s * each, each);
		apart(append, rounds + s * each, each);
	}
	row_beside(row, median(bare, sessions * each), median(rounds, sessions * each), NS,
		   (struct budget){ .kind = AT_MOST, .value = most });
}

void measure_log(void)
{
	measure_append("one event appended", store_main, append_main, 75);
	measure_append("one event appended, ring", store_ring, append_ring, 45);
}
