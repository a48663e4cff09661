/* SPDX-License-Identifier: MIT */
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>

#include "sys.h"
#include "text.h"

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

#define DIR_MODE 0711
#define FILE_MODE 0600
#define ARENA_MAX (256ull << 20)
#define ARENA_MIN (64ull << 10)
#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#define MAGIC_LINE "portshim-session "

/* A process may not write more than its RLIMIT_FSIZE; the kernel punishes it by SIGXFSZ. */
static bool may_grow_to(uint64_t size)
{
	struct rlimit lim;

	return sys4(SYS_prlimit64, 0, RLIMIT_FSIZE, NULL, &lim) == 0 &&
	       (lim.rlim_cur == RLIM_INFINITY || lim.rlim_cur >= size);
}

static int join(char *out, size_t size, const char *dir, const char *name)
{
	struct text t = { .buf = out, .size = size };

	text_add(&t, dir);
	text_add(&t, "/");
	text_add(&t, name);
	return t.full ? -ENAMETOOLONG : 0;
}

static int random_name(const char *prefix, char *out, size_t size)
{
	struct text t = { .buf = out, .size = size };
	uint64_t n;

	if (sys3(SYS_getrandom, &n, sizeof(n), 0) != sizeof(n))
		return -EIO;
	text_add(&t, prefix);
	text_add_hex(&t, n);
	return t.full ? -ENAMETOOLONG : 0;
}

int session_root(unsigned i, uid_t uid, const char *root, const char *runtime_dir,
		 char out[static SESSION_PATH_MAX])
{
	struct text t = { .buf = out, .size = SESSION_PATH_MAX };

	if (root != NULL && root[0] == '/') {
		if (i > 0)
			return -ENOENT;
		text_add(&t, root);
		return t.full ? -ENAMETOOLONG : 0;
	}
	/* Without a better place the last one is the first: none is named twice. */
	if (uid != 0 && (runtime_dir == NULL || runtime_dir[0] != '/'))
		i++;
	if (i == 0 && uid == 0) {
		text_add(&t, "/run/portshim");
	} else if (i == 0) {
		text_add(&t, runtime_dir);
		text_add(&t, "/portshim");
	} else if (i == 1) {
		text_add(&t, "/dev/shm/portshim-");
		text_add_u64(&t, uid);
	} else {
		return -ENOENT;
	}
	return t.full ? -ENAMETOOLONG : 0;
}

static bool on_tmpfs(const char *path)
{
	char parent[SESSION_PATH_MAX];
	struct statfs fs;
	char *slash;
	size_t len = strlen(path);

	memcpy(parent, path, len + 1);
	slash = strrchr(parent, '/');
	if (slash == NULL || slash == parent)
		return false;
	*slash = '\0';
	return sys2(SYS_statfs, parent, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

/* Opens a directory that must be uid's own and no one else's to write; 0711 whatever the umask was. */
static int open_own(const char *dir, uid_t uid)
{
	struct stat st;
	int ret, fd = sys_open(dir, DIR_FLAGS);

	if (fd < 0)
		return fd;
	ret = (int)sys2(SYS_fstat, fd, &st);
	if (ret == 0 && (st.st_uid != uid || (st.st_mode & 022) != 0))
		ret = -EPERM;
	if (ret == 0 && (st.st_mode & 0777) != DIR_MODE)
		ret = (int)sys2(SYS_fchmod, fd, DIR_MODE);
	if (ret < 0) {
		sys_close(fd);
		return ret;
	}
	return fd;
}

int session_root_make(uid_t uid, const char *root, const char *runtime_dir, char out[static SESSION_PATH_MAX])
{
	int ret, why = -EMEDIUMTYPE;

	for (unsigned i = 0; (ret = session_root(i, uid, root, runtime_dir, out)) == 0; i++) {
		int fd;

		if (root == NULL && !on_tmpfs(out))
			continue;
		sys3(SYS_mkdirat, AT_FDCWD, out, DIR_MODE);
		fd = open_own(out, uid);
		if (fd >= 0) {
			sys_close(fd);
			return 0;
		}
		why = fd;
	}
	return ret == -ENOENT ? why : ret;
}

static bool is_empty(int dirfd)
{
	char buf[1024] __attribute__((aligned(8)));
	long n;

	while ((n = sys3(SYS_getdents64, dirfd, buf, sizeof(buf))) > 0) {
		for (long at = 0; at < n;) {
			/* struct linux_dirent64: ino 8, off 8, reclen 2, type 1, name. */
			uint16_t len;
			const char *name = buf + at + 19;

			memcpy(&len, buf + at + 16, sizeof(len));
			if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
				return false;
			at += len;
		}
	}
	return n == 0;
}

/* An arena is written by mmap and must survive a full disk: known to hold on these (design 5). */
static int arena_size(int dirfd, uint64_t *out)
{
	struct statfs fs;
	uint64_t size;
	int ret = (int)sys2(SYS_fstatfs, dirfd, &fs);

	if (ret < 0)
		return ret;
	if (fs.f_type != TMPFS_MAGIC && fs.f_type != EXT4_SUPER_MAGIC && fs.f_type != XFS_SUPER_MAGIC &&
	    fs.f_type != BTRFS_SUPER_MAGIC)
		return -EMEDIUMTYPE;
	size = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize / 4;
	/* tmpfs without a size limit says 0 blocks. */
	if (size > ARENA_MAX || (fs.f_type == TMPFS_MAGIC && fs.f_blocks == 0))
		size = ARENA_MAX;
	if (size < ARENA_MIN)
		return -ENOSPC;
	*out = size & ~(uint64_t)(ARENA_MIN - 1);
	return 0;
}

static int write_all(int fd, const void *data, size_t len)
{
	ssize_t n = sys3(SYS_write, fd, data, len);

	if (n < 0)
		return (int)n;
	return (size_t)n == len ? 0 : -ENOSPC;
}

static int new_file(int dirfd, const char *name)
{
	return sys_openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
}

static void read_boot(char out[static 40])
{
	int fd = sys_open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : sys_read(fd, out, 36);

	if (fd >= 0)
		sys_close(fd);
	out[n > 0 ? n : 0] = '\0';
}

static int write_info(int dirfd, uint64_t size)
{
	char buf[256], boot[40];
	struct text t = TEXT_IN(buf);
	struct timespec now;
	int ret, fd;

	clock_gettime(CLOCK_REALTIME, &now);
	read_boot(boot);
	text_add(&t, MAGIC_LINE);
	text_add_u64(&t, PS_VERSION);
	text_add(&t, "\nsize ");
	text_add_u64(&t, size);
	text_add(&t, "\ncreated ");
	text_add_u64(&t, (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec);
	text_add(&t, "\nboot ");
	text_add(&t, boot);
	text_add(&t, "\n");
	fd = new_file(dirfd, SESSION_FILE);
	if (fd < 0)
		return fd;
	ret = write_all(fd, buf, t.len);
	sys_close(fd);
	return ret;
}

static int give(int fd, uid_t uid)
{
	return uid == (uid_t)sys0(SYS_geteuid) ? 0 : (int)sys3(SYS_fchown, fd, uid, -1);
}

static int fill_arena(int fd, uid_t uid, uint64_t size)
{
	uint64_t unit = getauxval(AT_PAGESZ) / PS_PAGE;
	struct ps_arena header = {
		.magic = PS_ARENA_MAGIC,
		.version = PS_VERSION,
		.endian = PS_ENDIAN,
		.uid = uid,
		.size = size,
		/* Chunks start at whole pages of the machine. */
		.cursor = unit > 1 ? unit : 1,
	};
	int ret = write_all(fd, &header, sizeof(header));

	if (ret == 0)
		ret = (int)sys2(SYS_ftruncate, fd, size);
	return ret == 0 ? give(fd, uid) : ret;
}

static int name_of_uid(const char *prefix, uid_t uid, char *out, size_t size)
{
	struct text t = { .buf = out, .size = size };

	text_add(&t, prefix);
	text_add_u64(&t, uid);
	return t.full ? -ENAMETOOLONG : 0;
}

/* What a file of a uid is to hold. */
struct content {
	const char *text; /* NULL: an arena of `size` */
	uint64_t size;
};

static int fill(int fd, uid_t uid, const struct content *c)
{
	int ret;

	if (c->text == NULL)
		return fill_arena(fd, uid, c->size);
	ret = write_all(fd, c->text, c->size);
	return ret == 0 ? give(fd, uid) : ret;
}

/* Complete before it has its name, so that nobody meets a half-made one. */
static int make_file_at(int dirfd, const char *prefix, uid_t uid, const struct content *c)
{
	char name[32], temporary[32];
	int ret, fd;

	if (!may_grow_to(c->size))
		return -EFBIG;
	ret = name_of_uid(prefix, uid, name, sizeof(name));
	if (ret == 0)
		ret = random_name(".new-", temporary, sizeof(temporary));
	if (ret < 0)
		return ret;
	fd = new_file(dirfd, temporary);
	if (fd < 0)
		return fd;
	ret = fill(fd, uid, c);
	sys_close(fd);
	if (ret == 0)
		ret = (int)sys5(SYS_renameat2, dirfd, temporary, dirfd, name, 1 /* RENAME_NOREPLACE */);
	if (ret < 0)
		sys3(SYS_unlinkat, dirfd, temporary, 0);
	return ret == -EEXIST ? 0 : ret;
}

static int make_arena_at(int dirfd, uid_t uid, uint64_t size)
{
	const struct content c = { .size = size };

	return make_file_at(dirfd, SESSION_ARENA_PREFIX, uid, &c);
}

static int make_file(const char *dir, const char *prefix, uid_t uid, const struct content *c)
{
	int ret, fd = sys_open(dir, DIR_FLAGS);

	if (fd < 0)
		return fd;
	ret = make_file_at(fd, prefix, uid, c);
	sys_close(fd);
	return ret;
}

int session_arena_make(const char *dir, uid_t uid, uint64_t size)
{
	const struct content c = { .size = size };

	return make_file(dir, SESSION_ARENA_PREFIX, uid, &c);
}

int session_rules_write(const char *dir, uid_t uid, const char *text, size_t len)
{
	const struct content c = { .text = text, .size = len };

	return make_file(dir, SESSION_RULES_PREFIX, uid, &c);
}

/* Takes back what fill_session() made. */
static void empty_session(int dirfd, uid_t uid)
{
	char name[32];

	sys3(SYS_unlinkat, dirfd, SESSION_FILE, 0);
	if (name_of_uid(SESSION_ARENA_PREFIX, uid, name, sizeof(name)) == 0)
		sys3(SYS_unlinkat, dirfd, name, 0);
}

static int fill_session(int dirfd, uid_t uid)
{
	uint64_t size;
	int ret = arena_size(dirfd, &size);

	if (ret < 0)
		return ret;
	if (!is_empty(dirfd))
		return -ENOTEMPTY;
	ret = make_arena_at(dirfd, uid, size);
	/* Last, as a directory is a session once this file is in it. */
	if (ret == 0)
		ret = write_info(dirfd, size);
	if (ret < 0)
		empty_session(dirfd, uid);
	return ret;
}

int session_make(const char *dir)
{
	uid_t uid = (uid_t)sys0(SYS_geteuid);
	int made = (int)sys3(SYS_mkdirat, AT_FDCWD, dir, DIR_MODE);
	int ret, fd;

	if (made < 0 && made != -EEXIST)
		return made;
	ret = fd = open_own(dir, uid);
	if (fd >= 0) {
		ret = fill_session(fd, uid);
		sys_close(fd);
	}
	if (ret < 0 && made == 0)
		sys3(SYS_unlinkat, AT_FDCWD, dir, AT_REMOVEDIR);
	return ret;
}

int session_make_new(const char *root, char out[static SESSION_PATH_MAX])
{
	char name[32];
	int ret = random_name("", name, sizeof(name));

	if (ret == 0)
		ret = join(out, SESSION_PATH_MAX, root, name);
	return ret < 0 ? ret : session_make(out);
}

static int publish_ambient(const char *root, const char *path)
{
	char name[32], temporary[SESSION_PATH_MAX];
	uid_t uid = (uid_t)sys0(SYS_geteuid);
	int fd, ret = random_name(".new-", name, sizeof(name));

	if (ret == 0)
		ret = join(temporary, sizeof(temporary), root, name);
	if (ret == 0)
		ret = session_make(temporary);
	if (ret < 0)
		return ret;
	ret = (int)sys5(SYS_renameat2, AT_FDCWD, temporary, AT_FDCWD, path, 1 /* RENAME_NOREPLACE */);
	if (ret == 0)
		return 0;
	fd = sys_open(temporary, DIR_FLAGS);
	if (fd >= 0) {
		empty_session(fd, uid);
		sys_close(fd);
		sys3(SYS_unlinkat, AT_FDCWD, temporary, AT_REMOVEDIR);
	}
	return ret == -EEXIST ? 0 : ret;
}

int session_ambient(const char *root, char out[static SESSION_PATH_MAX])
{
	struct session_info info;
	uid_t uid = (uid_t)sys0(SYS_geteuid);
	struct text t = { .buf = out, .size = SESSION_PATH_MAX };
	int ret;

	text_add(&t, root);
	text_add(&t, "/" SESSION_AMBIENT_PREFIX);
	text_add_u64(&t, PS_VERSION);
	if (t.full)
		return -ENAMETOOLONG;
	ret = session_info(out, uid, &info);
	if (ret != -ENOENT)
		return ret;
	return publish_ambient(root, out);
}

static const char *after(const char *s, const char *word)
{
	size_t len = strlen(word);

	return s != NULL && strncmp(s, word, len) == 0 ? s + len : NULL;
}

static int parse_info(const char *buf, struct session_info *out)
{
	struct session_info info = { 0 };
	uint64_t version;
	const char *p = after(buf, MAGIC_LINE);

	if (p == NULL || !text_take_u64(&p, 10, &version))
		return -EBADMSG;
	if (version != PS_VERSION)
		return -EPROTO;
	info.version = (uint32_t)version;
	p = after(p, "\nsize ");
	if (p == NULL || !text_take_u64(&p, 10, &info.size) || info.size < ARENA_MIN || info.size > ARENA_MAX)
		return -EBADMSG;
	p = after(p, "\ncreated ");
	if (p == NULL || !text_take_u64(&p, 10, &info.created))
		return -EBADMSG;
	p = after(p, "\nboot ");
	if (p == NULL || strcspn(p, "\n") >= sizeof(info.boot))
		return -EBADMSG;
	memcpy(info.boot, p, strcspn(p, "\n"));
	*out = info;
	return 0;
}

int session_info(const char *dir, uid_t uid, struct session_info *out)
{
	char path[SESSION_PATH_MAX + 16], buf[256];
	struct stat st;
	ssize_t n;
	int ret = join(path, sizeof(path), dir, SESSION_FILE);
	int fd;

	if (ret < 0)
		return ret;
	fd = sys_open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return fd;
	ret = (int)sys2(SYS_fstat, fd, &st);
	if (ret == 0 && (!S_ISREG(st.st_mode) || (st.st_uid != uid && uid != 0) || (st.st_mode & 077) != 0))
		ret = -EPERM;
	n = ret == 0 ? sys_read(fd, buf, sizeof(buf) - 1) : 0;
	sys_close(fd);
	if (ret < 0 || n < 0)
		return ret < 0 ? ret : (int)n;
	buf[n] = '\0';
	return parse_info(buf, out);
}

static int path_of_uid(const char *dir, const char *prefix, uid_t uid, char *out, size_t size)
{
	char name[32];
	int ret = name_of_uid(prefix, uid, name, sizeof(name));

	return ret < 0 ? ret : join(out, size, dir, name);
}

int session_arena_path(const char *dir, uid_t uid, char *out, size_t size)
{
	return path_of_uid(dir, SESSION_ARENA_PREFIX, uid, out, size);
}

int session_rules_path(const char *dir, uid_t uid, char *out, size_t size)
{
	return path_of_uid(dir, SESSION_RULES_PREFIX, uid, out, size);
}
