/* SPDX-License-Identifier: MIT */
#include "process.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/sys.h"
#include "common/text.h"
#include "emit.h"
#include "environ.h"
#include "mask.h"
#include "objects.h"
#include "our_rules.h"
#include "path.h"
#include "portshim/env.h"
#include "real.h"
#include "see.h"
#include "track.h"

#define ATTACH_WAITS 1000
#define ID_MASK (((uint64_t)1 << 53) - 1) /* an id is exact as a JSON number */

HOT struct self self;
_Thread_local struct thread thread;

/* Two numbers to one id; the same two to the same.  Not 0 and not VFORK_UNRECORDED. */
static uint64_t mix(uint64_t a, uint64_t b)
{
	uint64_t z = a + 0x9e3779b97f4a7c15u * (b + 1);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	z = (z ^ z >> 31) & ID_MASK;
	return z > VFORK_UNRECORDED ? z : z + 2;
}

/* The arena of the present uid; made where this process may and nobody has yet. */
static int open_log(uint64_t id, uid_t uid)
{
	char path[LOG_PATH_MAX];
	struct session_info info;
	int ret = session_arena_path(self.session, uid, path, sizeof(path));

	if (ret == 0)
		ret = log_open(&self.log, path, uid, id);
	if (ret == -ENOENT && session_info(self.session, uid, &info) == 0 &&
	    session_arena_make(self.session, uid, info.size) == 0)
		ret = log_open(&self.log, path, uid, id);
	return ret;
}

/* Before this an event found nobody to record it; from here on the table is right. */
static void begin(const struct image *image, uint64_t parent, uint32_t flags, bool session_start)
{
	unshared_watch();
	atomic_store_explicit(&self.state, ATTACHED, memory_order_release);
	emit_start(image, parent, flags, session_start);
	track_stock(PS_STOCK_START, false);
	our_rules_load();
}

static bool is_gone(uint32_t pid)
{
	char path[32], buf[512];
	struct text t = TEXT_IN(path);
	const char *p;
	ssize_t n;
	int fd;

	text_add(&t, "/proc/");
	text_add_u64(&t, pid);
	text_add(&t, "/stat");
	fd = sys_open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return true;
	n = sys_read(fd, buf, sizeof(buf) - 1);
	sys_close(fd);
	buf[n > 0 ? n : 0] = '\0';
	p = strrchr(buf, ')');
	return p == NULL || p[1] == '\0' || p[2] == 'Z' || p[2] == 'X';
}

/* Who calls posix_spawn may end before the child's image starts: then the child has another parent. */
static bool spawned_by(uint32_t parent)
{
	return parent == (uint32_t)sys0(SYS_getppid) || is_gone(parent);
}

/* What the spawned image was given is its own: whoever inherits the string from it, by a road that no
 * hook sees, must not take it for its own.  The third field, the parent, becomes 0. */
static void use_up(const char *value)
{
	char *p = (char *)(uintptr_t)value;

	p = strchr(p, '.');
	p = strchr(p + 1, '.');
	while (*++p != '.')
		*p = '0';
}

/* Which process this image is, by what the exec wrapper left in the environment. */
static uint64_t identify(const char *value, struct image *image, uint64_t *parent, uint32_t *flags)
{
	uint32_t pid = (uint32_t)sys_getpid();
	uint64_t start = log_own_start(image->command), id;
	struct environ_identity left;
	bool sandboxed;

	*parent = 0;
	*flags = 0;
	atomic_store(&unshared.start, start);
	atomic_store(&unshared.pid, pid);
	log_clock_by_call(true);
	if (value == NULL || !environ_identity(value, &left, &sandboxed))
		return mix(mix(log_stamp(), pid), start);
	if (left.pid == pid && (left.start == 0 || left.start == start)) {
		*flags = PS_F_EXECED;
		/* Another thread may have forked once more before the exec ended it: a new block. */
		atomic_store(&unshared.forks, ((left.forks >> 32) + 1) << 32);
		return left.process;
	}
	if (left.pid == 0 && left.parent != 0 && spawned_by(left.parent)) {
		use_up(value);
		*flags = PS_F_EXECED | PS_F_SPAWN;
		return left.process;
	}
	/* Programs that no hook saw stand between: a descendant of the process that was left here. */
	id = mix(mix(left.process, pid), start);
	*parent = left.process;
	*flags = PS_F_UNSEEN;
	return id;
}

/* A filter may be in force that kills for a system call; /proc tells, by calls that ld.so made too. */
static bool is_confined(const char *process)
{
	struct environ_identity left;
	bool sandboxed;
	char buf[4096];
	const char *p;
	ssize_t n;
	int fd;

	if (process == NULL || !environ_identity(process, &left, &sandboxed) || !sandboxed)
		return false;
	fd = sys_open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return true;
	n = sys_read(fd, buf, sizeof(buf) - 1);
	sys_close(fd);
	buf[n > 0 ? n : 0] = '\0';
	p = strstr(buf, "\nSeccomp:\t");
	return p == NULL || p[10] != '0';
}

static void attach_session(const char *session, const char *process, char *const *argv)
{
	struct text t = TEXT_IN(self.session);
	struct image image = { .argv = argv };
	uint64_t parent;
	uint32_t flags;
	uint64_t id;

	text_add(&t, session);
	if (t.full || session[0] != '/' || is_confined(process)) {
		atomic_store(&self.state, REFUSED);
		return;
	}
	id = identify(process, &image, &parent, &flags);
	self.log.alone = track_single_threaded();
	if (open_log(id, (uid_t)getauxval(AT_EUID)) < 0) {
		atomic_store(&self.state, REFUSED);
		return;
	}
	self.log.alone = false;
	begin(&image, parent, flags, process == NULL);
	mask_read(environ_get(environ, PS_ENV_MASKS));
}

static bool attach_ambient_now(void)
{
	char root[SESSION_PATH_MAX];
	uid_t uid = (uid_t)sys0(SYS_geteuid);
	struct image image = { .argv = NULL };
	uint64_t parent;
	uint32_t flags;

	if (session_root_make(uid, environ_get(environ, PS_ENV_ROOT), environ_get(environ, "XDG_RUNTIME_DIR"),
			      root) < 0 ||
	    session_ambient(root, self.session) < 0 ||
	    open_log(identify(NULL, &image, &parent, &flags), uid) < 0)
		return false;
	begin(&image, 0, 0, true);
	return true;
}

static void start(char *const *argv);

/*
 * One thread attaches, the others wait for it, a little: what they do meanwhile would be missed.  A
 * signal handler on the attaching thread must not wait for itself.
 */
bool process_attach_ambient(void)
{
	enum attachment detached = DETACHED;

	if (thread.attaching || thread.vfork_child != 0)
		return false;
	if (atomic_load(&self.state) == UNSTARTED && environ != NULL)
		start(NULL);
	if (self.library == NULL)
		return atomic_load(&self.state) == ATTACHED;
	if (atomic_compare_exchange_strong(&self.state, &detached, ATTACHING)) {
		thread.attaching = true;
		if (!attach_ambient_now())
			atomic_store(&self.state, REFUSED);
		thread.attaching = false;
	} else {
		for (int i = 0; i < ATTACH_WAITS && atomic_load(&self.state) == ATTACHING; i++)
			sys0(SYS_sched_yield);
	}
	return atomic_load(&self.state) == ATTACHED;
}

struct fork_ticket process_before_fork(uint32_t flags)
{
	struct fork_ticket ticket = { .ordinal = atomic_fetch_add_explicit(&unshared.forks, 1,
									   memory_order_relaxed) };

	ticket.parent = process_id();
	ticket.child = mix(ticket.parent, ticket.ordinal);
	real_for_children();
	ticket.before = track_counted();
	emit_fork(ticket.child, ticket.ordinal, flags);
	return ticket;
}

void process_after_fork(const struct fork_ticket *ticket, pid_t pid, int error)
{
	emit_forked(ticket->child, pid, error);
}

static void become(uint64_t id)
{
	/* Zeros already, unless the kernel cannot wipe. */
	atomic_store_explicit(&unshared.taking_stock, false, memory_order_relaxed);
	atomic_store_explicit(&unshared.forks, 0, memory_order_relaxed);
	atomic_store_explicit(&unshared.stamps, 0, memory_order_relaxed);
	atomic_store_explicit(&unshared.pid, 0, memory_order_relaxed);
	/* In this order: from the epoch on a signal's handler may record. */
	atomic_store_explicit(&unshared.process, id, memory_order_relaxed);
	atomic_signal_fence(memory_order_release);
	atomic_store_explicit(&unshared.epoch, 1, memory_order_relaxed);
	thread.vfork_child = 0;
	thread.born = id;
	/* Forked while another thread was about to say so. */
	if (atomic_load_explicit(&self.state, memory_order_relaxed) == ATTACHING)
		atomic_store_explicit(&self.state, ATTACHED, memory_order_relaxed);
	log_forked(&self.log, id);
}

/* Only the forking thread is here: what the others were in the middle of will never end.  It may itself be
 * in a handler, in the middle of something that will. */
static uint64_t take_over(_Atomic uint64_t *counter)
{
	uint64_t n = track_read(counter);
	uint32_t own = *track_own(counter);

	/* A write is a page copied. */
	if (IN_FLIGHT(n) != own)
		atomic_store(counter, own);
	return n;
}

static bool disturbed(const struct fork_ticket *ticket, bool *exact)
{
	uint64_t closers = take_over(&self.closers), changes = take_over(&self.changes);

	/* Nothing was being closed or replaced: what the table has is so. */
	*exact = IN_FLIGHT(closers) == 0;
	return IN_FLIGHT(closers) != 0 || IN_FLIGHT(changes) != 0 || closers != ticket->before.closers ||
	       changes != ticket->before.changes;
}

void process_in_child(uint32_t flags)
{
	struct fork_ticket ticket = thread.ticket;
	bool contended, exact;

	if (ticket.child == 0)
		return;
	contended = disturbed(&ticket, &exact) || thread.vfork_child != 0;
	become(ticket.child);
	/* The handler of a signal that came before the epoch has done all this, and may have found nothing
	 * in flight any more. */
	atomic_signal_fence(memory_order_acquire);
	if (thread.ticket.child != 0) {
		thread.ticket.child = 0;
		emit_born(ticket.parent, ticket.ordinal, flags);
	}
	if (contended)
		track_stock(PS_STOCK_CONTENDED, exact);
}

void process_before_unseen_fork(void)
{
	uint64_t id = atomic_load_explicit(&unshared.process, memory_order_relaxed);

	/* It has no ordinal, but whoever asks whether there was a fork must hear of it. */
	atomic_fetch_add_explicit(&unshared.forks, 1, memory_order_relaxed);
	if (atomic_load_explicit(&self.log.claimant, memory_order_relaxed) != id)
		atomic_store_explicit(&self.log.claimant, id, memory_order_relaxed);
}

/* Its parent is the process that began with this thread, or else who claimed the chunk: of a process that
 * still writes to its parent's, a fork by a machine instruction in another thread has the wrong parent. */
static uint64_t unseen_parent(void)
{
	if (thread.vfork_child != 0)
		return thread.vfork_child;
	return thread.born != 0 ? thread.born
				: atomic_load_explicit(&self.log.claimant, memory_order_relaxed);
}

static void unseen_fork(void)
{
	uint64_t parent = unseen_parent(), pid = (uint64_t)sys_getpid();
	struct fork_ticket none = { 0 };
	bool exact;

	/* The program's own handlers run before fork(3) comes back to its wrapper, and before our own. */
	if ((thread.forking || thread.calling) && thread.ticket.child != 0) {
		process_in_child(thread.forking ? 0 : PS_F_ATFORK);
		return;
	}
	disturbed(&none, &exact);
	become(mix(mix(parent, pid), log_stamp()));
	emit_born(parent, 0, PS_F_UNSEEN);
	track_stock(PS_STOCK_UNSEEN_FORK, exact);
}

bool process_enter_slowly(void)
{
	if (atomic_load_explicit(&self.state, memory_order_acquire) != ATTACHED)
		return false;
	/* Another thread may have joined a session just now: the epoch is set first. */
	if (atomic_load_explicit(&unshared.epoch, memory_order_acquire) == 0)
		unseen_fork();
	return true;
}

/* Forks inside libc, as in daemon(3), come by no wrapper: these handlers see them. */
static void atfork_prepare(void)
{
	if (thread.forking)
		return;
	thread.ticket.child = 0;
	if (process_enter())
		thread.ticket = process_before_fork(PS_F_ATFORK);
}

static void atfork_child(void)
{
	enum attachment attaching = ATTACHING;

	if (thread.forking)
		return;
	process_in_child(PS_F_ATFORK);
	/* Whichever thread was attaching is not here to finish. */
	if (!thread.attaching)
		atomic_compare_exchange_strong(&self.state, &attaching, DETACHED);
}

void process_before_uid(uid_t euid)
{
	char path[LOG_PATH_MAX];
	struct session_info info;

	if (session_info(self.session, 0, &info) < 0 ||
	    session_arena_make(self.session, euid, info.size) < 0 ||
	    session_arena_path(self.session, euid, path, sizeof(path)) < 0)
		return;
	log_move(&self.log, path, euid);
	our_rules_give(euid);
}

/* Whether there is a way back to a uid. */
static bool may_be_again(uid_t uid)
{
	uid_t ids[3];

	if (sys3(SYS_getresuid, &ids[0], &ids[1], &ids[2]) < 0)
		return false;
	for (int i = 0; i < 3; i++) {
		if (ids[i] == uid || ids[i] == 0)
			return true;
	}
	return false;
}

void process_after_uid(uid_t before, bool changed)
{
	char path[LOG_PATH_MAX];

	if (changed) {
		log_return(&self.log, (uint32_t)sys0(SYS_geteuid));
		if (!may_be_again(before)) {
			emit_forget_counters();
			log_leave(&self.log);
		}
	}
	if (changed)
		emit_credentials();
	else if (session_arena_path(self.session, before, path, sizeof(path)) == 0)
		log_move(&self.log, path, before);
}

void process_before_confinement(void)
{
	/* What comes after is stamped before it is known whether system calls are punished. */
	log_clock_by_call(false);
	log_reserve(&self.log);
}

void process_after_confinement(uint32_t what, bool quiet)
{
	emit_sandbox(what);
	if (quiet) {
		atomic_store(&self.quiet, true);
		atomic_store(&self.log.frozen, true);
	}
}

enum attachment process_stop(void)
{
	enum attachment was = atomic_exchange(&self.state, REFUSED);

	atomic_store(&unshared.epoch, 0);
	return was;
}

void process_resume(enum attachment was)
{
	atomic_store(&unshared.epoch, was == ATTACHED);
	atomic_store(&self.state, was);
}

static void say_exit(int status, void *unused)
{
	if (!process_enter())
		return;
	path_exit();
	emit_exit(status & 0xff);
}

extern const char *gnu_get_libc_version(void) __attribute__((weak));

/* glibc's alone: there is no other way to hear the status of exit(3) and of a return from main. */
extern int on_exit(void (*handler)(int, void *), void *arg) __attribute__((weak));

/* glibc links pthread_atfork(3) statically, as a call of this; another libc has only the former, and one
 * symbol that is not found would keep its program from starting. */
extern int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *library)
	__attribute__((weak));
extern __typeof__(pthread_atfork) pthread_atfork __attribute__((weak));
extern void *__dso_handle __attribute__((visibility("hidden")));
void *__dso_handle = &__dso_handle; /* the library is linked without start files, which write at exit */

static void hear_of_forks(void)
{
	if (__register_atfork != NULL)
		__register_atfork(atfork_prepare, NULL, atfork_child, __dso_handle);
	else if (pthread_atfork != NULL)
		pthread_atfork(atfork_prepare, NULL, atfork_child);
}

/* dladdr(3) would go through all our symbols for it. */
static const char *own_file(void)
{
	const struct link_map *map = objects_own();
	Dl_info info;

	if (map != NULL)
		return map->l_name;
	return dladdr(&self, &info) != 0 ? info.dli_fname : NULL;
}

/* Where our own file is, and how LD_PRELOAD names it. */
static void find_ourselves(void)
{
	struct text preload = TEXT_IN(self.preload);
	const char *entry, *file = own_file();
	size_t len;

	if (file == NULL || file[0] != '/')
		return;
	entry = environ_own_entry(environ_get(environ, "LD_PRELOAD"), &len);
	text_add_bytes(&preload, entry != NULL ? entry : file, entry != NULL ? len : strlen(file));
	if (!preload.full && strlen(file) < LOG_PATH_MAX)
		self.library = file;
}

/* argv NULL: /proc has it. */
static void start(char *const *argv)
{
	enum attachment unstarted = UNSTARTED;
	const char *session;

	if (!atomic_compare_exchange_strong(&self.state, &unstarted, ATTACHING))
		return;
	thread.attaching = true;
	real_start();
	session = environ_get(environ, PS_ENV_SESSION);
	if (getauxval(AT_SECURE) != 0) {
		/* ld.so(8): with privileges to gain, the environment is somebody else's. */
		atomic_store(&self.state, REFUSED);
	} else {
		find_ourselves();
		see_remember_stack(environ);
		our_rules_remember(environ_get(environ, PS_ENV_RULES));
		hear_of_forks();
		if (on_exit != NULL)
			on_exit(say_exit, NULL);
		if (session != NULL)
			attach_session(session, environ_get(environ, PS_ENV_PROCESS), argv);
		else
			atomic_store(&self.state, DETACHED);
	}
	thread.attaching = false;
}

/* glibc calls constructors as it calls main(). */
__attribute__((constructor)) static void process_start(int argc, char *argv[], char *envp[])
{
	start(gnu_get_libc_version != NULL ? argv : NULL);
}
