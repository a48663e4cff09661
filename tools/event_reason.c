/* SPDX-License-Identifier: MIT */
#include "event_reason.h"

#include <errno.h>
#include <json-c/json.h>
#include <string.h>

#include "moved.h"
#include "out.h"
#include "view.h"

/* Of a bind that failed: what became of it, and in *to where a rule moved it to; *to is empty where that
 * cannot be told, or nothing was moved. */
static const struct failure *bind_failure(const struct event_writer *w, const struct record *r,
					  struct endpoint *to)
{
	struct failure *f = r->ev.error != 0 ? model_failure(w->model, r->ev.process, r->ev.stamp) : NULL;

	*to = (struct endpoint){ 0 };
	if (f == NULL || !f->moved || f->rule == NULL || w->recording == NULL ||
	    r->reader >= w->recording->n_readers)
		return f;
	if (!moved_to(reader_dir(w->recording->readers[r->reader]), r->uid, f->rule, &f->asked, to))
		*to = (struct endpoint){ 0 };
	else if (f->error == EADDRINUSE)
		model_failure_moved(w->model, f, r->ev.bind.cookie, to);
	return f;
}

static void put_holder(const struct holder *h, FILE *f)
{
	const char *command = process_command(h->process, UINT64_MAX);
	char local[ENDPOINT_TEXT_MAX];

	endpoint_text(&h->socket->local, local);
	event_put_escaped(local, strlen(local), f);
	fprintf(f, " held by %d ", h->process->pid);
	event_put_escaped(command != NULL ? command : "-", command != NULL ? strlen(command) : 1, f);
}

static void put_outsider(const struct event_writer *w, const struct failure *failure,
			 const struct endpoint *asked, FILE *f)
{
	struct outsider o;
	char local[ENDPOINT_TEXT_MAX];

	if (!outsider_find(w->outsiders, asked, failure->type, &o)) {
		fputs("by nobody in the record, and by nobody now: ", f);
		fputs("connections that were left over (SO_REUSEADDR helps), or a holder that has gone\n", f);
		return;
	}
	endpoint_text(&o.local, local);
	event_put_escaped(local, strlen(local), f);
	if (o.pid == 0) {
		fputs(" is held, as of now, by a process that you may not see\n", f);
		return;
	}
	fprintf(f, " held, as of now, by %d ", o.pid);
	event_put_escaped(o.command, strlen(o.command), f);
	if (o.session == NULL) {
		fputs(", which is not in the record; start it under portshim to share\n", f);
		return;
	}
	fputs(" of session ", f);
	event_put_escaped(o.session, strlen(o.session), f);
	fputs("; to share, both must set SO_REUSEPORT, as --share does, and be one user's\n", f);
}

static void put_taken(const struct event_writer *w, const struct failure *failure,
		      const struct endpoint *asked, FILE *f)
{
	fputs("                        taken: ", f);
	if (failure->stood_in_the_way != NULL) {
		put_holder(failure->stood_in_the_way, f);
		fprintf(f, "; %s\n", taken_reason(failure->taken));
	} else if (w->outsiders == NULL) {
		fprintf(f, "%s\n", taken_reason(failure->taken));
	} else {
		put_outsider(w, failure, asked, f);
	}
}

/* The rule behind it, then who holds the address. */
static void put_failure(const struct event_writer *w, const struct failure *failure,
			const struct endpoint *to, FILE *f)
{
	const char *rule = failure->rule != NULL ? failure->rule : "a rule";
	char text[ENDPOINT_TEXT_MAX];

	if (failure->denied || failure->moved) {
		fprintf(f, "                        %s: by ", failure->denied ? "refused" : "moved");
		event_put_escaped(rule, strlen(rule), f);
	}
	if (failure->moved && to->family == 0) {
		fputs(failure->error == EADDRINUSE ? ", to an address that is taken" : ", elsewhere", f);
	} else if (failure->moved) {
		endpoint_text(to, text);
		fputs(", to ", f);
		event_put_escaped(text, strlen(text), f);
	}
	if (failure->denied || failure->moved)
		fputc('\n', f);
	if (failure->taken != TAKEN_NOT)
		put_taken(w, failure, failure->moved ? to : &failure->asked, f);
}

void event_put_reason(const struct event_writer *w, const struct record *r, FILE *f)
{
	const struct failure *failure;
	const struct socket *s;
	struct endpoint to;

	if (r->ev.kind != PS_BIND)
		return;
	failure = bind_failure(w, r, &to);
	s = r->ev.error == 0 ? model_socket(w->model, r->ev.bind.cookie) : NULL;
	if (failure != NULL) {
		put_failure(w, failure, &to, f);
	} else if (s != NULL && s->unshared != NULL && s->bound_at == r->ev.stamp) {
		fputs("                        not shared: beside ", f);
		put_holder(s->unshared, f);
		fputs(", which takes its connections at that address\n", f);
	}
}

static struct json_object *holder_object(const struct holder *h)
{
	return h != NULL ? json_number((uint64_t)h->process->pid) : NULL;
}

static struct json_object *text_or_null(const char *text)
{
	return text != NULL && text[0] != '\0' ? json_text(text, strlen(text)) : NULL;
}

/* As of now: only where the record knows nobody. */
static void add_outsider(const struct event_writer *w, const struct failure *f, const struct endpoint *asked,
			 struct json_object *o)
{
	struct outsider by = { 0 };

	if (w->outsiders != NULL && f->stood_in_the_way == NULL &&
	    !outsider_find(w->outsiders, asked, f->type, &by))
		by = (struct outsider){ 0 };
	json_object_object_add(o, "taken_now_by", json_number((uint64_t)by.pid));
	json_object_object_add(o, "taken_now_session", text_or_null(by.session));
}

static void add_failure(const struct event_writer *w, const struct failure *f, const struct endpoint *to,
			struct json_object *o)
{
	char text[ENDPOINT_TEXT_MAX];

	endpoint_text(to, text);
	json_object_object_add(o, "refused_by", text_or_null(f->denied ? f->rule : NULL));
	json_object_object_add(o, "moved_by", text_or_null(f->moved ? f->rule : NULL));
	json_object_object_add(o, "moved_to", text_or_null(text));
	if (f->taken == TAKEN_NOT)
		return;
	json_object_object_add(o, "taken_by", holder_object(f->stood_in_the_way));
	add_outsider(w, f, f->moved ? to : &f->asked, o);
	json_object_object_add(o, "taken", json_object_new_string(taken_reason(f->taken)));
}

void event_add_reason(const struct event_writer *w, const struct record *r, struct json_object *o)
{
	const struct failure *f;
	const struct socket *s;
	struct endpoint to;

	if (r->ev.kind != PS_BIND)
		return;
	f = bind_failure(w, r, &to);
	s = r->ev.error == 0 ? model_socket(w->model, r->ev.bind.cookie) : NULL;
	if (f != NULL)
		add_failure(w, f, &to, o);
	if (s != NULL && s->bound_at == r->ev.stamp)
		json_object_object_add(o, "not_shared_with", holder_object(s->unshared));
}
