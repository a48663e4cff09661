/* SPDX-License-Identifier: MIT */
/* Rows as JSON, by json-c: one object, its list with a row a line. */
#include "out.h"

#include <errno.h>
#include <json-c/json.h>
#include <string.h>

#include "util.h"

#define FLAGS (JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)

static void cleanup_json(struct json_object **o)
{
	json_object_put(*o);
}

/* Unicode, table 3-7. */
size_t utf8_len(const char *text, size_t len)
{
	const unsigned char *s = (const unsigned char *)text;
	unsigned char low = 0x80, high = 0xbf;
	size_t n;

	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	n = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	if (s[0] == 0xe0)
		low = 0xa0;
	else if (s[0] == 0xed)
		high = 0x9f;
	else if (s[0] == 0xf0)
		low = 0x90;
	else if (s[0] == 0xf4)
		high = 0x8f;
	if (len < n || s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++) {
		if (s[i] < 0x80 || s[i] > 0xbf)
			return 0;
	}
	return n;
}

struct json_object *json_number(uint64_t n)
{
	return n != 0 ? json_object_new_uint64(n) : NULL;
}

struct json_object *json_text(const char *s, size_t len)
{
	CLEANUP_FREE char *out = malloc(2 * len + 1);
	size_t n = 0;

	if (out == NULL)
		return NULL;
	for (size_t i = 0; i < len;) {
		size_t step = utf8_len(s + i, len - i);
		unsigned char c = (unsigned char)s[i];

		if (step > 0) {
			memcpy(out + n, s + i, step);
			n += step;
			i += step;
			continue;
		}
		out[n++] = (char)(0xc0 | c >> 6);
		out[n++] = (char)(0x80 | (c & 0x3f));
		i++;
	}
	return json_object_new_string_len(out, (int)n);
}

const char *next_text(const char *texts, size_t len, size_t *at, size_t *n)
{
	const char *text;

	if (*at >= len)
		return NULL;
	text = texts + *at;
	*n = strnlen(text, len - *at);
	*at += *n + 1;
	return text;
}

struct json_object *json_texts(const char *texts, size_t len)
{
	struct json_object *a = json_object_new_array();
	const char *text;
	size_t at = 0, n;

	while (a != NULL && (text = next_text(texts, len, &at, &n)) != NULL)
		json_object_array_add(a, json_text(text, n));
	return a;
}

struct json_object *json_time(uint64_t realtime)
{
	char text[TIME_TEXT_MAX];

	time_rfc3339(realtime, text);
	return json_object_new_string(text);
}

static struct json_object *item_object(const struct view *v, const struct column *columns, const void *item);

/* json-c has no object for null: json_object_array_add(NULL) is one. */
static struct json_object *ints_array(const struct value *v)
{
	struct json_object *a = json_object_new_array_ext((int)v->n + 1);

	for (size_t i = 0; a != NULL && i < v->n; i++)
		json_object_array_add(a, json_object_new_int(v->ints[i]));
	return a;
}

static struct json_object *rows_array(const struct view *view, const struct value *v)
{
	struct json_object *a = json_object_new_array();

	for (const void *item = v->first; a != NULL && item != NULL; item = v->next(view, item))
		json_object_array_add(a, item_object(view, v->columns, item));
	return a;
}

static struct json_object *value_object(const struct view *view, const struct value *v)
{
	switch (v->kind) {
	case VALUE_NULL:
		break;
	case VALUE_BOOL:
		return json_object_new_boolean(v->boolean);
	case VALUE_NUMBER:
	case VALUE_SIZE:
		return json_object_new_uint64(v->number);
	case VALUE_TEXT:
		return json_text(v->text, v->len);
	case VALUE_TEXTS:
		return json_texts(v->text, v->len);
	case VALUE_TIME:
		return json_time(v->time);
	case VALUE_INTS:
		return ints_array(v);
	case VALUE_ROWS:
		return rows_array(view, v);
	}
	return NULL;
}

static struct json_object *item_object(const struct view *v, const struct column *columns, const void *item)
{
	const unsigned known = JSON_C_OBJECT_ADD_KEY_IS_NEW | JSON_C_OBJECT_ADD_CONSTANT_KEY;
	struct json_object *o = json_object_new_object();
	struct value value;

	for (const struct column *c = columns; o != NULL && c->get != NULL; c++) {
		if (c->key == NULL)
			continue;
		value = (struct value){ 0 };
		c->get(v, item, &value);
		json_object_object_add_ex(o, c->key, value_object(v, &value), known);
	}
	return o;
}

/* A row at a time, so that a long list is never in memory whole. */
int out_json(const struct view *v, FILE *f)
{
	fprintf(f, "{\"%s\":[", v->name);
	for (size_t i = 0; i < v->n; i++) {
		CLEANUP(cleanup_json) struct json_object *o = item_object(v, v->columns, v->rows[i].item);
		const char *text = o != NULL ? json_object_to_json_string_ext(o, FLAGS) : NULL;

		if (text == NULL)
			return -ENOMEM;
		fprintf(f, "%s\n%s", i > 0 ? "," : "", text);
	}
	fputs(v->n > 0 ? "\n]}\n" : "]}\n", f);
	return 0;
}
