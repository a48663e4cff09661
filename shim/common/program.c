/* SPDX-License-Identifier: MIT */
#include "program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "sys.h"

#define INTERPRETERS_MAX 4

#if defined(__x86_64__)
#define OWN_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define OWN_MACHINE EM_AARCH64
#endif

static const char reasons[PS_SEEN_COUNT][64] = {
	[PS_SEEN] = "",
	[PS_SEEN_STATIC] = "static: no dynamic loader would load the shim",
	[PS_SEEN_SETUID] = "setuid, setgid or capabilities: the loader drops LD_PRELOAD",
	[PS_SEEN_CLASS] = "built for another machine or word size than the shim",
	[PS_SEEN_LIBC] = "another libc than the shim's",
	[PS_SEEN_LIBRARY] = "it could not read the shim's file (chroot or permissions)",
	[PS_SEEN_UNKNOWN] = "its file could not be read",
};

const char *program_reason(enum ps_seen seen)
{
	return (unsigned)seen < PS_SEEN_COUNT ? reasons[seen] : "";
}

/* What is read at once: the program headers and the loader's name are hardly ever behind it.  A program may
 * exec on a stack of a few KiB, so there is one of these, and the name of what comes next is written over it.
 */
#define HEAD_BYTES 896
#define SCRIPT_BYTES 256 /* what execve reads of a script */

struct image_file {
	int fd, error;
	bool own; /* or it was given */
	/* All 0 if they are not to be had. */
	mode_t mode;
	uid_t uid;
	gid_t gid;
	uint64_t dev, ino;
	size_t len;
	char head[HEAD_BYTES + 1];
};

static ssize_t read_at(int fd, void *buf, size_t len, uint64_t at)
{
	return sys4(SYS_pread64, fd, buf, len, at);
}

/* buf may be f->head. */
static ssize_t read_part(const struct image_file *f, void *buf, size_t len, uint64_t at)
{
	if (at > f->len || len > f->len - at)
		return read_at(f->fd, buf, len, at);
	memmove(buf, f->head + at, len);
	return (ssize_t)len;
}

/* path may be in f->head.  Not inlined, as are all of these with something large in their frames: one after
 * the other, not all at once. */
__attribute__((noinline)) static bool open_image(int dirfd, const char *path, int flags, struct image_file *f)
{
	struct stat st;
	ssize_t n;

	f->own = !((flags & AT_EMPTY_PATH) && path[0] == '\0');
	f->fd = !f->own ? dirfd : sys_openat(dirfd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
	f->error = f->fd < 0 ? -f->fd : 0;
	if (f->fd < 0)
		return false;
	memset(&st, 0, sizeof(st));
	sys2(SYS_fstat, f->fd, &st);
	f->mode = st.st_mode;
	f->uid = st.st_uid;
	f->gid = st.st_gid;
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	n = read_at(f->fd, f->head, HEAD_BYTES, 0);
	f->len = n > 0 ? (size_t)n : 0;
	f->head[f->len] = '\0';
	return true;
}

/* alone: nobody else can have closed it and got its number for a file of his own. */
__attribute__((noinline)) static void close_image(const struct image_file *f, bool alone)
{
	const struct sys_file file = { .fd = f->fd, .dev = f->dev, .ino = f->ino };

	if (f->own && alone)
		sys_close(f->fd);
	else if (f->own)
		sys_file_close(&file);
}

/* execve(2), "Interpreter scripts": the path between "#!" and the first blank; all of f->head then. */
static bool script_interpreter(struct image_file *f)
{
	const char *p = f->head + 2;
	size_t len;

	p += strspn(p, " \t");
	len = strcspn(p, " \t\n");
	if (len == 0 || p + len >= f->head + SCRIPT_BYTES)
		return false;
	memmove(f->head, p, len);
	f->head[len] = '\0';
	return true;
}

/* capabilities(7), "Safe-execution mode"; kernel security/commoncap.c, cap_bprm_creds_from_file. */
__attribute__((noinline)) static bool gains_privilege(const struct image_file *f)
{
	uid_t uid, euid, suid;
	gid_t gid, egid, sgid;
	struct statfs fs;
	char none;

	if (sys3(SYS_getresuid, &uid, &euid, &suid) < 0 || sys3(SYS_getresgid, &gid, &egid, &sgid) < 0)
		return false;
	if (euid != uid || egid != gid)
		return true;
	if (f->mode == 0)
		return false;
	if (!((f->mode & S_ISUID) && f->uid != uid) &&
	    !((f->mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && f->gid != gid) &&
	    (uid == 0 || sys4(SYS_fgetxattr, f->fd, "security.capability", &none, 0) < 0))
		return false;
	if (sys2(SYS_fstatfs, f->fd, &fs) == 0 && (fs.f_flags & ST_NOSUID))
		return false;
	return sys5(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1;
}

/* The program header's loader, as a base name in f->head; NULL if there is none. */
__attribute__((noinline)) static const char *loader_name(struct image_file *f, const Elf64_Ehdr *eh)
{
	for (unsigned i = 0; i < eh->e_phnum && i < 64; i++) {
		Elf64_Phdr ph;
		ssize_t n;
		char *base;

		if (read_part(f, &ph, sizeof(ph), eh->e_phoff + (uint64_t)i * eh->e_phentsize) != sizeof(ph))
			return NULL;
		if (ph.p_type != PT_INTERP)
			continue;
		n = read_part(f, f->head, ph.p_filesz < HEAD_BYTES ? ph.p_filesz : HEAD_BYTES, ph.p_offset);
		if (n <= 0)
			return NULL;
		f->head[n] = '\0';
		base = strrchr(f->head, '/');
		return base != NULL ? base + 1 : f->head;
	}
	return NULL;
}

static bool is_glibc_loader(const char *base)
{
	return strncmp(base, "ld-linux", 8) == 0 || strncmp(base, "ld64.so", 7) == 0 ||
	       strncmp(base, "ld.so", 5) == 0;
}

/* itself: by its name it is a loader.  Nothing of f->head is left. */
static enum ps_seen look_elf(struct image_file *f, bool itself)
{
	Elf64_Ehdr eh;
	const char *loader;

	memcpy(&eh, f->head, sizeof(eh));
	if (f->head[EI_CLASS] != ELFCLASS64 || eh.e_machine != OWN_MACHINE)
		return PS_SEEN_CLASS;
	if (gains_privilege(f))
		return PS_SEEN_SETUID;
	loader = loader_name(f, &eh);
	/* The loader itself, called with a program to load, obeys LD_PRELOAD. */
	if (loader == NULL)
		return itself ? PS_SEEN : PS_SEEN_STATIC;
	return is_glibc_loader(loader) ? PS_SEEN : PS_SEEN_LIBC;
}

/* access(2), not open: it leaves out capabilities that a user other than root has only until exec. */
static bool readable(const char *path)
{
	return sys3(SYS_faccessat, AT_FDCWD, path, R_OK) == 0;
}

static bool names_loader(const char *path)
{
	const char *base = strrchr(path, '/');

	return is_glibc_loader(base != NULL ? base + 1 : path);
}

/* *fault: path is no memory of ours. */
__attribute__((noinline)) static enum ps_seen look(int dirfd, const char *path, int flags, bool alone,
						   bool *fault)
{
	enum ps_seen seen = PS_SEEN_UNKNOWN;
	struct image_file f;
	bool itself = false;

	for (int i = 0; i <= INTERPRETERS_MAX; i++) {
		bool script;

		if (!open_image(dirfd, path, flags, &f)) {
			*fault = f.error == EFAULT;
			return PS_SEEN_UNKNOWN;
		}
		if (i == 0)
			itself = names_loader(path);
		script = f.len > 2 && memcmp(f.head, "#!", 2) == 0;
		if (script)
			script = script_interpreter(&f);
		else if (f.len >= sizeof(Elf64_Ehdr) && memcmp(f.head, ELFMAG, SELFMAG) == 0)
			seen = look_elf(&f, itself);
		close_image(&f, alone);
		if (!script)
			return seen;
		dirfd = AT_FDCWD;
		flags = 0;
		path = f.head;
		itself = names_loader(path);
	}
	return PS_SEEN_UNKNOWN;
}

struct program program_look(int dirfd, const char *path, int flags, const char *library, bool alone)
{
	struct program p = { .fault = false };

	p.seen = look(dirfd, path, flags, alone, &p.fault);
	if ((p.seen == PS_SEEN || p.seen == PS_SEEN_STATIC || p.seen == PS_SEEN_UNKNOWN) &&
	    !readable(library))
		p.seen = PS_SEEN_LIBRARY;
	/* A static program's own children may be dynamic ones. */
	p.preload = p.seen == PS_SEEN || p.seen == PS_SEEN_STATIC || p.seen == PS_SEEN_UNKNOWN;
	return p;
}

bool preload_goes_first(const char *entry, size_t len)
{
	static const char names[][16] = { "libasan.", "liblsan.", "libtsan.", "libclang_rt." };
	const char *slash = memrchr(entry, '/', len);
	const char *base = slash != NULL ? slash + 1 : entry;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t n = strlen(names[i]);

		if ((size_t)(entry + len - base) >= n && memcmp(base, names[i], n) == 0)
			return true;
	}
	return false;
}
