/* SPDX-License-Identifier: MIT */
#include <pwd.h>

#include "view_private.h"

/* Sessions, as `sessions` lists them */

#define S ((const struct session_row *)item)

GET(session_dir)
{
	set_text(out, S->session.dir);
}

GET(session_uid)
{
	set_number(out, S->session.uid);
}

GET(session_user)
{
	const struct passwd *pw = getpwuid(S->session.uid);

	if (pw != NULL)
		set_text(out, pw->pw_name);
	else
		set_number(out, S->session.uid);
}

GET(session_created)
{
	out->kind = VALUE_TIME;
	out->time = S->session.info.created;
}

GET(session_live)
{
	set_number(out, S->live);
}

GET(session_processes)
{
	set_number(out, S->processes);
}

GET(session_records)
{
	set_number(out, S->records);
}

GET(session_size)
{
	out->kind = VALUE_SIZE;
	out->number = S->stats.bytes;
}

GET(session_dropped)
{
	set_number(out, S->stats.dropped);
}

static const struct column session_columns[] = {
	{ "SESSION", "session", 0, get_session_dir },
	{ "USER", "user", 0, get_session_user },
	{ NULL, "uid", 0, get_session_uid },
	{ "CREATED", "created", 0, get_session_created },
	{ "LIVE", "live", COLUMN_RIGHT, get_session_live },
	{ "PROCESSES", "processes", COLUMN_RIGHT, get_session_processes },
	{ "RECORDS", "records", COLUMN_RIGHT, get_session_records },
	{ "SIZE", "size", COLUMN_RIGHT, get_session_size },
	{ "DROPPED", "dropped", COLUMN_RIGHT, get_session_dropped },
	{ 0 },
};

int view_sessions(const struct session_row *rows, size_t n, struct view *out)
{
	struct view v = { .name = "sessions", .columns = session_columns };

	for (size_t i = 0; i < n; i++) {
		if (add_row(&v, &rows[i], VIEW_NO_PARENT) < 0) {
			view_free(&v);
			return -ENOMEM;
		}
	}
	*out = v;
	return 0;
}
