/* SPDX-License-Identifier: MIT */
/*
 * bench [--smoke] PORTSHIM SCRATCH [ROW…]: what recording costs, against the budgets.
 *
 *   --smoke   a round of everything, short: whether it works; its numbers say nothing
 *   ROW       only the rows that have one of these words in their names
 *
 * Itself it is the measured program too: see main().
 */
#include "bench.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECONDS_MAX 180

struct bench bench;

static const struct role {
	const char *name;
	int (*run)(const char *argument);
} roles[] = {
	{ "--worker", calls_worker },
	{ "--crowd", crowd },
	{ "--short-binds", short_binds },
};

static void (*const parts[])(void) = { measure_log, measure_calls, measure_nginx, measure_reading,
				       measure_crowd };

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* All on one CPU: only one of them ever has work to do, and none is woken on another. */
static void use_one_cpu(void)
{
	cpu_set_t last;

	CPU_ZERO(&last);
	CPU_SET((size_t)sysconf(_SC_NPROCESSORS_ONLN) - 1, &last);
	(void)sched_setaffinity(0, sizeof(last), &last);
}

/* The files beside this program. */
static void find_files(void)
{
	static char self[4096], library[4200], program[4200];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int dir = len > 0 ? (int)(strrchr(self, '/') - self) : 0;

	snprintf(library, sizeof(library), "%.*s/do_nothing.so", dir, self);
	snprintf(program, sizeof(program), "%.*s/nothing", dir, self);
	bench.self = self;
	bench.nothing_library = library;
	bench.nothing_program = program;
}

int main(int argc, char **argv)
{
	int i = 1;

	signal(SIGPIPE, SIG_IGN);
	for (unsigned r = 0; r < COUNT_OF(roles) && argc == 3; r++) {
		if (strcmp(argv[1], roles[r].name) == 0)
			return roles[r].run(argv[2]);
	}
	if (argc > 1 && strcmp(argv[1], "--smoke") == 0) {
		bench.smoke = true;
		i++;
	}
	if (argc - i < 2) {
		fprintf(stderr, "usage: bench [--smoke] PORTSHIM SCRATCH [ROW…]\n");
		return 2;
	}
	bench.portshim = argv[i];
	snprintf(bench.scratch, sizeof(bench.scratch), "%s", argv[i + 1]);
	bench.only = argv + i + 2;
	find_files();
	use_one_cpu();
	/* Its children end with it, or by tests/bench/run. */
	alarm(SECONDS_MAX);
	setvbuf(stdout, NULL, _IOLBF, 0);
	table_head();
	for (unsigned p = 0; p < COUNT_OF(parts); p++)
		parts[p]();
	table_foot();
	return 0;
}
