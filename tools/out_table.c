/* SPDX-License-Identifier: MIT */
/* Rows as a table or a tree, by libsmartcols. */
#include "out.h"

#include <errno.h>
#include <libsmartcols.h>
#include <string.h>
#include <time.h>

#include "common/text.h"
#include "util.h"

#define SECOND 1000000000ull

static void unref_table(struct libscols_table **t)
{
	scols_unref_table(*t);
}

void time_rfc3339(uint64_t realtime, char out[static TIME_TEXT_MAX])
{
	time_t seconds = (time_t)(realtime / SECOND);
	struct tm tm = { 0 };
	size_t n;

	gmtime_r(&seconds, &tm);
	n = strftime(out, TIME_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + n, TIME_TEXT_MAX - n, ".%06uZ", (unsigned)(realtime % SECOND / 1000));
}

/* Into out, unless it is there from the last time: rows of one table are often of one second. */
static void clock_text(time_t seconds, char out[static TIME_TEXT_MAX])
{
	static char last[TIME_TEXT_MAX];
	static time_t last_seconds, last_now;
	time_t now = time(NULL);
	struct tm tm = { 0 }, today = { 0 };

	if (last[0] == '\0' || seconds != last_seconds || now != last_now) {
		localtime_r(&seconds, &tm);
		localtime_r(&now, &today);
		strftime(last, sizeof(last),
			 tm.tm_year == today.tm_year && tm.tm_yday == today.tm_yday ? "%H:%M:%S"
										    : "%Y-%m-%dT%H:%M:%S",
			 &tm);
		last_seconds = seconds;
		last_now = now;
	}
	memcpy(out, last, sizeof(last));
}

void time_local(uint64_t realtime, bool micro, char out[static TIME_TEXT_MAX])
{
	size_t n;

	clock_text((time_t)(realtime / SECOND), out);
	n = strlen(out);
	if (micro)
		snprintf(out + n, TIME_TEXT_MAX - n, ".%06u", (unsigned)(realtime % SECOND / 1000));
}

static void put_size(uint64_t bytes, FILE *f)
{
	static const char units[] = "BKMGTP";
	double n = (double)bytes;
	size_t unit = 0;

	for (; n >= 1024 && unit + 2 < sizeof(units); unit++)
		n /= 1024;
	fprintf(f, unit > 0 && n < 10 ? "%.1f%c" : "%.0f%c", n, units[unit]);
}

static void put_texts(const struct value *v, FILE *f)
{
	const char *text, *space = "";
	size_t at = 0, n;

	for (; (text = next_text(v->text, v->len, &at, &n)) != NULL; space = " ")
		fprintf(f, "%s%.*s", space, (int)n, text);
}

static void put_number(uint64_t n, FILE *f)
{
	char digits[24];
	struct text t = TEXT_IN(digits);

	text_add_u64(&t, n);
	fwrite_unlocked(digits, 1, t.len, f);
}

static void put_ints(const struct value *v, FILE *f)
{
	for (size_t i = 0; i < v->n; i++) {
		if (i > 0)
			putc_unlocked(',', f);
		put_number((uint64_t)v->ints[i], f);
	}
	if (v->n == 0)
		putc_unlocked('-', f);
}

static void put_value(const struct view *view, const struct value *v, FILE *f);

/* "127.0.0.1:80 tcp bound, [::1]:80 tcp6 forked" */
static void put_rows(const struct view *view, const struct value *v, FILE *f)
{
	const char *space = "";

	for (const void *item = v->first; item != NULL; item = v->next(view, item), space = ", ") {
		for (const struct column *c = v->columns; c->get != NULL; c++) {
			struct value inner = { 0 };

			if (c->heading == NULL)
				continue;
			c->get(view, item, &inner);
			fputs(space, f);
			put_value(view, &inner, f);
			space = " ";
		}
	}
	if (v->first == NULL)
		fputc('-', f);
}

static void put_value(const struct view *view, const struct value *v, FILE *f)
{
	char time[TIME_TEXT_MAX];

	switch (v->kind) {
	case VALUE_NULL:
		putc_unlocked('-', f);
		break;
	case VALUE_BOOL:
		fputs(v->boolean ? "yes" : "no", f);
		break;
	case VALUE_NUMBER:
		put_number(v->number, f);
		break;
	case VALUE_SIZE:
		put_size(v->number, f);
		break;
	case VALUE_TEXT:
		fwrite_unlocked(v->text, 1, v->len, f);
		break;
	case VALUE_TEXTS:
		put_texts(v, f);
		break;
	case VALUE_TIME:
		time_local(v->time, false, time);
		fputs_unlocked(time, f);
		break;
	case VALUE_INTS:
		put_ints(v, f);
		break;
	case VALUE_ROWS:
		put_rows(view, v, f);
		break;
	}
}

static bool in_table(const struct view *v, const struct column *c)
{
	return c->heading != NULL && (!(c->flags & COLUMN_OPTIONAL) || v->optional);
}

/* Every cell's text, row by row, each ended by a NUL. */
static int put_cells(const struct view *v, char **out, size_t *len)
{
	FILE *f = open_memstream(out, len);

	if (f == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < v->n; i++) {
		for (const struct column *c = v->columns; c->get != NULL; c++) {
			struct value value;

			if (!in_table(v, c))
				continue;
			value.kind = VALUE_NULL;
			c->get(v, v->rows[i].item, &value);
			put_value(v, &value, f);
			putc_unlocked('\0', f);
		}
	}
	return fclose(f) == 0 ? 0 : -ENOMEM;
}

static int add_columns(const struct view *v, struct libscols_table *t)
{
	for (const struct column *c = v->columns; c->get != NULL; c++) {
		int flags = (c->flags & COLUMN_RIGHT ? SCOLS_FL_RIGHT : 0) |
			    (c->flags & COLUMN_TREE ? SCOLS_FL_TREE : 0);

		if (in_table(v, c) && scols_table_new_column(t, c->heading, 0, flags) == NULL)
			return -ENOMEM;
	}
	return 0;
}

/* Moves *cells behind the row's. */
static int add_cells(struct libscols_table *t, struct libscols_line *line, const char **cells)
{
	size_t n = scols_table_get_ncols(t);

	for (size_t i = 0; i < n; i++) {
		if (scols_line_set_data(line, i, *cells) != 0)
			return -ENOMEM;
		*cells += strlen(*cells) + 1;
	}
	return 0;
}

static int add_rows(const struct view *v, struct libscols_table *t, const char *cells)
{
	CLEANUP_FREE struct libscols_line **lines = calloc(v->n, sizeof(*lines));
	int ret = lines != NULL ? 0 : -ENOMEM;

	for (size_t i = 0; i < v->n && ret == 0; i++) {
		size_t parent = v->rows[i].parent;

		lines[i] = scols_table_new_line(t, parent == VIEW_NO_PARENT ? NULL : lines[parent]);
		ret = lines[i] == NULL ? -ENOMEM : add_cells(t, lines[i], &cells);
	}
	return ret;
}

/* libsmartcols prints nothing at all of a table without rows; its headings are wanted all the same. */
static int print_headings(const struct view *v, FILE *f)
{
	const char *space = "";

	for (const struct column *c = v->columns; c->get != NULL; c++) {
		if (!in_table(v, c))
			continue;
		fprintf(f, "%s%s", space, c->heading);
		space = " ";
	}
	fputc('\n', f);
	return 0;
}

/* libsmartcols looks at each character thrice for its width: 40 ms for 10,000 rows.  A long table of
 * plain ASCII that goes to no terminal is laid out here, in the same way and fast. */
#define LONG_TABLE 500
#define COLUMNS_MAX 32

static bool is_plain(const struct view *v, const char *cells, size_t len, FILE *f)
{
	if (v->n < LONG_TABLE || isatty(fileno(f)))
		return false;
	for (const struct column *c = v->columns; c->get != NULL; c++) {
		if (c->flags & COLUMN_TREE)
			return false;
	}
	for (size_t i = 0; i < len; i++) {
		if (cells[i] != '\0' && (cells[i] < ' ' || cells[i] > '~'))
			return false;
	}
	return true;
}

struct layout {
	const struct column *columns[COLUMNS_MAX];
	size_t width[COLUMNS_MAX];
	size_t n;
};

static void lay_out(const struct view *v, const char *cells, struct layout *out)
{
	out->n = 0;
	for (const struct column *c = v->columns; c->get != NULL && out->n < COLUMNS_MAX; c++) {
		if (!in_table(v, c))
			continue;
		out->columns[out->n] = c;
		out->width[out->n++] = strlen(c->heading);
	}
	for (size_t i = 0; i < v->n * out->n; i++) {
		size_t len = strlen(cells), *width = &out->width[i % out->n];

		if (len > *width)
			*width = len;
		cells += len + 1;
	}
}

static void put_spaces(size_t n, FILE *f)
{
	while (n-- > 0)
		putc_unlocked(' ', f);
}

static void put_cell(const struct layout *l, size_t i, const char *text, size_t len, FILE *f)
{
	bool right = l->columns[i]->flags & COLUMN_RIGHT, last = i + 1 == l->n;

	if (right)
		put_spaces(l->width[i] - len, f);
	fwrite_unlocked(text, 1, len, f);
	if (!right && !last)
		put_spaces(l->width[i] - len, f);
	putc_unlocked(last ? '\n' : ' ', f);
}

static void print_plain(const struct view *v, const char *cells, FILE *f)
{
	struct layout l;

	lay_out(v, cells, &l);
	for (size_t i = 0; i < l.n; i++)
		put_cell(&l, i, l.columns[i]->heading, strlen(l.columns[i]->heading), f);
	for (size_t i = 0; i < v->n * l.n; i++) {
		size_t len = strlen(cells);

		put_cell(&l, i % l.n, cells, len, f);
		cells += len + 1;
	}
}

static int print_smart(const struct view *v, const char *cells, FILE *f)
{
	CLEANUP(unref_table) struct libscols_table *t = scols_new_table();
	int ret;

	if (t == NULL)
		return -ENOMEM;
	scols_table_set_stream(t, f);
	ret = add_columns(v, t);
	if (ret == 0)
		ret = add_rows(v, t, cells);
	if (ret == 0)
		ret = scols_print_table(t);
	return ret;
}

int out_table(const struct view *v, FILE *f)
{
	CLEANUP_FREE char *cells = NULL;
	size_t len;
	int ret;

	if (v->n == 0)
		return print_headings(v, f);
	ret = put_cells(v, &cells, &len);
	if (ret < 0)
		return ret;
	if (!is_plain(v, cells, len, f))
		return print_smart(v, cells, f);
	print_plain(v, cells, f);
	return 0;
}
