/* SPDX-License-Identifier: MIT */
#ifndef BENCH_H
#define BENCH_H

/*
 * A row compares variants of one thing: the same program bare, and under each of the others.  Their
 * rounds take turns, so that all of them meet the same machine; a ratio is that of two rounds side by
 * side, and the table has the medians.
 *
 * Times are in nanoseconds.
 */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

enum variant {
	BARE,
	DOING_NOTHING, /* a preloaded library that hands each wrapped call on */
	PORTSHIM,
	STRACE,
	VARIANTS
};

/* Two processes of one program differ, by how their memory happens to lie: so each variant is started
 * anew a few times. */
#define STARTS 3
#define ROUNDS_A_START 20
#define ROUNDS_MAX (STARTS * ROUNDS_A_START)

struct samples {
	unsigned rounds;
	double of[VARIANTS][ROUNDS_MAX]; /* 0: not measured */
};

/* What a budget in time is measured by on a machine that is slower than the one it is from: the same work
 * of the kernel's, there and, in this run, here. */
struct yardstick {
	const char *what;
	double there, here; /* here 0: not measured */
};
extern struct yardstick bare_fork, any_library, thousand_stats;

struct budget {
	enum { NO_BUDGET, RATIO, MORE, AT_MOST, AT_LEAST } kind;
	double value;
	const struct yardstick *by; /* NULL: as it stands */
};

/* What to measure, and how much of it. */
struct bench {
	const char *self, *portshim, *nothing_library, *nothing_program;
	char scratch[4096]; /* a directory of ours on tmpfs */
	char *const *only;  /* rows whose name has one of these words; NULL: all */
	const char *rules;  /* that PORTSHIM is started with; NULL: none */
	bool smoke;	    /* a little of everything: whether it works */
};
extern struct bench bench;

/* ---- one part of the table each; its rows that are wanted ---- */

void measure_log(void);	    /* log.c */
void measure_calls(void);   /* calls.c */
void measure_nginx(void);   /* nginx.c */
void measure_reading(void); /* reading.c */
void measure_crowd(void);   /* crowd.c */

/* What bench is, when called by itself as `bench NAME ARGUMENT`; its exit status. */
int calls_worker(const char *program);
int crowd(const char *processes);
int short_binds(const char *binds);

/* ---- table.c ---- */

double now(void);
double median(double *values, unsigned n);
void table_head(void);
void table_foot(void);
bool wanted(const char *row);
/* The medians of the bare rounds, and of what a variant costs more; 0: not measured. */
double samples_bare(const struct samples *s);
double samples_more(const struct samples *s, enum variant v);
void row_compared(const char *row, const struct samples *s, struct budget b);
enum unit { NS, PER_SECOND, COUNT };
void row_single(const char *row, double value, enum unit unit, struct budget b);
/* The budget is for the value alone; bare: what of it is the machine's. */
void row_beside(const char *row, double bare, double value, enum unit unit, struct budget b);
void row_missing(const char *row, const char *why);

/* ---- children.c ---- */

_Noreturn void die(const char *what);

struct child {
	pid_t pid;
	FILE *to, *from; /* its stdin and stdout */
};

/* Starts a program as that variant; session: a directory to be made, for PORTSHIM. */
struct child start(enum variant v, const char *session, const char *const argv[]);
void stop(struct child *c);	/* closes its stdin and waits for it */
bool can_start(enum variant v); /* strace may be missing, or not allowed */
bool have_program(const char *name);

/* DIR below scratch, of a name not used before. */
void new_dir(char *out, size_t size);
void remove_dir(const char *dir);

/* Runs measure in a child of ours, so that what it maps goes with it: what it wrote to out[]. */
void apart(void (*measure)(double *out, unsigned n), double *out, unsigned n);

/* fd of a listener on loopback, and its port. */
int loopback_listener(unsigned *port);
int loopback_connect(unsigned port);

/* Whether there is to be another round, after that many since the start and none after `end`. */
static inline bool another_round(unsigned rounds, double end)
{
	return rounds == 0 || (!bench.smoke && rounds < ROUNDS_A_START && now() < end);
}

static inline unsigned starts(void)
{
	return bench.smoke ? 1 : STARTS;
}

/* What ran before leaves the caches as it will: in four rounds each variant follows each other one once. */
static inline enum variant in_turn(unsigned round, unsigned i)
{
	static const unsigned first[VARIANTS] = { 0, 1, 3, 2 };

	return (enum variant)((round + first[i]) % VARIANTS);
}

#endif
