/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_EVENT_REASON_H
#define PORTSHIM_EVENT_REASON_H

/*
 * Why a bind failed, which rule had a hand in it, and that what a rule meant to share is not shared: as lines
 * below the event, or as fields of its object.  Nothing for any other event.
 */

#include "event_text.h"

void event_put_reason(const struct event_writer *w, const struct record *r, FILE *f);
void event_add_reason(const struct event_writer *w, const struct record *r, struct json_object *o);

#endif
