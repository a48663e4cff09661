/* SPDX-License-Identifier: MIT */
/* dup, close and their kin.  Async-signal-safe where their originals are (not fclose, freopen). */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "common/sys.h"
#include "emit.h"
#include "mask.h"
#include "path.h"
#include "process.h"
#include "real.h"
#include "track.h"

/* The socket of fd, where something was redirected: closing it may be the end of a path of ours. */
static uint64_t masked_at(int fd)
{
	return mask_any() ? track_known(fd) : 0;
}

static uint64_t word_of(int fd)
{
	if (thread.vfork_child != 0)
		return 0;
	return fdtab_lacks(fd) ? FD_MAYBE : fd_word(fdtab_find(fd));
}

/* What a call brought that was passed through: another thread may have joined a session meanwhile. */
static int look_late(int fd, uint32_t flags)
{
	if (fd >= 0 && process_enter())
		track_look(fd, flags);
	return fd;
}

int hook_dup(int old)
{
	uint64_t closers, word;
	int new;

	if (!process_enter())
		return look_late(REAL(dup)(old), 0);
	closers = track_read(&self.closers);
	word = word_of(old);
	track_begin(&self.changes);
	new = REAL(dup)(old);
	if (new >= 0)
		track_dupped(old, word, new, false, closers, 0);
	track_end(&self.changes);
	return new;
}

/* A failed dup2 has not closed its target: dup(2).  No release is recorded beforehand, as the number
 * goes from one file to the other without ever being free. */
static int dup_onto(bool three, int old, int new, int flags)
{
	uint64_t masked = old != new ? masked_at(new) : 0;
	uint64_t closers = track_read(&self.closers), word = word_of(old);
	int ret;

	track_begin(&self.closers);
	ret = three ? REAL(dup3)(old, new, flags) : REAL(dup2)(old, new);
	if (ret >= 0 && old != new)
		track_dupped(old, word, new, (flags & O_CLOEXEC) != 0, closers, 1);
	track_end(&self.closers);
	path_closed(masked);
	return ret;
}

int hook_dup2(int old, int new)
{
	return process_enter() ? dup_onto(false, old, new, 0) : look_late(REAL(dup2)(old, new), 0);
}
ALIAS_BODY(__dup2, dup2)

int hook_dup3(int old, int new, int flags)
{
	return process_enter() ? dup_onto(true, old, new, flags) : look_late(REAL(dup3)(old, new, flags), 0);
}

/* fcntl takes nothing, an int or a pointer: a register's worth either way, handed on as it came. */
static int fcntl_any(int (*call)(int, int, ...), int fd, int cmd, void *arg)
{
	uint64_t closers, word;
	int new;

	/* A rule keeps it close-on-exec. */
	if (cmd == F_SETFD && track_closes_on_exec(fd))
		arg = (void *)((uintptr_t)arg | FD_CLOEXEC);
	if (cmd != F_DUPFD && cmd != F_DUPFD_CLOEXEC)
		return call(fd, cmd, arg);
	if (!process_enter())
		return look_late(call(fd, cmd, arg), 0);
	closers = track_read(&self.closers);
	word = word_of(fd);
	track_begin(&self.changes);
	new = call(fd, cmd, arg);
	if (new >= 0)
		track_dupped(fd, word, new, cmd == F_DUPFD_CLOEXEC, closers, 0);
	track_end(&self.changes);
	return new;
}

int hook_fcntl(int fd, int cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	return fcntl_any(REAL(fcntl), fd, cmd, arg);
}
ALIAS_BODY(__fcntl, fcntl)

int hook_fcntl64(int fd, int cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	return fcntl_any(REAL(fcntl64), fd, cmd, arg);
}

/* Stays a cancellation point; one cancelled in it leaves self.closers raised, see track_end(). */
int hook_close(int fd)
{
	uint64_t word, masked;
	int ret;

	if (!process_enter())
		return REAL(close)(fd);
	masked = masked_at(fd);
	track_begin(&self.closers);
	word = word_of(fd);
	if (FD_STATE(word) != FD_NONE || thread.vfork_child != 0)
		word = track_closing(fd);
	ret = REAL(close)(fd);
	if (FD_STATE(word) != FD_NONE || word_of(fd) != word)
		track_closed(fd, word, ret < 0);
	track_end(&self.closers);
	path_closed(masked);
	return ret;
}
ALIAS_BODY(__close, close)

/* Only what a rule says of close-on-exec is of interest. */
int hook_ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (request == FIONCLEX && track_closes_on_exec(fd))
		request = FIOCLEX;
	return REAL(ioctl)(fd, request, arg);
}

/* proc(5): a directory has two links, and one more for each thread that is listed in it. */
static bool has_other_threads(void)
{
	struct stat st;

	if (thread.vfork_child != 0 || track_single_threaded())
		return false;
	return atomic_load(&self.quiet) || sys4(SYS_newfstatat, AT_FDCWD, "/proc/self/task", &st, 0) < 0 ||
	       st.st_nlink != 3;
}

/* The others keep what this thread closes in a table of its own: descriptors are told apart by process, not
 * by thread. */
static int close_own_range(unsigned first, unsigned last, int flags)
{
	int ret = REAL(close_range)(first, last, flags);

	if (ret == 0)
		emit_sandbox(PS_SANDBOX_SHARED);
	return ret;
}

int hook_close_range(unsigned first, unsigned last, int flags)
{
	struct counted before;
	int ret;

	if ((flags & CLOSE_RANGE_UNSHARE) && process_enter() && has_other_threads())
		return close_own_range(first, last, flags);
	if (!process_enter() || first > last || (flags & CLOSE_RANGE_CLOEXEC))
		return REAL(close_range)(first, last, flags);
	track_begin(&self.closers);
	before = track_closing_range(first, last);
	ret = REAL(close_range)(first, last, flags);
	track_closed_range(first, last, ret < 0, &before);
	track_end(&self.closers);
	path_closed_many();
	return ret;
}

void hook_closefrom(int first)
{
	unsigned from = first < 0 ? 0 : (unsigned)first;
	struct counted before;

	if (!process_enter()) {
		REAL(closefrom)(first);
		return;
	}
	track_begin(&self.closers);
	before = track_closing_range(from, UINT_MAX);
	REAL(closefrom)(first);
	track_closed_range(from, UINT_MAX, false, &before);
	track_end(&self.closers);
	path_closed_many();
}

/* A stream without a descriptor has none, and that is no error of the program's. */
static int number_of(FILE *file)
{
	int saved = errno, fd = fileno_unlocked(file);

	errno = saved;
	return fd;
}

/* libc closes the descriptor by a call of its own that no wrapper sees. */
static int close_stream(int (*call)(FILE *), FILE *file)
{
	uint64_t word, masked;
	int ret, fd;

	if (!process_enter())
		return call(file);
	fd = number_of(file);
	if (fd < 0)
		return call(file);
	masked = masked_at(fd);
	track_begin(&self.closers);
	word = track_closing(fd);
	ret = call(file);
	/* It may fail to flush and has closed the descriptor all the same: look then. */
	track_closed(fd, word, ret != 0);
	track_end(&self.closers);
	path_closed(masked);
	return ret;
}

int hook_fclose(FILE *file)
{
	return close_stream(REAL(fclose), file);
}

/* The program may have put a socket in the pipe's place. */
int hook_pclose(FILE *file)
{
	return close_stream(REAL(pclose), file);
}

typedef FILE *freopen_fn(const char *, const char *, FILE *);

static FILE *freopen_any(freopen_fn *call, const char *path, const char *mode, FILE *file)
{
	struct counted before;
	FILE *ret;
	int fd;

	if (!process_enter())
		return call(path, mode, file);
	fd = number_of(file);
	track_begin(&self.closers);
	before = track_counted();
	ret = call(path, mode, file);
	track_libc_closed(&before, 1);
	if (fd >= 0 && (FD_STATE(word_of(fd)) != FD_NONE || thread.vfork_child != 0))
		track_look(fd, 0);
	track_end(&self.closers);
	return ret;
}

FILE *hook_freopen(const char *path, const char *mode, FILE *file)
{
	return freopen_any(REAL(freopen), path, mode, file);
}

FILE *hook_freopen64(const char *path, const char *mode, FILE *file)
{
	return freopen_any(REAL(freopen64), path, mode, file);
}

/* Brings a copy of another process's descriptor: SCM_RIGHTS without a message. */
int hook_pidfd_getfd(int pidfd, int target, unsigned flags)
{
	int fd;

	if (!process_enter())
		return look_late(REAL(pidfd_getfd)(pidfd, target, flags), PS_F_FETCHED);
	track_begin(&self.changes);
	fd = REAL(pidfd_getfd)(pidfd, target, flags);
	if (fd >= 0)
		track_look(fd, PS_F_FETCHED);
	track_end(&self.changes);
	return fd;
}
