/* SPDX-License-Identifier: MIT */
#include "cmd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sessions.h"
#include "util.h"

static const struct cmd_opt opts[] = {
	{ 's', "session", "DIR", "remove the session in DIR, not all that have ended" },
	{ 0 },
};

static const struct cmd_usage usage = {
	.verb = "prune",
	.synopsis = "[options]",
	.about = "Removes your sessions that have ended (root: everybody's), and says which. A live one is\n"
		 "never removed: named with -s, it is exit status 1.\n",
	.opts = opts,
};

/* 0, or the exit status, having said why. */
static int remove_one(const char *dir)
{
	char odd[ODD_NAME_MAX];
	pid_t pid = 0;
	int ret = session_remove(dir, &pid, odd);

	switch (-ret) {
	case 0:
		printf("removed %s\n", dir);
		return 0;
	case EBUSY:
		cmd_error(usage.verb, "%s: process %d lives in it; end that first", dir, pid);
		return EXIT_NONE;
	case ENOTEMPTY:
		return cmd_error(usage.verb, "%s: holds '%s', which is not portshim's; move that away first",
				 dir, odd);
	default:
		return cmd_session_error(usage.verb, dir, ret);
	}
}

static int remove_ended(void)
{
	CLEANUP(session_list_freep) struct session_list l = { 0 };
	int status = 0, ret = session_list_find(true, &l);

	if (ret < 0)
		return cmd_error(usage.verb, "%s", strerror(-ret));
	for (size_t i = 0; i < l.n; i++) {
		struct session_life life;

		ret = l.list[i].error != 0 ? l.list[i].error : session_live(l.list[i].dir, &life);
		if (ret == 0 && (life.records > 0 || !session_starting(&l.list[i].info)))
			ret = remove_one(l.list[i].dir);
		else if (ret < 0 && ret != -ENOENT)
			ret = cmd_session_error(usage.verb, l.list[i].dir, ret);
		if (ret == EXIT_BAD)
			status = EXIT_BAD;
	}
	return status;
}

int cmd_prune(int argc, char **argv)
{
	const char *dir = NULL;
	int opt, status;

	while ((opt = cmd_option(&usage, argc, argv)) >= 0)
		dir = optarg;
	status = cmd_parsed_all(&usage, opt, argc, argv);
	if (status >= 0)
		return status;
	return dir != NULL ? remove_one(dir) : remove_ended();
}
