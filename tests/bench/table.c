/* SPDX-License-Identifier: MIT */
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROW "%-31s %9s %10s %8s %8s %11s %9s %4s\n"

/* Where the budgets in time were set (Linux 6.18, x86-64, glibc 2.36); the fork is this table's own row, of
 * such a machine. */
struct yardstick bare_fork = { .what = "a bare fork", .there = 115e3 };
struct yardstick any_library = { .what = "loading any library", .there = 65e3 };
struct yardstick thousand_stats = { .what = "reading 1,000 /proc/PID/stat", .there = 9.5e6 };

double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double median(double *values, unsigned n)
{
	qsort(values, n, sizeof(values[0]), by_value);
	return n % 2 != 0 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

bool wanted(const char *row)
{
	if (bench.only == NULL || bench.only[0] == NULL)
		return true;
	for (char *const *word = bench.only; *word != NULL; word++) {
		if (strstr(row, *word) != NULL)
			return true;
	}
	return false;
}

struct shown {
	char text[32];
};

static struct shown show_ns(double ns, bool sign)
{
	static const char *const units[] = { "ns", "us", "ms", "s" };
	struct shown s;
	unsigned u = 0;

	for (; fabs(ns) >= 9999.5 && u < 3; u++)
		ns /= 1000;
	snprintf(s.text, sizeof(s.text), sign ? "%+.*f %s" : "%.*f %s", u > 0 && fabs(ns) < 99.95 ? 1 : 0, ns,
		 units[u]);
	return s;
}

static struct shown show(double value, enum unit unit)
{
	struct shown s;

	if (unit == NS)
		return show_ns(value, false);
	snprintf(s.text, sizeof(s.text), unit == COUNT ? "%.0f" : "%.1f M/s",
		 unit == COUNT ? value : value / 1e6);
	return s;
}

static struct shown show_ratio(double ratio)
{
	struct shown s;

	if (ratio > 0)
		snprintf(s.text, sizeof(s.text), ratio < 9.995 ? "%.2fx" : "%.1fx", ratio);
	else
		strcpy(s.text, "-");
	return s;
}

static struct shown show_budget(struct budget b, enum unit unit)
{
	switch (b.kind) {
	case RATIO:
		return show_ratio(b.value);
	case MORE:
		return show_ns(b.value, true);
	case AT_MOST:
	case AT_LEAST:
		return show(b.value, unit);
	default:
		return (struct shown){ "-" };
	}
}

static bool any_scaled; /* a verdict needs the yardsticks to be told */

static const char *verdict(struct budget b, double value)
{
	if (b.kind == NO_BUDGET)
		return "-";
	if (b.kind == AT_LEAST ? value >= b.value : value <= b.value)
		return "met";
	if (b.by == NULL || b.by->here <= b.by->there)
		return "OVER";
	any_scaled = true;
	return value <= b.value * (b.by->here / b.by->there) ? "met*" : "OVER";
}

void table_head(void)
{
	printf(ROW, "what (medians)", "bare", "do-nothing", "portshim", "strace", "it costs", "budget",
	       "met?");
}

/* The budgets in time are from one machine; this one says how much slower it is. */
void table_foot(void)
{
	static const struct yardstick *const all[] = { &bare_fork, &any_library, &thousand_stats };

	if (!any_scaled)
		return;
	printf("*: over the budget as written; within it when that is scaled by the same work of the "
	       "kernel's:\n");
	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (all[i]->here > 0)
			printf("   %-29s %9s here, %s where the budgets were set\n", all[i]->what,
			       show_ns(all[i]->here, false).text, show_ns(all[i]->there, false).text);
	}
}

/* The median of the ratio, or of the difference, of each round to the bare one beside it; 0: not measured. */
static double against_bare(const struct samples *s, enum variant v, bool ratio)
{
	double each[ROUNDS_MAX];
	unsigned n = 0;

	for (unsigned r = 0; r < s->rounds; r++) {
		double a = s->of[v][r], bare = s->of[BARE][r];

		if (a > 0 && bare > 0)
			each[n++] = ratio ? a / bare : a - bare;
	}
	return n > 0 ? median(each, n) : 0;
}

double samples_bare(const struct samples *s)
{
	double bare[ROUNDS_MAX];

	memcpy(bare, s->of[BARE], sizeof(bare));
	return median(bare, s->rounds);
}

double samples_more(const struct samples *s, enum variant v)
{
	return against_bare(s, v, false);
}

void row_compared(const char *row, const struct samples *s, struct budget b)
{
	double ratio = against_bare(s, PORTSHIM, true), more = samples_more(s, PORTSHIM);

	printf(ROW, row, show_ns(samples_bare(s), false).text,
	       show_ratio(against_bare(s, DOING_NOTHING, true)).text, show_ratio(ratio).text,
	       show_ratio(against_bare(s, STRACE, true)).text, show_ns(more, true).text,
	       show_budget(b, NS).text, verdict(b, b.kind == RATIO ? ratio : more));
}

void row_single(const char *row, double value, enum unit unit, struct budget b)
{
	printf(ROW, row, "-", "-", "-", "-", show(value, unit).text, show_budget(b, unit).text,
	       verdict(b, value));
}

void row_beside(const char *row, double bare, double value, enum unit unit, struct budget b)
{
	printf(ROW, row, show(bare, unit).text, "-", "-", "-", show(value, unit).text,
	       show_budget(b, unit).text, verdict(b, value));
}

void row_missing(const char *row, const char *why)
{
	printf(ROW, row, "-", "-", "-", "-", why, "-", "-");
}
