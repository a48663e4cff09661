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
#define NAME_BYTES 256

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

/* A copy of what execve reads first, and the file for the rest: program headers and the loader's name are
 * hardly ever behind the first bytes. */
struct image_file {
	int fd, error;
	bool own;	/* or it was given */
	struct stat st; /* all 0 if that is not to be had */
	size_t len;
	char head[1024];
};

static ssize_t read_at(int fd, void *buf, size_t len, uint64_t at)
{
	return sys4(SYS_pread64, fd, buf, len, at);
}

static ssize_t read_part(const struct image_file *f, void *buf, size_t len, uint64_t at)
{
	if (at > f->len || len > f->len - at)
		return read_at(f->fd, buf, len, at);
	memcpy(buf, f->head + at, len);
	return (ssize_t)len;
}

static bool open_image(int dirfd, const char *path, int flags, struct image_file *f)
{
	ssize_t n;

	f->own = !((flags & AT_EMPTY_PATH) && path[0] == '\0');
	f->fd = !f->own ? dirfd : sys_openat(dirfd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
	f->error = f->fd < 0 ? -f->fd : 0;
	if (f->fd < 0)
		return false;
	memset(&f->st, 0, sizeof(f->st));
	sys2(SYS_fstat, f->fd, &f->st);
	n = read_at(f->fd, f->head, sizeof(f->head) - 1, 0);
	f->len = n > 0 ? (size_t)n : 0;
	f->head[f->len] = '\0';
	return true;
}

/* alone: nobody else can have closed it and got its number for a file of his own. */
static void close_image(const struct image_file *f, bool alone)
{
	const struct sys_file file = { .fd = f->fd, .dev = f->st.st_dev, .ino = f->st.st_ino };

	if (f->own && alone)
		sys_close(f->fd);
	else if (f->own)
		sys_file_close(&file);
}

/* execve(2), "Interpreter scripts": the path between "#!" and the first blank. */
static bool script_interpreter(const struct image_file *f, char out[static NAME_BYTES])
{
	const char *p = f->head + 2;
	size_t len;

	p += strspn(p, " \t");
	len = strcspn(p, " \t\n");
	if (len == 0 || len >= NAME_BYTES)
		return false;
	memcpy(out, p, len);
	out[len] = '\0';
	return true;
}

/* capabilities(7), "Safe-execution mode"; kernel security/commoncap.c, cap_bprm_creds_from_file. */
static bool gains_privilege(const struct image_file *f)
{
	uid_t uid, euid, suid;
	gid_t gid, egid, sgid;
	mode_t mode = f->st.st_mode;
	struct statfs fs;
	char none;

	if (sys3(SYS_getresuid, &uid, &euid, &suid) < 0 || sys3(SYS_getresgid, &gid, &egid, &sgid) < 0)
		return false;
	if (euid != uid || egid != gid)
		return true;
	if (mode == 0)
		return false;
	if (!((mode & S_ISUID) && f->st.st_uid != uid) &&
	    !((mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && f->st.st_gid != gid) &&
	    (uid == 0 || sys4(SYS_fgetxattr, f->fd, "security.capability", &none, 0) < 0))
		return false;
	if (sys2(SYS_fstatfs, f->fd, &fs) == 0 && (fs.f_flags & ST_NOSUID))
		return false;
	return sys5(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1;
}

/* The program header's loader, as a base name; false if there is none. */
static bool loader_name(const struct image_file *f, const Elf64_Ehdr *eh, char out[static NAME_BYTES])
{
	for (unsigned i = 0; i < eh->e_phnum && i < 64; i++) {
		Elf64_Phdr ph;
		ssize_t n;
		char *base;

		if (read_part(f, &ph, sizeof(ph), eh->e_phoff + (uint64_t)i * eh->e_phentsize) != sizeof(ph))
			return false;
		if (ph.p_type != PT_INTERP)
			continue;
		n = read_part(f, out, ph.p_filesz < NAME_BYTES ? ph.p_filesz : NAME_BYTES - 1, ph.p_offset);
		if (n <= 0)
			return false;
		out[n < NAME_BYTES ? n : NAME_BYTES - 1] = '\0';
		base = strrchr(out, '/');
		if (base != NULL)
			memmove(out, base + 1, strlen(base + 1) + 1);
		return true;
	}
	return false;
}

static bool is_glibc_loader(const char *base)
{
	return strncmp(base, "ld-linux", 8) == 0 || strncmp(base, "ld64.so", 7) == 0 ||
	       strncmp(base, "ld.so", 5) == 0;
}

static enum ps_seen look_elf(const struct image_file *f, const char *path)
{
	Elf64_Ehdr eh;
	char loader[NAME_BYTES];
	const char *base = strrchr(path, '/');

	memcpy(&eh, f->head, sizeof(eh));
	if (f->head[EI_CLASS] != ELFCLASS64 || eh.e_machine != OWN_MACHINE)
		return PS_SEEN_CLASS;
	if (gains_privilege(f))
		return PS_SEEN_SETUID;
	if (!loader_name(f, &eh, loader)) {
		/* The loader itself, called with a program to load, obeys LD_PRELOAD. */
		return is_glibc_loader(base != NULL ? base + 1 : path) ? PS_SEEN : PS_SEEN_STATIC;
	}
	return is_glibc_loader(loader) ? PS_SEEN : PS_SEEN_LIBC;
}

/* access(2), not open: it leaves out capabilities that a user other than root has only until exec. */
static bool readable(const char *path)
{
	return sys3(SYS_faccessat, AT_FDCWD, path, R_OK) == 0;
}

/* *fault: path is no memory of ours. */
static enum ps_seen look(int dirfd, const char *path, int flags, bool alone, bool *fault)
{
	char name[NAME_BYTES];
	enum ps_seen seen = PS_SEEN_UNKNOWN;

	for (int i = 0; i <= INTERPRETERS_MAX; i++) {
		struct image_file f;
		bool script;

		if (!open_image(dirfd, path, flags, &f)) {
			*fault = f.error == EFAULT;
			return PS_SEEN_UNKNOWN;
		}
		script = f.len > 2 && memcmp(f.head, "#!", 2) == 0;
		if (script)
			script = script_interpreter(&f, name);
		else if (f.len >= sizeof(Elf64_Ehdr) && memcmp(f.head, ELFMAG, SELFMAG) == 0)
			seen = look_elf(&f, path);
		close_image(&f, alone);
		if (!script)
			return seen;
		dirfd = AT_FDCWD;
		flags = 0;
		path = name;
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
