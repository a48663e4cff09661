/* SPDX-License-Identifier: MIT */
#include "cmd.h"

#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "event_text.h"
#include "util.h"

#define OPT_FOLLOW 'f'
#define OPT_VERBOSE 'v'

static const struct cmd_opt opts[] = {
	{ 's', "session", "DIR", "read the session in DIR, not all live ones" },
	{ OPT_FOLLOW, "follow", NULL, "go on as calls come, until no process of the session lives" },
	{ OPT_VERBOSE, "verbose", NULL, "cookies and the log's own bookkeeping too" },
	{ CMD_OPT_JSON, "json", NULL, "print a JSON object a line" },
	{ 0 },
};

static const struct cmd_usage usage = {
	.verb = "events",
	.synopsis = "[options]",
	.about = "Shows the recorded calls in order: time, process, command, call, result.\n"
		 "Exit status 1 if there are none.\n",
	.opts = opts,
};

#define POLL_MS 50
/* A record may be read this much later than one that is younger. */
#define SLACK_NS (20 * 1000000ull)
/* Polls between looks at who lives. */
#define LOOK_EVERY 5

struct events {
	const char *session;
	bool follow, json, verbose;
};

static int parse(struct events *e, int argc, char **argv)
{
	int opt;

	while ((opt = cmd_option(&usage, argc, argv)) >= 0) {
		switch (opt) {
		case 's':
			e->session = optarg;
			break;
		case OPT_FOLLOW:
			e->follow = true;
			break;
		case OPT_VERBOSE:
			e->verbose = true;
			break;
		default:
			e->json = true;
			break;
		}
	}
	return cmd_parsed_all(&usage, opt, argc, argv);
}

static int failed(int err)
{
	return cmd_error(usage.verb, "%s", strerror(-err));
}

/* How many were shown, or -ENOMEM. */
static ssize_t print(const struct events *e, const struct event_writer *w, const struct record *records,
		     size_t n)
{
	ssize_t shown = 0;

	for (size_t i = 0; i < n && !ferror(stdout); i++) {
		struct json_object *o;

		if (event_is_internal(&records[i]) && !e->verbose)
			continue;
		shown++;
		if (!e->json) {
			event_put_text(w, &records[i], stdout);
			continue;
		}
		o = event_object(w, &records[i]);
		if (o == NULL)
			return -ENOMEM;
		puts(json_object_to_json_string_ext(o,
						    JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
		json_object_put(o);
	}
	return shown;
}

static int show(const struct events *e)
{
	CLEANUP(recording_closep) struct recording r = { 0 };
	CLEANUP(outsiders_free) struct outsiders outsiders = { 0 };
	struct event_writer w = { .verbose = e->verbose, .outsiders = &outsiders, .recording = &r };
	int status = cmd_read(usage.verb, e->session, RECORDING_KEEP, &r);
	ssize_t shown;

	if (status != 0)
		return status;
	if (r.n_readers == 0)
		cmd_no_session(usage.verb);
	w.model = r.model;
	w.offset = recording_offset(&r);
	shown = print(e, &w, r.records, r.n_records);
	if (shown < 0)
		return failed((int)shown);
	return shown > 0 ? 0 : EXIT_NONE;
}

/* Following */

static volatile sig_atomic_t told_to_stop;

static void on_stop(int sig)
{
	told_to_stop = 1;
}

static void stop_on_signals(void)
{
	struct sigaction sa = { .sa_handler = on_stop }, old;
	const int sigs[] = { SIGINT, SIGTERM };

	/* What the caller ignores stays ignored, as in a background job. */
	for (size_t i = 0; i < ARRAY_LEN(sigs); i++) {
		if (sigaction(sigs[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaction(sigs[i], &sa, NULL);
	}
}

/* Records that were read, by stamp, until they are old enough to be shown. */
struct held {
	struct record *list;
	size_t n, room;
	bool any;	    /* ever */
	const char *unread; /* the session that could not be read */
};

static void held_free(struct held *h)
{
	free(h->list);
}

static int by_stamp(const void *a, const void *b)
{
	const struct record *x = a, *y = b;

	if (x->ev.stamp != y->ev.stamp)
		return x->ev.stamp < y->ev.stamp ? -1 : 1;
	return (x->place > y->place) - (x->place < y->place);
}

/* Counters are given each time, whether they counted on or not. */
static bool is_news(const struct model *m, const struct record *record)
{
	return record->ev.kind != PS_COUNT || !model_counted(m, record);
}

/* 1 if there was something new. */
static int take_new(struct held *h, const struct recording *r, size_t i)
{
	const struct record *record;
	int ret = reader_begin(r->readers[i]), any = 0;

	for (; ret == 0 && (ret = reader_next(r->readers[i], &record)) > 0; ret = 0) {
		struct record *list = array_room(h->list, &h->room, h->n + 1, sizeof(*list));

		if (list == NULL)
			return -ENOMEM;
		h->list = list;
		list[h->n] = *record;
		list[h->n].reader = (uint32_t)i;
		if (!is_news(r->model, &list[h->n]))
			continue;
		h->n++;
		any = 1;
	}
	return ret < 0 ? ret : any;
}

static int take_all(struct held *h, const struct recording *r)
{
	int any = 0;

	for (size_t i = 0; i < r->n_readers; i++) {
		int ret = take_new(h, r, i);

		/* Of many, one has ended and was removed: nothing more comes of it. */
		if (ret == -ENOENT && r->n_readers > 1)
			continue;
		if (ret < 0) {
			h->unread = reader_dir(r->readers[i]);
			return ret;
		}
		any |= ret;
	}
	if (any)
		qsort(h->list, h->n, sizeof(*h->list), by_stamp);
	h->any = h->any || any;
	return any;
}

static uint64_t stamp_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int give(const struct events *e, const struct event_writer *w, struct held *h, uint64_t until)
{
	size_t n = 0;
	ssize_t shown;
	int ret;

	while (n < h->n && h->list[n].ev.stamp <= until)
		n++;
	if (n == 0)
		return 0;
	ret = model_add(w->model, h->list, n);
	if (ret < 0)
		return ret;
	shown = print(e, w, h->list, n);
	h->n -= n;
	memmove(h->list, h->list + n, h->n * sizeof(*h->list));
	return shown < 0 ? (int)shown : 0;
}

/* Sleeps; false if stdout has no reader any more or a signal says so. */
static bool wait_a_while(void)
{
	struct pollfd out = { .fd = STDOUT_FILENO };

	if (told_to_stop || poll(&out, 1, POLL_MS) < 0)
		return !told_to_stop;
	if (out.revents & POLLERR)
		return false;
	/* A terminal that was hung up says so at once and for ever. */
	return !(out.revents & (POLLHUP | POLLNVAL));
}

/* Twice in a row, as a child may live that no record has told of yet. */
static int all_dead(struct model *m, unsigned *looks)
{
	int ret = model_settle(m, false);

	if (ret < 0)
		return ret;
	*looks = model_live(m) != NULL ? 0 : *looks + 1;
	return *looks > 1;
}

static int follow_loop(const struct events *e, const struct event_writer *w, const struct recording *r,
		       struct held *h)
{
	unsigned quiet = 0, looks = 0;
	int ret = 0;

	while (ret == 0 && !ferror(stdout)) {
		ret = give(e, w, h, stamp_now() - SLACK_NS);
		if (ret == 0 && quiet >= LOOK_EVERY && h->any) {
			ret = all_dead(w->model, &looks);
			quiet = 0;
		}
		if (ret != 0 || !wait_a_while())
			break;
		ret = take_all(h, r);
		quiet = ret > 0 || h->n > 0 ? 0 : quiet + 1;
		if (ret > 0)
			looks = ret = 0;
	}
	if (ret >= 0)
		ret = give(e, w, h, UINT64_MAX);
	return ret;
}

static int follow(const struct events *e)
{
	CLEANUP(recording_closep) struct recording r = { 0 };
	CLEANUP(held_free) struct held held = { 0 };
	CLEANUP(outsiders_free) struct outsiders outsiders = { 0 };
	struct event_writer w = { .verbose = e->verbose, .outsiders = &outsiders, .recording = &r };
	int ret = recording_open(e->session, &r);

	if (ret < 0 && e->session != NULL)
		return cmd_session_error(usage.verb, e->session, ret);
	if (ret < 0)
		return failed(ret);
	if (r.n_readers == 0) {
		cmd_no_session(usage.verb);
		return EXIT_NONE;
	}
	stop_on_signals();
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	r.model = model_new();
	ret = r.model != NULL ? take_all(&held, &r) : -ENOMEM;
	w.model = r.model;
	w.offset = recording_offset(&r);
	if (ret >= 0)
		ret = follow_loop(e, &w, &r, &held);
	cmd_losses(usage.verb, &r);
	if (ret < 0 && ret != -ENOMEM && held.unread != NULL)
		return cmd_session_error(usage.verb, held.unread, ret);
	return ret < 0 ? failed(ret) : 0;
}

int cmd_events(int argc, char **argv)
{
	struct events e = { 0 };
	int status = parse(&e, argc, argv);

	if (status >= 0)
		return status;
	return e.follow ? follow(&e) : show(&e);
}
