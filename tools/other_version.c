/* SPDX-License-Identifier: MIT */
#include "other_version.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "util.h"

struct arenas {
	ino_t *list;
	size_t n, room;
};

static void arenas_free(struct arenas *a)
{
	free(a->list);
}

static int add_arena(struct arenas *a, ino_t inode)
{
	ino_t *list = array_room(a->list, &a->room, a->n + 1, sizeof(*list));

	if (list == NULL)
		return -ENOMEM;
	a->list = list;
	a->list[a->n++] = inode;
	return 0;
}

static int find_arenas(const char *path, struct arenas *a, uint64_t *last)
{
	CLEANUP_DIR DIR *dir = opendir(path);
	struct dirent *e;
	int ret = 0;

	if (dir == NULL)
		return -errno;
	*last = 0;
	while (ret == 0 && (e = readdir(dir)) != NULL) {
		struct stat st;
		uint64_t changed;

		if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
			continue;
		changed = (uint64_t)st.st_mtim.tv_sec * UINT64_C(1000000000) + (uint64_t)st.st_mtim.tv_nsec;
		if (changed > *last)
			*last = changed;
		if (strncmp(e->d_name, SESSION_ARENA_PREFIX, strlen(SESSION_ARENA_PREFIX)) == 0)
			ret = add_arena(a, st.st_ino);
	}
	return ret;
}

/* "START-END PERMS OFFSET DEVICE INODE PATH".  The device is not compared: btrfs says another one here than
 * in stat(2). */
static bool is_arena(const struct arenas *a, const char *line)
{
	unsigned long inode;

	if (strstr(line, "/" SESSION_ARENA_PREFIX) == NULL ||
	    sscanf(line, "%*s %*s %*s %*s %lu", &inode) != 1)
		return false;
	for (size_t i = 0; i < a->n; i++) {
		if (a->list[i] == inode)
			return true;
	}
	return false;
}

static bool has_mapped(const struct arenas *a, const char *pid)
{
	CLEANUP_FILE FILE *f = NULL;
	CLEANUP_FREE char *line = NULL;
	char path[PATH_MAX];
	size_t room = 0;

	snprintf(path, sizeof(path), "/proc/%s/maps", pid);
	f = fopen(path, "re");
	while (f != NULL && getline(&line, &room, f) >= 0) {
		if (is_arena(a, line))
			return true;
	}
	return false;
}

int other_version_live(const char *path, struct session_life *out)
{
	CLEANUP(arenas_free) struct arenas a = { 0 };
	CLEANUP_DIR DIR *proc = opendir("/proc");
	struct dirent *e;
	int ret;

	if (proc == NULL)
		return -errno;
	*out = (struct session_life){ 0 };
	ret = find_arenas(path, &a, &out->last);
	if (ret < 0 || a.n == 0)
		return ret;
	while ((e = readdir(proc)) != NULL) {
		if (!isdigit((unsigned char)e->d_name[0]) || !has_mapped(&a, e->d_name))
			continue;
		out->pid = (pid_t)strtol(e->d_name, NULL, 10);
		return 1;
	}
	return 0;
}
