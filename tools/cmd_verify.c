/* SPDX-License-Identifier: MIT */
#include "cmd.h"

#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "out.h"
#include "util.h"
#include "verify_live.h"

#define OPT_WATCH CMD_OPT_OWN

static const struct cmd_opt opts[] = {
	{ 's', "session", "DIR", "verify the session in DIR, not all live ones" },
	{ OPT_WATCH, "watch", NULL, "again every second, a line each time, until interrupted" },
	{ CMD_OPT_JSON, "json", NULL, "print JSON" },
	{ 0 },
};

static const struct cmd_usage usage = {
	.verb = "verify",
	.synopsis = "[options]",
	.about =
		"Compares the relation with the kernel's: of each recorded process that lives, which of its\n"
		"descriptors are sockets, and which sockets.  Names the processes that it cannot tell "
		"about.\n"
		"Exit status 1 if there is a difference or no process to look at, with --watch: at the last "
		"look.\n",
	.opts = opts,
};

#define DIFFERENT 1
#define WATCH_SECONDS 1

struct args {
	const char *session;
	bool json, watch;
};

static int parse(struct args *a, int argc, char **argv)
{
	int opt;

	while ((opt = cmd_option(&usage, argc, argv)) >= 0) {
		switch (opt) {
		case 's':
			a->session = optarg;
			break;
		case OPT_WATCH:
			a->watch = true;
			break;
		default:
			a->json = true;
			break;
		}
	}
	return cmd_parsed_all(&usage, opt, argc, argv);
}

/* A row is what one side has. */
struct side_row {
	const struct found *found;
	const struct verify_side *side;
};

static bool is_kernel(const struct side_row *r)
{
	return r->side == &r->found->difference.kernel;
}

static int side_rows(const struct verified *v, struct side_row **out, size_t *n)
{
	struct side_row *rows = calloc(2 * v->n_found + 1, sizeof(*rows));

	if (rows == NULL)
		return -ENOMEM;
	*n = 0;
	for (size_t i = 0; i < v->n_found; i++) {
		const struct found *f = &v->found[i];

		if (f->difference.kernel.has)
			rows[(*n)++] = (struct side_row){ f, &f->difference.kernel };
		if (f->difference.recorded.has)
			rows[(*n)++] = (struct side_row){ f, &f->difference.recorded };
	}
	*out = rows;
	return 0;
}

/* Then nothing is equal either. */
static bool is_nothing(const struct verified *v)
{
	return v->processes == 0 && v->n_unseen == 0 && v->n_found == 0;
}

/* As tables. */

static void set_text(struct value *out, const char *text)
{
	out->kind = VALUE_TEXT;
	out->text = text;
	out->len = strlen(text);
}

static void set_number(struct value *out, uint64_t number)
{
	out->kind = VALUE_NUMBER;
	out->number = number;
}

#define GET(what) static void get_##what(const struct view *v, const void *item, struct value *out)
#define R ((const struct side_row *)item)
#define U ((const struct unseen *)item)

GET(pid)
{
	set_number(out, (uint64_t)R->found->difference.pid);
}

GET(command)
{
	set_text(out, R->found->command);
}

GET(fd)
{
	set_number(out, (uint64_t)R->found->difference.fd);
}

GET(inode)
{
	if (R->side->inode != 0)
		set_number(out, R->side->inode);
}

GET(side)
{
	set_text(out, is_kernel(R) ? "kernel" : "portshim");
}

GET(what)
{
	set_text(out, R->side->what);
}

GET(unseen_pid)
{
	set_number(out, (uint64_t)U->pid);
}

GET(unseen_command)
{
	set_text(out, U->command);
}

GET(unseen_reason)
{
	set_text(out, U->reason);
}

static const struct column difference_columns[] = {
	{ "PID", NULL, COLUMN_RIGHT, get_pid },
	{ "COMMAND", NULL, 0, get_command },
	{ "FD", NULL, COLUMN_RIGHT, get_fd },
	{ "INODE", NULL, COLUMN_RIGHT, get_inode },
	{ "SIDE", NULL, 0, get_side },
	{ "WHAT", NULL, 0, get_what },
	{ 0 },
};

static const struct column unseen_columns[] = {
	{ "UNSEEN", NULL, COLUMN_RIGHT, get_unseen_pid },
	{ "COMMAND", NULL, 0, get_unseen_command },
	{ "REASON", NULL, 0, get_unseen_reason },
	{ 0 },
};

static int print_table(const struct column *columns, const void *items, size_t n, size_t size)
{
	CLEANUP_FREE struct view_row *rows = calloc(n + 1, sizeof(*rows));
	struct view v = { .columns = columns, .rows = rows, .n = n };

	if (rows == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		rows[i] = (struct view_row){ (const char *)items + i * size, VIEW_NO_PARENT };
	return n > 0 ? out_table(&v, stdout) : 0;
}

static const char *plural(size_t n)
{
	return n == 1 ? "" : "s";
}

static void print_summary(const struct verified *v, bool watch)
{
	char time_text[TIME_TEXT_MAX];
	struct timespec now;

	if (watch) {
		clock_gettime(CLOCK_REALTIME, &now);
		time_local((uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec, false,
			   time_text);
		printf("%s ", time_text);
	}
	printf("compared %zu descriptor%s of %zu process%s: ", v->compared, plural(v->compared), v->processes,
	       v->processes == 1 ? "" : "es");
	if (is_nothing(v))
		fputs("none lives", stdout);
	else if (v->n_found == 0)
		fputs("equal", stdout);
	else
		printf("%zu differ%s", v->n_found, v->n_found == 1 ? "s" : "");
	if (v->n_unseen > 0 && watch)
		printf(", %zu unseen", v->n_unseen);
	putchar('\n');
}

static int print_text(const struct verified *v, bool watch)
{
	CLEANUP_FREE struct side_row *rows = NULL;
	size_t n = 0;
	int err = 0;

	if (!watch)
		err = side_rows(v, &rows, &n);
	if (err == 0 && !watch)
		err = print_table(difference_columns, rows, n, sizeof(*rows));
	if (err < 0)
		return err;
	print_summary(v, watch);
	return watch ? 0 : print_table(unseen_columns, v->unseen, v->n_unseen, sizeof(*v->unseen));
}

/* As JSON. */

static struct json_object *side_object(const struct side_row *r)
{
	struct json_object *o = json_object_new_object();
	const struct difference *d = &r->found->difference;

	json_object_object_add(o, "pid", json_object_new_int(d->pid));
	json_object_object_add(o, "fd", json_object_new_int(d->fd));
	json_object_object_add(o, "inode",
			       r->side->inode != 0 ? json_object_new_uint64(r->side->inode) : NULL);
	json_object_object_add(o, "side", json_object_new_string(is_kernel(r) ? "kernel" : "portshim"));
	return o;
}

static struct json_object *unseen_object(const struct unseen *u)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "pid", json_object_new_int(u->pid));
	json_object_object_add(o, "reason", json_text(u->reason, strlen(u->reason)));
	return o;
}

static int print_json(const struct verified *v)
{
	CLEANUP_FREE struct side_row *rows = NULL;
	struct json_object *o, *differences, *unseen;
	const char *text;
	size_t n;
	int err = side_rows(v, &rows, &n);

	if (err < 0)
		return err;
	o = json_object_new_object();
	differences = json_object_new_array();
	unseen = json_object_new_array();
	for (size_t i = 0; i < n; i++)
		json_object_array_add(differences, side_object(&rows[i]));
	for (size_t i = 0; i < v->n_unseen; i++)
		json_object_array_add(unseen, unseen_object(&v->unseen[i]));
	json_object_object_add(o, "differences", differences);
	json_object_object_add(o, "compared", json_object_new_uint64(v->compared));
	json_object_object_add(o, "unseen", unseen);
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	if (text != NULL)
		puts(text);
	json_object_put(o);
	return text != NULL ? 0 : -ENOMEM;
}

static void say_nothing(const char *session)
{
	if (session == NULL)
		cmd_no_session(usage.verb);
	else
		cmd_error(usage.verb,
			  "%s: no process of it lives, so that there is nothing to compare; "
			  "'portshim sessions' lists what there is",
			  session);
}

/* One look, from the log's beginning. */
static int verify(const struct args *a)
{
	CLEANUP(recording_closep) struct recording r = { 0 };
	CLEANUP(verified_freep) struct verified v = { 0 };
	int status = cmd_read(usage.verb, a->session, RECORDING_KEEP, &r), err;

	if (status != 0)
		return status;
	err = verify_live(&r, a->session, &v);
	if (err == 0)
		err = a->json ? print_json(&v) : print_text(&v, a->watch);
	if (err < 0)
		return cmd_error(usage.verb, "%s", strerror(-err));
	if (is_nothing(&v)) {
		if (!a->watch)
			say_nothing(a->session);
		return EXIT_NONE;
	}
	return v.n_found > 0 ? DIFFERENT : 0;
}

/* Watching. */

static volatile sig_atomic_t told_to_stop;

static void on_stop(int sig)
{
	told_to_stop = 1;
}

/* They are held back but while waiting: none is missed between the question and the sleep. */
static void stop_on_signals(sigset_t *waiting)
{
	struct sigaction sa = { .sa_handler = on_stop }, old;
	const int sigs[] = { SIGINT, SIGTERM };
	sigset_t held;

	sigemptyset(&held);
	for (size_t i = 0; i < ARRAY_LEN(sigs); i++) {
		/* What the caller ignores stays ignored, as in a background job. */
		if (sigaction(sigs[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaction(sigs[i], &sa, NULL);
		sigaddset(&held, sigs[i]);
	}
	sigprocmask(SIG_BLOCK, &held, waiting);
	for (size_t i = 0; i < ARRAY_LEN(sigs); i++)
		sigdelset(waiting, sigs[i]);
}

static int watch(const struct args *a)
{
	const struct timespec pause = { .tv_sec = WATCH_SECONDS };
	sigset_t waiting;
	int status;

	stop_on_signals(&waiting);
	do {
		status = verify(a);
		if (status > DIFFERENT || fflush(stdout) != 0)
			break;
		(void)ppoll(NULL, 0, &pause, &waiting);
	} while (!told_to_stop);
	return status;
}

int cmd_verify(int argc, char **argv)
{
	struct args a = { 0 };
	int status = parse(&a, argc, argv);

	if (status >= 0)
		return status;
	return a.watch ? watch(&a) : verify(&a);
}
