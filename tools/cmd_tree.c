/* SPDX-License-Identifier: MIT */
#include "cmd.h"

#include <string.h>

#include "out.h"
#include "util.h"
#include "view.h"

enum { OPT_ALL = CMD_OPT_OWN, OPT_PAST };

static const struct cmd_opt opts[] = {
	{ 's', "session", "DIR", "read the session in DIR, not all live ones" },
	{ OPT_ALL, "all", NULL, "connected and open sockets too" },
	{ OPT_PAST, "past", NULL, "ended processes too, with what they held, and ended sessions" },
	{ CMD_OPT_JSON, "json", NULL, "print JSON" },
	{ 0 },
};

static const struct cmd_usage usage = {
	.verb = "tree",
	.synopsis = "[options]",
	.about = "Shows the live processes as a tree, with the ports that each holds and how it came by "
		 "them.\n"
		 "Ended processes are shown where live ones descend from them. Exit status 1 if there are "
		 "none.\n",
	.opts = opts,
};

struct tree {
	const char *session;
	bool json, all, past;
};

static int parse(struct tree *t, int argc, char **argv)
{
	int opt;

	while ((opt = cmd_option(&usage, argc, argv)) >= 0) {
		switch (opt) {
		case 's':
			t->session = optarg;
			break;
		case OPT_ALL:
			t->all = true;
			break;
		case OPT_PAST:
			t->past = true;
			break;
		default:
			t->json = true;
			break;
		}
	}
	return cmd_parsed_all(&usage, opt, argc, argv);
}

static int show(const struct tree *t, struct recording *r)
{
	CLEANUP(view_freep) struct view v = { 0 };
	int ret = view_tree(r->model, recording_offset(r), t->past, t->all, &v);

	if (ret == 0)
		ret = t->json ? out_json(&v, stdout) : out_table(&v, stdout);
	if (ret < 0)
		return cmd_error(usage.verb, "%s", strerror(-ret));
	if (r->n_readers == 0)
		cmd_no_session(usage.verb);
	return v.n > 0 ? 0 : EXIT_NONE;
}

int cmd_tree(int argc, char **argv)
{
	CLEANUP(recording_closep) struct recording r = { 0 };
	struct tree t = { 0 };
	int status = parse(&t, argc, argv);
	unsigned flags = 0;

	if (status >= 0)
		return status;
	if (t.all)
		flags |= RECORDING_SCAN_FDS;
	if (t.past)
		flags |= RECORDING_ENDED_TOO;
	status = cmd_read(usage.verb, t.session, flags, &r);
	return status != 0 ? status : show(&t, &r);
}
