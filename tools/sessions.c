/* SPDX-License-Identifier: MIT */
#include "sessions.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "other_version.h"
#include "portshim/env.h"
#include "recording.h"
#include "util.h"

#define SECOND 1000000000ull
#define DAY (86400 * SECOND)
/* Between the making of a session and the first record of its first process. */
#define STARTING (60 * SECOND)

static uint64_t realtime_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

/* Finding */

/* When another version made a session: it never writes to this file again.  0: gone. */
static uint64_t file_made(const char *dir)
{
	char path[SESSION_PATH_MAX + 16];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", dir, SESSION_FILE);
	if (lstat(path, &st) < 0)
		return 0;
	return (uint64_t)st.st_mtim.tv_sec * SECOND + (uint64_t)st.st_mtim.tv_nsec;
}

/* Takes dir over. */
static int add_session(struct session_list *l, char *dir, uid_t uid)
{
	struct session s = { .dir = dir, .uid = uid };
	struct session *grown = array_room(l->list, &l->room, l->n + 1, sizeof(*l->list));

	if (grown == NULL || dir == NULL) {
		free(dir);
		return -ENOMEM;
	}
	s.error = session_info(s.dir, geteuid(), &s.info);
	if (s.error == -EPROTO)
		s.info.created = file_made(s.dir);
	l->list = grown;
	l->list[l->n++] = s;
	return s.error;
}

static int add_found(struct session_list *l, const char *root, const char *name, uid_t uid)
{
	char *dir;
	int ret = asprintf(&dir, "%s/%s", root, name) < 0 ? -ENOMEM : add_session(l, dir, uid);

	if (ret == -ENOENT || ret == -ENOTDIR)
		free(l->list[--l->n].dir);
	return ret == -ENOMEM ? ret : 0;
}

/* A root that is not there, or that the caller may not read, holds no sessions for him. */
static int find_in_root(struct session_list *l, const char *root)
{
	CLEANUP_DIR DIR *dir = opendir(root);
	struct dirent *e;
	struct stat st;
	int ret = 0;

	while (ret == 0 && dir != NULL && (e = readdir(dir)) != NULL) {
		/* Dot names are sessions in the making. */
		if (e->d_name[0] == '.' || fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISDIR(st.st_mode))
			ret = add_found(l, root, e->d_name, st.st_uid);
	}
	return ret;
}

static int find_own(struct session_list *l, const char *root_env)
{
	char root[SESSION_PATH_MAX];
	const char *runtime_dir = secure_getenv("XDG_RUNTIME_DIR");
	int ret = 0;

	for (unsigned i = 0; ret == 0 && session_root(i, geteuid(), root_env, runtime_dir, root) == 0; i++)
		ret = find_in_root(l, root);
	return ret;
}

static bool all_of(const char *s, int (*is)(int))
{
	if (*s == '\0')
		return false;
	while (*s != '\0') {
		if (!is((unsigned char)*s++))
			return false;
	}
	return true;
}

/* "…/portshim", or "…/portshim-UID" */
static bool is_root_name(const char *path)
{
	const char *dash = strrchr(path, '-');

	return dash == NULL || strchr(dash, '/') != NULL || all_of(dash + 1, isdigit);
}

/* Every place that session_root() may name, for every user. */
static int find_everybodys(struct session_list *l)
{
	static const char *const places[] = { "/run/portshim", "/run/user/*/portshim",
					      "/dev/shm/portshim-*" };
	CLEANUP(globfree) glob_t found = { 0 };
	int ret = 0;

	for (size_t i = 0; i < ARRAY_LEN(places); i++)
		glob(places[i], i > 0 ? GLOB_APPEND : 0, NULL, &found);
	for (size_t i = 0; i < found.gl_pathc && ret == 0; i++) {
		if (is_root_name(found.gl_pathv[i]))
			ret = find_in_root(l, found.gl_pathv[i]);
	}
	return ret;
}

static int newer_first(const void *a, const void *b)
{
	const struct session *x = a, *y = b;

	if (x->info.created != y->info.created)
		return x->info.created < y->info.created ? 1 : -1;
	return strcmp(x->dir, y->dir);
}

int session_list_find(bool of_all, struct session_list *out)
{
	const char *root_env = secure_getenv(PS_ENV_ROOT);
	int ret;

	*out = (struct session_list){ 0 };
	if (of_all && geteuid() == 0 && (root_env == NULL || root_env[0] != '/'))
		ret = find_everybodys(out);
	else
		ret = find_own(out, root_env);
	if (ret < 0)
		session_list_free(out);
	else if (out->n > 0)
		qsort(out->list, out->n, sizeof(*out->list), newer_first);
	return ret;
}

int session_list_name(const char *dir, struct session_list *out)
{
	struct stat st;
	int ret = stat(dir, &st) < 0 ? -errno : 0;

	*out = (struct session_list){ 0 };
	if (ret == 0)
		ret = add_session(out, strdup(dir), st.st_uid);
	if (ret < 0)
		session_list_free(out);
	return ret;
}

void session_list_free(struct session_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->list[i].dir);
	free(l->list);
	*l = (struct session_list){ 0 };
}

/* Who lives there */

int session_live(const char *dir, struct session_life *out)
{
	CLEANUP(recording_closep) struct recording r = { 0 };
	const struct process *p;
	struct survey survey;
	int ret = recording_open(dir, &r);

	if (ret == -EPROTO)
		return other_version_live(dir, out);
	if (ret < 0)
		return ret;
	ret = recording_survey(r.readers[0], true, &survey);
	if (ret < 0)
		return ret;
	*out = (struct session_life){ .records = survey.records, .last = reader_created(r.readers[0]) };
	if (survey.records > 0)
		out->last = survey.last + (uint64_t)reader_realtime_offset(r.readers[0]);
	if (!survey.may_live)
		return 0;
	ret = recording_fold(&r, 0);
	p = ret < 0 ? NULL : model_live(r.model);
	if (p != NULL)
		out->pid = p->pid;
	return ret < 0 ? ret : p != NULL;
}

bool session_starting(const struct session_info *info)
{
	return realtime_now() < info->created + STARTING;
}

/* Removing */

static bool is_named(const char *name, const char *prefix, int (*rest)(int))
{
	const size_t len = strlen(prefix);

	return strncmp(name, prefix, len) == 0 && all_of(name + len, rest);
}

/* session.c: the session's file, arenas, rules, and those that were never finished. */
static bool is_own_name(const char *name)
{
	return strcmp(name, SESSION_FILE) == 0 || is_named(name, SESSION_ARENA_PREFIX, isdigit) ||
	       is_named(name, SESSION_RULES_PREFIX, isdigit) || is_named(name, ".new-", isxdigit);
}

static bool is_dot(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static int check_names(DIR *dir, char odd[static ODD_NAME_MAX])
{
	struct dirent *e;

	rewinddir(dir);
	while ((e = readdir(dir)) != NULL) {
		if (is_dot(e->d_name) || is_own_name(e->d_name))
			continue;
		snprintf(odd, ODD_NAME_MAX, "%s", e->d_name);
		return -ENOTEMPTY;
	}
	return 0;
}

/* The session's file last: until then what is left is still known for what it is. */
static int unlink_own(DIR *dir)
{
	struct dirent *e;

	rewinddir(dir);
	while ((e = readdir(dir)) != NULL) {
		if (!is_own_name(e->d_name) || strcmp(e->d_name, SESSION_FILE) == 0)
			continue;
		if (unlinkat(dirfd(dir), e->d_name, 0) < 0)
			return -errno;
	}
	return unlinkat(dirfd(dir), SESSION_FILE, 0) < 0 ? -errno : 0;
}

/* The directory is what was looked at, whatever the path means by now. */
static DIR *open_dir(int parent, const char *name)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (dir == NULL && fd >= 0)
		close(fd);
	return dir;
}

static int live_below(int parent, const char *name, pid_t *pid)
{
	struct session_life life;
	char path[PATH_MAX];
	int ret;

	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", parent, name);
	ret = session_live(path, &life);
	if (ret != 1)
		return ret;
	*pid = life.pid;
	return -EBUSY;
}

static int remove_below(int parent, const char *name, pid_t *pid, char odd[static ODD_NAME_MAX])
{
	CLEANUP_DIR DIR *dir = open_dir(parent, name);
	char aside[NAME_MAX + 1];
	int ret = dir == NULL ? -errno : live_below(parent, name, pid);

	if (ret == 0)
		ret = check_names(dir, odd);
	if (ret < 0)
		return ret;
	if ((size_t)snprintf(aside, sizeof(aside), "%s~%d", name, getpid()) >= sizeof(aside))
		return -ENAMETOOLONG;
	if (renameat2(parent, name, parent, aside, RENAME_NOREPLACE) < 0)
		return -errno;
	ret = live_below(parent, aside, pid);
	if (ret < 0) {
		renameat2(parent, aside, parent, name, RENAME_NOREPLACE);
		return ret;
	}
	ret = unlink_own(dir);
	if (ret == 0 && unlinkat(parent, aside, AT_REMOVEDIR) < 0)
		ret = -errno;
	return ret;
}

int session_remove(const char *dir, pid_t *pid, char odd[static ODD_NAME_MAX])
{
	CLEANUP_FREE char *path = realpath(dir, NULL);
	CLEANUP_CLOSE int parent = -1;
	char *slash;

	if (path == NULL)
		return -errno;
	slash = strrchr(path, '/');
	*slash = '\0';
	parent = open(slash == path ? "/" : path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0)
		return -errno;
	return remove_below(parent, slash + 1, pid, odd);
}

void sessions_tidy(void)
{
	CLEANUP(session_list_freep) struct session_list l = { 0 };
	uint64_t now = realtime_now();

	if (session_list_find(false, &l) < 0)
		return;
	for (size_t i = 0; i < l.n; i++) {
		const struct session *s = &l.list[i];
		struct session_life life;
		char odd[ODD_NAME_MAX];

		if (s->error != 0 && s->error != -EPROTO)
			continue;
		if (s->uid != geteuid() || session_starting(&s->info))
			continue;
		/* None can have ended before it was made: most need no look inside. */
		if (i < SESSIONS_KEPT && now < s->info.created + SESSIONS_KEPT_DAYS * DAY)
			continue;
		if (session_live(s->dir, &life) == 0 &&
		    (i >= SESSIONS_KEPT || now > life.last + SESSIONS_KEPT_DAYS * DAY))
			session_remove(s->dir, &life.pid, odd);
	}
}

const char *session_why(const char *dir, int err)
{
	struct stat st;

	switch (-err) {
	case ENOENT:
		if (stat(dir, &st) < 0)
			return "no such directory; 'portshim sessions' lists what there is";
		return "not a session, as it has no 'session' file; 'portshim sessions' lists what there is";
	case ENOTDIR:
		return "not a directory; 'portshim sessions' lists what there is";
	case EPERM:
		return "belongs to someone else or is open to others; run as its owner or as root, and see "
		       "its "
		       "mode (0711, files 0600)";
	case EACCES:
		return "may not be read; run as its owner or as root";
	case EPROTO:
		return "made by another version of portshim; read it with that version, or record anew, and "
		       "remove it by 'portshim prune'";
	case EBADMSG:
		return "its 'session' file is corrupt; record anew with 'portshim run'";
	default:
		return strerror(-err);
	}
}
