/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_SYS_H
#define PORTSHIM_SYS_H

/*
 * System calls without libc: they return -errno, leave errno alone, are no cancellation points and
 * cannot be caught by a wrapper, our own or another library's.  Async-signal-safe, all of them.
 * Only shim/common and the shim use this; what the program itself asked for goes by real.h instead.
 */

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>

static inline long sys_call6(long nr, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
	long ret;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
#else
#error "portshim: no system call sequence for this machine: add one here and in vfork.S"
#endif
}

#define SYS_ARG(x) ((long)(x))
#define sys0(nr) sys_call6(nr, 0, 0, 0, 0, 0, 0)
#define sys1(nr, a) sys_call6(nr, SYS_ARG(a), 0, 0, 0, 0, 0)
#define sys2(nr, a, b) sys_call6(nr, SYS_ARG(a), SYS_ARG(b), 0, 0, 0, 0)
#define sys3(nr, a, b, c) sys_call6(nr, SYS_ARG(a), SYS_ARG(b), SYS_ARG(c), 0, 0, 0)
#define sys4(nr, a, b, c, d) sys_call6(nr, SYS_ARG(a), SYS_ARG(b), SYS_ARG(c), SYS_ARG(d), 0, 0)
#define sys5(nr, a, b, c, d, e) sys_call6(nr, SYS_ARG(a), SYS_ARG(b), SYS_ARG(c), SYS_ARG(d), SYS_ARG(e), 0)
#define sys6(nr, a, b, c, d, e, f) \
	sys_call6(nr, SYS_ARG(a), SYS_ARG(b), SYS_ARG(c), SYS_ARG(d), SYS_ARG(e), SYS_ARG(f))

static inline int sys_openat(int dir, const char *path, int flags, mode_t mode)
{
	return (int)sys4(SYS_openat, dir, path, flags, mode);
}

static inline int sys_open(const char *path, int flags)
{
	return sys_openat(AT_FDCWD, path, flags, 0);
}

static inline int sys_close(int fd)
{
	return (int)sys1(SYS_close, fd);
}

static inline ssize_t sys_read(int fd, void *buf, size_t len)
{
	return sys3(SYS_read, fd, buf, len);
}

/*
 * Numbers of our own are the program's to close and to use again, by any other thread at any time: the
 * file is remembered, and what is no longer it is left alone.
 */
struct sys_file {
	int fd;
	unsigned long long dev, ino;
};

static inline struct sys_file sys_file_open(int dir, const char *path, int flags)
{
	struct sys_file f = { .fd = sys_openat(dir, path, flags | O_CLOEXEC, 0) };
	struct stat st = { 0 }; /* for analysers, which do not see the kernel write */

	if (f.fd >= 0 && sys2(SYS_fstat, f.fd, &st) == 0) {
		f.dev = st.st_dev;
		f.ino = st.st_ino;
	}
	return f;
}

static inline void sys_file_close(const struct sys_file *f)
{
	struct stat st;

	if (sys2(SYS_fstat, f->fd, &st) == 0 && st.st_dev == f->dev && st.st_ino == f->ino)
		sys_close(f->fd);
}

static inline int sys_getpid(void)
{
	return (int)sys0(SYS_getpid);
}

#endif
