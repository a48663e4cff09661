/* SPDX-License-Identifier: MIT */
/* Changes of identity and confinement: what must be done while it still may be. */

#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/syscall.h>

#include "common/sys.h"
#include "emit.h"
#include "process.h"
#include "real.h"
#include "track.h"

#define UNCHANGED ((uid_t)-1)

/* What stands around a call that may change the effective uid to `to`. */
struct uid_change {
	bool recorded, moved;
	uid_t before;
};

static struct uid_change before_uid(uid_t to)
{
	struct uid_change c = { .recorded = thread.vfork_child == 0 && process_enter() };

	if (!c.recorded)
		return c;
	c.before = (uid_t)sys0(SYS_geteuid);
	/* Only who may become another uid can make its arena. */
	c.moved = to != UNCHANGED && to != c.before && c.before == 0;
	if (c.moved)
		process_before_uid(to);
	return c;
}

static int after_uid(const struct uid_change *c, int ret)
{
	if (c->recorded && (c->moved || ret == 0))
		process_after_uid(c->before, ret == 0);
	return ret;
}

int hook_setuid(uid_t uid)
{
	struct uid_change c = before_uid(uid);

	return after_uid(&c, REAL(setuid)(uid));
}

int hook_seteuid(uid_t euid)
{
	struct uid_change c = before_uid(euid);

	return after_uid(&c, REAL(seteuid)(euid));
}

int hook_setreuid(uid_t ruid, uid_t euid)
{
	struct uid_change c = before_uid(euid);

	return after_uid(&c, REAL(setreuid)(ruid, euid));
}

int hook_setresuid(uid_t ruid, uid_t euid, uid_t suid)
{
	struct uid_change c = before_uid(euid);

	return after_uid(&c, REAL(setresuid)(ruid, euid, suid));
}

/* The log is a matter of the uid alone: of groups it is enough to say that they changed. */
static int after_gid(int ret)
{
	if (ret == 0 && process_enter())
		emit_credentials();
	return ret;
}

int hook_setgid(gid_t gid)
{
	return after_gid(REAL(setgid)(gid));
}

int hook_setegid(gid_t egid)
{
	return after_gid(REAL(setegid)(egid));
}

int hook_setregid(gid_t rgid, gid_t egid)
{
	return after_gid(REAL(setregid)(rgid, egid));
}

int hook_setresgid(gid_t rgid, gid_t egid, gid_t sgid)
{
	return after_gid(REAL(setresgid)(rgid, egid, sgid));
}

int hook_initgroups(const char *user, gid_t group)
{
	return after_gid(REAL(initgroups)(user, group));
}

static bool before_confinement(void)
{
	bool recorded = thread.vfork_child == 0 && process_enter();

	if (recorded)
		process_before_confinement();
	return recorded;
}

int hook_chroot(const char *path)
{
	bool recorded = before_confinement();
	int ret = REAL(chroot)(path);

	if (recorded && ret == 0)
		process_after_confinement(PS_SANDBOX_CHROOT, false);
	return ret;
}

/* Strict seccomp and PR_SET_TSC take away even the reading of the clock, which is a signal then. */
static int stop_the_clock(bool recorded, unsigned what, int option, unsigned long a, unsigned long b,
			  unsigned long c, unsigned long d)
{
	enum attachment was;
	int ret;

	if (recorded)
		emit_sandbox(what);
	was = process_stop();
	ret = REAL(prctl)(option, a, b, c, d);
	if (ret != 0)
		process_resume(was);
	return ret;
}

/*
 * A seccomp filter may kill for a call that the program itself never makes.  Without privileges it
 * takes no_new_privs first, so that is where our last system call is made.  A bare process that has
 * no session by then will have none.
 */
static int confine(bool recorded, unsigned what, int option, unsigned long a, unsigned long b,
		   unsigned long c, unsigned long d)
{
	int ret = REAL(prctl)(option, a, b, c, d);

	if (ret != 0)
		return ret;
	if (recorded)
		process_after_confinement(what, true);
	else if (thread.vfork_child == 0)
		process_stop();
	return ret;
}

int hook_prctl(int option, ...)
{
	unsigned long a, b, c, d;
	va_list ap;

	va_start(ap, option);
	a = va_arg(ap, unsigned long);
	b = va_arg(ap, unsigned long);
	c = va_arg(ap, unsigned long);
	d = va_arg(ap, unsigned long);
	va_end(ap);
	if (option == PR_SET_NO_NEW_PRIVS)
		return confine(before_confinement(), PS_SANDBOX_NO_NEW_PRIVS, option, a, b, c, d);
	if ((option == PR_SET_SECCOMP && a == SECCOMP_MODE_STRICT) ||
	    (option == PR_SET_TSC && a == PR_TSC_SIGSEGV))
		return stop_the_clock(before_confinement(), PS_SANDBOX_SECCOMP, option, a, b, c, d);
	if (option == PR_SET_SECCOMP)
		return confine(before_confinement(), PS_SANDBOX_SECCOMP, option, a, b, c, d);
	return REAL(prctl)(option, a, b, c, d);
}

int hook_unshare(int flags)
{
	bool recorded = before_confinement();
	int ret = REAL(unshare)(flags);

	/* Descriptors are told apart by process, not by thread. */
	if (recorded && ret == 0 && (flags & CLONE_FILES) && !track_single_threaded())
		process_after_confinement(PS_SANDBOX_SHARED, false);
	if (recorded && ret == 0 && (flags & ~CLONE_FILES))
		process_after_confinement(PS_SANDBOX_NAMESPACE, false);
	return ret;
}

int hook_setns(int fd, int type)
{
	bool recorded = before_confinement();
	int ret = REAL(setns)(fd, type);

	if (recorded && ret == 0)
		process_after_confinement(PS_SANDBOX_NAMESPACE, false);
	return ret;
}
