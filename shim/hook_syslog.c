/* SPDX-License-Identifier: MIT */
/*
 * syslog(3) keeps a socket to /dev/log by calls of libc's own: it comes, goes and is made anew, always
 * inside these.  What they did is found by looking.  As their originals, not async-signal-safe.
 */

#include "process.h"
#include "real.h"
#include "track.h"

/* The descriptor that libc logs by, as found; -1: none known. */
static _Atomic int log_fd = -1;

/* In a sandbox nothing can be looked at: it is taken for what it was, unless it has been closed. */
static void settle(bool closed)
{
	int fd = atomic_load(&log_fd);

	if ((closed || !atomic_load(&self.quiet)) && (fd < 0 || track_look(fd, 0) == 0))
		atomic_store(&log_fd, track_find_unknown());
	track_end(&self.closers);
}

void hook_openlog(const char *ident, int option, int facility)
{
	if (!process_enter()) {
		REAL(openlog)(ident, option, facility);
		return;
	}
	track_begin(&self.closers);
	REAL(openlog)(ident, option, facility);
	settle(false);
}

void hook_vsyslog(int priority, const char *format, va_list ap)
{
	if (!process_enter()) {
		REAL(vsyslog)(priority, format, ap);
		return;
	}
	track_begin(&self.closers);
	REAL(vsyslog)(priority, format, ap);
	settle(false);
}

void hook_syslog(int priority, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	hook_vsyslog(priority, format, ap);
	va_end(ap);
}

/* What programs call that were built with _FORTIFY_SOURCE. */
void hook___vsyslog_chk(int priority, int flag, const char *format, va_list ap)
{
	if (!process_enter()) {
		REAL(__vsyslog_chk)(priority, flag, format, ap);
		return;
	}
	track_begin(&self.closers);
	REAL(__vsyslog_chk)(priority, flag, format, ap);
	settle(false);
}

void hook___syslog_chk(int priority, int flag, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	hook___vsyslog_chk(priority, flag, format, ap);
	va_end(ap);
}

void hook_closelog(void)
{
	if (!process_enter()) {
		REAL(closelog)();
		return;
	}
	track_begin(&self.closers);
	REAL(closelog)();
	settle(true);
}
