/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_EVENT_TEXT_H
#define PORTSHIM_EVENT_TEXT_H

/*
 * One record as a line of text, as strace would write it, or as a JSON object.  Both follow the rows
 * of event.def: a new field needs nothing here.  Prints to the stream only; single-threaded.
 */

#include <json-c/json_types.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "model.h"
#include "outsider.h"
#include "reader.h"
#include "recording.h"

struct event_writer {
	struct model *model;		   /* that has the record folded in: names processes */
	int64_t offset;			   /* CLOCK_REALTIME minus CLOCK_MONOTONIC */
	bool verbose;			   /* cookies too */
	struct outsiders *outsiders;	   /* NULL: the kernel is not asked */
	const struct recording *recording; /* whose sessions' rules are looked at; NULL: none are */
};

/* Bookkeeping of the log itself rather than a call. */
bool event_is_internal(const struct record *r);

/* What is not printable as C would write it. */
void event_put_escaped(const char *s, size_t len, FILE *f);

void event_put_text(const struct event_writer *w, const struct record *r, FILE *f);

/* NULL: no memory. */
struct json_object *event_object(const struct event_writer *w, const struct record *r);

#endif
