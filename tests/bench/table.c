/* SPDX-License-Identifier: MIT */
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROW "%-31s %9s %10s %8s %8s %11s %9s %4s\n"

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

static const char *verdict(struct budget b, double value)
{
	if (b.kind == NO_BUDGET)
		return "-";
	return (b.kind == AT_LEAST ? value >= b.value : value <= b.value) ? "met" : "OVER";
}

void table_head(void)
{
	printf(ROW, "what (medians)", "bare", "do-nothing", "portshim", "strace", "it costs", "budget",
	       "met?");
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

void row_compared(const char *row, const struct samples *s, struct budget b)
{
	double bare[ROUNDS_MAX], ratio = against_bare(s, PORTSHIM, true),
				 more = against_bare(s, PORTSHIM, false);

	memcpy(bare, s->of[BARE], sizeof(bare));
	printf(ROW, row, show_ns(median(bare, s->rounds), false).text,
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
