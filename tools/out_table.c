/* SPDX-License-Identifier: MIT */
/* Rows as a table or a tree, by libsmartcols. */
#include "out.h"

#include <errno.h>
#include <libsmartcols.h>
#include <string.h>
#include <time.h>

#include "pool.h"
#include "util.h"

#define SECOND 1000000000ull
#define COLUMNS_MAX 32

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

/* The text of all cells, row by row, each ended by a NUL. */
struct cells {
	char *text;
	size_t len, room;
	bool odd;		   /* something in it is not a printable character of ASCII */
	size_t width[COLUMNS_MAX]; /* bytes, of the columns in the table */
	bool failed;
};

static void cells_free(struct cells *c)
{
	free(c->text);
}

static void put_bytes(struct cells *c, const char *bytes, size_t n)
{
	char *more = c->text;

	if (n > c->room - c->len)
		more = huge_room(c->text, &c->room, c->len, c->len + n, 1);
	if (n == 0)
		return;
	if (more == NULL) {
		c->failed = true;
		return;
	}
	c->text = more;
	memcpy(more + c->len, bytes, n);
	c->len += n;
}

static void put_word(struct cells *c, const char *word)
{
	put_bytes(c, word, strlen(word));
}

/* What somebody else wrote. */
static void put_text(struct cells *c, const char *text, size_t n)
{
	bool odd = false;

	for (size_t i = 0; i < n; i++)
		odd |= text[i] < ' ' || text[i] > '~';
	c->odd |= odd;
	put_bytes(c, text, n);
}

static void put_size(uint64_t bytes, struct cells *c)
{
	static const char units[] = "BKMGTP";
	char text[32];
	double n = (double)bytes;
	size_t unit = 0;

	for (; n >= 1024 && unit + 2 < sizeof(units); unit++)
		n /= 1024;
	snprintf(text, sizeof(text), unit > 0 && n < 10 ? "%.1f%c" : "%.0f%c", n, units[unit]);
	put_word(c, text);
}

static void put_texts(const struct value *v, struct cells *c)
{
	const char *text, *space = "";
	size_t at = 0, n;

	for (; (text = next_text(v->text, v->len, &at, &n)) != NULL; space = " ") {
		put_word(c, space);
		put_text(c, text, n);
	}
}

static void put_number(uint64_t n, struct cells *c)
{
	char digits[24], *at = digits + sizeof(digits);

	do {
		*--at = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	put_bytes(c, at, (size_t)(digits + sizeof(digits) - at));
}

static void put_ints(const struct value *v, struct cells *c)
{
	for (size_t i = 0; i < v->n; i++) {
		if (i > 0)
			put_bytes(c, ",", 1);
		put_number((uint64_t)v->ints[i], c);
	}
	if (v->n == 0)
		put_bytes(c, "-", 1);
}

static void put_value(const struct view *view, const struct value *v, struct cells *c);

/* "127.0.0.1:80 tcp bound, [::1]:80 tcp6 forked" */
static void put_rows(const struct view *view, const struct value *v, struct cells *out)
{
	const char *space = "";

	for (const void *item = v->first; item != NULL; item = v->next(view, item), space = ", ") {
		for (const struct column *c = v->columns; c->get != NULL; c++) {
			struct value inner;

			if (c->heading == NULL)
				continue;
			inner.kind = VALUE_NULL;
			c->get(view, item, &inner);
			put_word(out, space);
			put_value(view, &inner, out);
			space = " ";
		}
	}
	if (v->first == NULL)
		put_bytes(out, "-", 1);
}

static void put_value(const struct view *view, const struct value *v, struct cells *c)
{
	char time[TIME_TEXT_MAX];

	switch (v->kind) {
	case VALUE_NULL:
		put_bytes(c, "-", 1);
		break;
	case VALUE_BOOL:
		put_word(c, v->boolean ? "yes" : "no");
		break;
	case VALUE_NUMBER:
		put_number(v->number, c);
		break;
	case VALUE_SIZE:
		put_size(v->number, c);
		break;
	case VALUE_TEXT:
		put_text(c, v->text, v->len);
		break;
	case VALUE_TEXTS:
		put_texts(v, c);
		break;
	case VALUE_TIME:
		time_local(v->time, false, time);
		put_word(c, time);
		break;
	case VALUE_INTS:
		put_ints(v, c);
		break;
	case VALUE_ROWS:
		put_rows(view, v, c);
		break;
	}
}

static bool in_table(const struct view *v, const struct column *c)
{
	return c->heading != NULL && (!(c->flags & COLUMN_OPTIONAL) || v->optional);
}

static void end_cell(struct cells *c, size_t begin, size_t column)
{
	if (column < COLUMNS_MAX && c->len - begin > c->width[column])
		c->width[column] = c->len - begin;
	put_bytes(c, "", 1);
}

static int put_cells(const struct view *v, struct cells *out)
{
	for (size_t i = 0; i < v->n; i++) {
		size_t column = 0;

		for (const struct column *c = v->columns; c->get != NULL; c++) {
			size_t before = out->len;
			struct value value;

			if (!in_table(v, c))
				continue;
			value.kind = VALUE_NULL;
			c->get(v, v->rows[i].item, &value);
			put_value(v, &value, out);
			end_cell(out, before, column++);
		}
	}
	return out->failed ? -ENOMEM : 0;
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

static bool is_plain(const struct view *v, const struct cells *cells, FILE *f)
{
	if (cells->odd || v->n < LONG_TABLE || isatty(fileno(f)))
		return false;
	for (const struct column *c = v->columns; c->get != NULL; c++) {
		if (c->flags & COLUMN_TREE)
			return false;
	}
	return true;
}

struct layout {
	const struct column *columns[COLUMNS_MAX];
	size_t width[COLUMNS_MAX];
	size_t n;
};

static void lay_out(const struct view *v, const struct cells *cells, struct layout *out)
{
	out->n = 0;
	for (const struct column *c = v->columns; c->get != NULL && out->n < COLUMNS_MAX; c++) {
		size_t heading;

		if (!in_table(v, c))
			continue;
		heading = strlen(c->heading);
		out->columns[out->n] = c;
		out->width[out->n] = cells->width[out->n] > heading ? cells->width[out->n] : heading;
		out->n++;
	}
}

/* Puts a row's cells into a line of spaces; *cells is left behind them.  Returns the line's length: to the
 * end of the last cell. */
static size_t fill_line(const struct layout *l, const char **cells, char *line)
{
	size_t at = 0, end = 0;

	for (size_t i = 0; i < l->n; i++) {
		size_t len = strlen(*cells), begin = at;

		if (l->columns[i]->flags & COLUMN_RIGHT)
			begin += l->width[i] - len;
		memcpy(line + begin, *cells, len);
		*cells += len + 1;
		end = begin + len;
		at += l->width[i] + 1;
	}
	line[end] = '\n';
	return end + 1;
}

static int print_plain(const struct view *v, const struct cells *cells, FILE *f)
{
	CLEANUP(cells_free) struct cells names = { 0 };
	CLEANUP_FREE char *line = NULL;
	const char *headings, *rows = cells->text;
	struct layout l;
	size_t size = 0;

	lay_out(v, cells, &l);
	for (size_t i = 0; i < l.n; i++) {
		put_bytes(&names, l.columns[i]->heading, strlen(l.columns[i]->heading) + 1);
		size += l.width[i] + 1;
	}
	line = malloc(size + 1);
	if (line == NULL || names.failed)
		return -ENOMEM;
	headings = names.text;
	for (size_t i = 0; i < v->n + 1; i++) {
		memset(line, ' ', size);
		fwrite_unlocked(line, 1, fill_line(&l, i == 0 ? &headings : &rows, line), f);
	}
	return 0;
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
	CLEANUP(cells_free) struct cells cells = { 0 };
	int ret = put_cells(v, &cells);

	if (ret < 0)
		return ret;
	if (v->n == 0)
		return print_headings(v, f);
	return is_plain(v, &cells, f) ? print_plain(v, &cells, f)
				      : print_smart(v, cells.text != NULL ? cells.text : "", f);
}
