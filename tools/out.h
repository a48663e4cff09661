/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_OUT_H
#define PORTSHIM_OUT_H

/* Rows to a stream.  0 or -errno; errors of the stream itself stay in it (ferror). */

#include <json-c/json_types.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "view.h"

int out_table(const struct view *v, FILE *f);
int out_json(const struct view *v, FILE *f);

/* For what is no table: a number, of which 0 is none; a JSON string of any bytes (those that are not UTF-8
 * become U+00XX), an array of them, a time.  NULL: null, or no memory. */
struct json_object *json_number(uint64_t n);
struct json_object *json_text(const char *s, size_t len);
struct json_object *json_texts(const char *texts, size_t len);
struct json_object *json_time(uint64_t realtime);

/* The length of the well-formed UTF-8 sequence that s starts with, or 0. */
size_t utf8_len(const char *s, size_t len);

/* The next of NUL-terminated texts from *at on, its length to *n; NULL behind the last.  The very last
 * may lack its NUL, where a record was cut. */
const char *next_text(const char *texts, size_t len, size_t *at, size_t *n);

#define TIME_TEXT_MAX 40
/* RFC 3339, UTC, microseconds. */
void time_rfc3339(uint64_t realtime, char out[static TIME_TEXT_MAX]);
/* Local: the time of day today, else the date too.  micro: with microseconds. */
void time_local(uint64_t realtime, bool micro, char out[static TIME_TEXT_MAX]);

#endif
