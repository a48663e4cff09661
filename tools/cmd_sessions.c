/* SPDX-License-Identifier: MIT */
#include "cmd.h"

#include <errno.h>
#include <string.h>

#include "out.h"
#include "util.h"
#include "view.h"

static const struct cmd_opt opts[] = {
	{ 's', "session", "DIR", "only the session in DIR" },
	{ CMD_OPT_JSON, "json", NULL, "print JSON" },
	{ 0 },
};

static const struct cmd_usage usage = {
	.verb = "sessions",
	.synopsis = "[options]",
	.about = "Lists your sessions (root: everybody's), the ended ones too. Exit status 1 if there are "
		 "none.\n",
	.opts = opts,
};

struct rows {
	struct session_row *list;
	size_t n;
};

static void rows_free(struct rows *r)
{
	free(r->list);
}

static void count(struct session_row *row, struct recording *r)
{
	for (const struct process *p = model_processes(r->model); p != NULL; p = p->next) {
		row->processes++;
		row->live += p->live;
	}
	row->records = r->n_records;
	reader_stats(r->readers[0], &row->stats);
}

static int read_session(const struct session *s, struct session_row *row)
{
	CLEANUP(recording_closep) struct recording r = { 0 };
	int ret = s->error != 0 ? s->error : recording_open(s->dir, &r);

	if (ret == 0)
		ret = recording_fold(&r, 0);
	if (ret != 0)
		return ret;
	*row = (struct session_row){ .session = *s };
	row->session.info.created = reader_created(r.readers[0]);
	count(row, &r);
	return 0;
}

/* One that cannot be read is named, and the others are listed all the same. */
static int read_all(const struct session_list *l, struct rows *rows)
{
	int status = 0;

	rows->list = calloc(l->n + 1, sizeof(*rows->list));
	if (rows->list == NULL)
		return cmd_error(usage.verb, "%s", strerror(ENOMEM));
	for (size_t i = 0; i < l->n; i++) {
		int ret = read_session(&l->list[i], &rows->list[rows->n]);

		if (ret == 0)
			rows->n++;
		else if (ret == -EPROTO) /* the others are all that this version can list */
			cmd_session_error(usage.verb, l->list[i].dir, ret);
		else if (ret != -ENOENT) /* removed meanwhile */
			status = cmd_session_error(usage.verb, l->list[i].dir, ret);
	}
	return status;
}

static int show(const struct rows *rows, bool json)
{
	CLEANUP(view_freep) struct view v = { 0 };
	int ret = view_sessions(rows->list, rows->n, &v);

	if (ret == 0)
		ret = json ? out_json(&v, stdout) : out_table(&v, stdout);
	if (ret < 0)
		return cmd_error(usage.verb, "%s", strerror(-ret));
	return v.n > 0 ? 0 : EXIT_NONE;
}

static int find(char *dir, struct session_list *l)
{
	int ret;

	if (dir == NULL) {
		ret = session_list_find(true, l);
		return ret == 0 ? 0 : cmd_error(usage.verb, "%s", strerror(-ret));
	}
	ret = session_list_name(dir, l);
	return ret == 0 ? 0 : cmd_session_error(usage.verb, dir, ret);
}

int cmd_sessions(int argc, char **argv)
{
	CLEANUP(session_list_freep) struct session_list l = { 0 };
	CLEANUP(rows_free) struct rows rows = { 0 };
	char *dir = NULL;
	bool json = false;
	int opt, status, shown;

	while ((opt = cmd_option(&usage, argc, argv)) >= 0) {
		if (opt == 's')
			dir = optarg;
		else
			json = true;
	}
	status = cmd_parsed_all(&usage, opt, argc, argv);
	if (status >= 0)
		return status;
	status = find(dir, &l);
	if (status != 0)
		return status;
	status = read_all(&l, &rows);
	shown = show(&rows, json);
	return status != 0 ? status : shown;
}
