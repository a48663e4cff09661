/* SPDX-License-Identifier: MIT */
/* Appending to the log alone, without a hook around it. */
#include "arena.h"
#include "bench.h"

#include <unistd.h>

#include "common/session.h"

/* A round has claims of room in it, as long runs have: one for a thousand records. */
#define APPENDS 20000
#define ROUNDS 12
#define SESSIONS 5

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

static void append_main(double *out, unsigned n)
{
	append_session(false, out, n);
}

static void append_ring(double *out, unsigned n)
{
	append_session(true, out, n);
}

static void measure_append(const char *row, void (*append)(double *, unsigned), double most)
{
	double rounds[SESSIONS * ROUNDS];
	unsigned sessions = bench.smoke ? 1 : SESSIONS, each = bench.smoke ? 1 : ROUNDS;

	if (!wanted(row))
		return;
	for (unsigned s = 0; s < sessions; s++)
		apart(append, rounds + s * each, each);
	row_single(row, median(rounds, sessions * each), NS, (struct budget){ AT_MOST, most });
}

void measure_log(void)
{
	measure_append("one event appended", append_main, 75);
	measure_append("one event appended, ring", append_ring, 45);
}
