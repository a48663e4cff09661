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
	.about =
		"Removes your sessions that have ended (root: everybody's), of other versions too, and says\n"
		"which. A live one is never removed: named with -s, it is exit status 1.\n",
	.opts = opts,
};

static int is_live(const char *dir, pid_t pid, bool other_version)
{
	cmd_error(usage.verb, "%s: %sprocess %d lives in it; end that first", dir,
		  other_version ? "made by another version of portshim, and " : "", pid);
	return EXIT_NONE;
}

/* 0, or the exit status, having said why. */
static int remove_one(const char *dir)
{
	struct session_info info;
	bool other_version = session_info(dir, geteuid(), &info) == -EPROTO;
	char odd[ODD_NAME_MAX];
	pid_t pid = 0;
	int ret = session_remove(dir, &pid, odd);

	switch (-ret) {
	case 0:
		printf("removed %s%s\n", dir, other_version ? ", made by another version" : "");
		return 0;
	case EBUSY:
		return is_live(dir, pid, other_version);
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
		const struct session *s = &l.list[i];
		bool other_version = s->error == -EPROTO;
		struct session_life life;

		ret = s->error != 0 && !other_version ? s->error : session_live(s->dir, &life);
		if (ret == 0 && (life.records > 0 || !session_starting(&s->info)))
			ret = remove_one(s->dir);
		else if (ret == 1 && other_version)
			ret = is_live(s->dir, life.pid, true);
		else if (ret < 0 && ret != -ENOENT)
			ret = cmd_session_error(usage.verb, s->dir, ret);
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
