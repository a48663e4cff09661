/* SPDX-License-Identifier: MIT */
/*
 * exec, posix_spawn, and the calls that start a shell.  exec is called in forked children of threaded
 * programs and in vfork children on their parent's memory: no malloc, no static storage, all on the
 * stack.
 *
 * And on small ones, as the kernel needs none: a handler's alternate stack, a thread's of the least size,
 * one that clone() was given, with the program's own memory below it.  So what is done before the call is
 * not inlined into the wrappers, and is gone again when the new environment is put into their frames.
 */

#include <alloca.h>
#include <errno.h>
#include <limits.h>
#include <paths.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/program.h"
#include "common/sys.h"
#include "common/text.h"
#include "emit.h"
#include "environ.h"
#include "process.h"
#include "real.h"
#include "see.h"
#include "track.h"

#define NOT_INLINE __attribute__((noinline))

/* What the exec of one image needs; in the caller's frame. */
struct exec_call {
	bool recorded, preload;
	char *const *envp;
	struct environ_plan plan;
	struct environ_identity id;
};

/* The descriptors that go with an image that will not report. */
static void tell_closing(uint64_t process)
{
	for (unsigned fd = 0; fd < fdtab_end(); fd++) {
		struct fd_entry *e = fdtab_find((int)fd);
		long flags;

		if (FD_STATE(fd_word(e)) == FD_NONE)
			continue;
		flags = sys3(SYS_fcntl, fd, F_GETFD, 0);
		if (flags >= 0 && (flags & FD_CLOEXEC))
			emit_exec_closes(process, (int)fd, track_known((int)fd));
	}
}

/* A vfork child has its parent's memory. */
static uint32_t own_pid(void)
{
	uint32_t pid =
		thread.vfork_child == 0 ? atomic_load_explicit(&unshared.pid, memory_order_relaxed) : 0;

	if (pid != 0 || atomic_load_explicit(&self.quiet, memory_order_relaxed))
		return pid;
	return (uint32_t)sys_getpid();
}

/* A vfork child has descriptors of its own. */
static struct program look(int dirfd, const char *path, int flags)
{
	return program_look(dirfd, path, flags, self.library,
			    thread.vfork_child != 0 || track_single_threaded());
}

/* process: whose image it will be; our own, or a posix_spawn child. */
static void announce(uint64_t process, const char *path, const struct program *program)
{
	emit_exec(process, path, program->seen);
	if (program->seen != PS_SEEN && program->seen != PS_SEEN_UNKNOWN)
		tell_closing(process);
}

/* Pointers for a new environment; 0 where the old one is left as it is, as it cannot be read or is
 * too large for a frame: exec will say what it thinks of it. */
static size_t pointers_for(char *const envp[])
{
	size_t n;

	/* What libc itself goes through can be read. */
	if (self.library == NULL || (envp != NULL && envp != environ && !see_readable((uintptr_t)envp)))
		return 0;
	n = environ_count(envp);
	return n <= ENVIRON_MAX ? n + ENVIRON_ADDED : 0;
}

/* id NULL: it is not recorded. */
static void plan_for(struct exec_call *x, size_t pointers, const struct environ_identity *id)
{
	if (id != NULL)
		x->id = *id;
	x->plan = environ_plan(x->envp, pointers, x->preload, id);
}

static NOT_INLINE void prepare(struct exec_call *x, size_t pointers, int dirfd, const char *path, int flags,
			       char *const envp[])
{
	struct program program = { .seen = PS_SEEN, .preload = true };
	struct environ_identity id;

	*x = (struct exec_call){ .envp = envp };
	if (pointers == 0)
		return;
	x->recorded = process_enter();
	/* A bare process that has not joined is looked at too: its children may. */
	if (x->recorded ? !see_nothing() : thread.vfork_child == 0 || atomic_load(&self.state) == DETACHED)
		program = look(dirfd, path, flags);
	else if (!see_string(path))
		program.fault = true;
	x->preload = program.preload;
	if (program.fault || !x->recorded) {
		x->recorded = false;
		if (!program.fault)
			plan_for(x, pointers, NULL);
		return;
	}
	if (!see_nothing())
		announce(process_id(), path, &program);
	else
		emit_exec(process_id(), path, PS_SEEN_UNKNOWN);
	/* Ordinals go on over exec, or two children would have one id. */
	id = (struct environ_identity){ .process = process_id(), .pid = own_pid() };
	id.forks = atomic_load_explicit(&unshared.forks, memory_order_relaxed);
	if (thread.vfork_child == 0)
		id.start = atomic_load_explicit(&unshared.start, memory_order_relaxed);
	plan_for(x, pointers, &id);
}

static size_t frame_bytes(const struct environ_plan *plan)
{
	return plan->pointers * sizeof(char *) + environ_strings(plan);
}

static void complete(struct exec_call *x, char **frame)
{
	if (x->plan.pointers > 0)
		x->envp = environ_complete(x->envp, &x->plan, x->preload, x->recorded ? &x->id : NULL, frame,
					   (char *)(frame + x->plan.pointers));
}

/* Into the wrapper's own frame: it must outlive everything up to the exec. */
#define COMPLETE(x) complete(x, alloca(frame_bytes(&(x)->plan)))

static int came_back(const struct exec_call *x, int ret)
{
	if (x->recorded)
		emit_exec_failed(errno);
	return ret;
}

int hook_execve(const char *path, char *const argv[], char *const envp[])
{
	struct exec_call x;

	prepare(&x, pointers_for(envp), AT_FDCWD, path, 0, envp);
	COMPLETE(&x);
	return came_back(&x, REAL(execve)(path, argv, x.envp));
}

int hook_execv(const char *path, char *const argv[])
{
	return hook_execve(path, argv, environ);
}

/* Unlike the others it refuses to go without an environment. */
int hook_fexecve(int fd, char *const argv[], char *const envp[])
{
	struct exec_call x;

	prepare(&x, envp != NULL ? pointers_for(envp) : 0, fd, "", AT_EMPTY_PATH, envp);
	COMPLETE(&x);
	return came_back(&x, REAL(fexecve)(fd, argv, x.envp));
}

int hook_execveat(int dirfd, const char *path, char *const argv[], char *const envp[], int flags)
{
	/* Where it may be empty it is looked at here. */
	bool bad = (flags & AT_EMPTY_PATH) && !see_string(path);
	struct exec_call x;

	prepare(&x, bad ? 0 : pointers_for(envp), dirfd, path, flags, envp);
	COMPLETE(&x);
	return came_back(&x, REAL(execveat)(dirfd, path, argv, x.envp, flags));
}

static const char *search_path(void)
{
	const char *path = environ_get(environ, "PATH");

	return path != NULL ? path : "/bin:/usr/bin";
}

/* Room for each file that search() tries; 0 where there is nothing to search for. */
static size_t search_bytes(const char *file)
{
	size_t longest = 0;

	if (atomic_load(&self.quiet) || !see_string(file) || strchr(file, '/') != NULL)
		return 0;
	for (const char *p = search_path();; p++) {
		size_t len = strcspn(p, ":");

		longest = len > longest ? len : longest;
		p += len;
		if (*p == '\0')
			break;
	}
	longest += 1 + strlen(file) + 1;
	return longest < PATH_MAX ? longest : PATH_MAX;
}

/* Which file execvp(3) is going to take, for looking at it: exec itself searches anew. */
static const char *search(const char *file, char *out, size_t size)
{
	for (const char *p = search_path(); size > 0; p++) {
		struct text t = { .buf = out, .size = size };
		size_t len = strcspn(p, ":");

		text_add_bytes(&t, p, len);
		text_add(&t, len > 0 ? "/" : "");
		text_add(&t, file);
		if (!t.full && sys3(SYS_faccessat, AT_FDCWD, out, X_OK) == 0)
			return out;
		p += len;
		if (*p == '\0')
			break;
	}
	return file;
}

/* In the frame of who prepares, not of the wrapper. */
#define FOUND(file, path)                                  \
	do {                                               \
		size_t size_ = search_bytes(file);         \
		path = search(file, alloca(size_), size_); \
	} while (0)

static NOT_INLINE void prepare_found(struct exec_call *x, const char *file, char *const envp[])
{
	const char *path;

	FOUND(file, path);
	prepare(x, pointers_for(envp), AT_FDCWD, path, 0, envp);
}

int hook_execvpe(const char *file, char *const argv[], char *const envp[])
{
	struct exec_call x;

	prepare_found(&x, file, envp);
	COMPLETE(&x);
	return came_back(&x, REAL(execvpe)(file, argv, x.envp));
}

int hook_execvp(const char *file, char *const argv[])
{
	return hook_execvpe(file, argv, environ);
}

/* The arguments behind `arg` up to the NULL, and what comes after that; argv is the caller's frame. */
#define COLLECT(arg, argv, ap)                    \
	size_t n_ = 1;                            \
	va_start(ap, arg);                        \
	while (va_arg(ap, char *) != NULL)        \
		n_++;                             \
	va_end(ap);                               \
	argv = alloca((n_ + 1) * sizeof(char *)); \
	va_start(ap, arg);                        \
	argv[0] = (char *)(uintptr_t)arg;         \
	for (size_t i_ = 1; i_ <= n_; i_++)       \
	argv[i_] = va_arg(ap, char *)

int hook_execl(const char *path, const char *arg, ...)
{
	char **argv;
	va_list ap;

	COLLECT(arg, argv, ap);
	va_end(ap);
	return hook_execve(path, argv, environ);
}

int hook_execlp(const char *file, const char *arg, ...)
{
	char **argv;
	va_list ap;

	COLLECT(arg, argv, ap);
	va_end(ap);
	return hook_execvpe(file, argv, environ);
}

int hook_execle(const char *path, const char *arg, ...)
{
	char **argv;
	char *const *envp;
	va_list ap;

	COLLECT(arg, argv, ap);
	envp = va_arg(ap, char *const *);
	va_end(ap);
	return hook_execve(path, argv, envp);
}

typedef int spawn_fn(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
		     char *const[], char *const[]);

/* Whether it is recorded: then x and the ticket are filled in.  found: file is searched for. */
static NOT_INLINE bool prepare_spawn(struct exec_call *x, struct fork_ticket *ticket, const char *file,
				     bool found, const posix_spawn_file_actions_t *actions,
				     char *const envp[])
{
	size_t pointers = pointers_for(envp);
	const char *path = file;
	struct environ_identity id;
	struct program program;

	if (found)
		FOUND(file, path);
	if (pointers == 0 || !process_enter() || see_nothing())
		return false;
	program = look(AT_FDCWD, path, 0);
	if (program.fault)
		return false;
	/* What the actions copy, and where to, nobody can know. */
	if (actions != NULL)
		track_escape_all();
	*ticket = process_before_fork(PS_F_SPAWN);
	announce(ticket->child, path, &program);
	*x = (struct exec_call){ .recorded = true, .preload = program.preload, .envp = envp };
	/* A program that will not report leaves it to whom it starts: he must not take it for his own. */
	id = (struct environ_identity){ .process = ticket->child,
					.parent = program.seen == PS_SEEN ? (uint32_t)sys_getpid() : 0 };
	plan_for(x, pointers, &id);
	return true;
}

#define FRAME_MAX 2048

/* The environments of some are large, and the stacks of their threads small.  libc maps the child's stack in
 * the same way; an exec could not give the memory back in a vfork child.  NULL: it goes into the frame. */
static void *map_large(size_t bytes)
{
	long p = 0;

	if (bytes > FRAME_MAX)
		p = sys6(SYS_mmap, 0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p > 0 ? (void *)p : NULL;
}

/* libc forks and execs inside: the child's first word is the START of its new image. */
static int spawn(spawn_fn *call, pid_t *pid, const char *file, bool found,
		 const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attr, char *const argv[],
		 char *const envp[])
{
	struct exec_call x;
	struct fork_ticket ticket;
	pid_t unasked = 0, *child = pid != NULL ? pid : &unasked;
	void *mapped;
	int ret;

	if (!prepare_spawn(&x, &ticket, file, found, actions, envp))
		return call(pid, file, actions, attr, argv, envp);
	mapped = map_large(frame_bytes(&x.plan));
	if (mapped != NULL)
		complete(&x, mapped);
	else
		COMPLETE(&x);
	/* Into the program's own variable: libc sets it before it lets the signal of the child's end in. */
	ret = call(child, file, actions, attr, argv, x.envp);
	if (mapped != NULL)
		sys2(SYS_munmap, mapped, frame_bytes(&x.plan));
	/* A handler may have set it to something else meanwhile. */
	process_after_fork(&ticket, ret == 0 && *child > 0 ? *child : 0, ret);
	return ret;
}

int hook_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		     const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	return spawn(REAL(posix_spawn), pid, path, false, actions, attr, argv, envp);
}

int hook_posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
		      const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	return spawn(REAL(posix_spawnp), pid, file, true, actions, attr, argv, envp);
}

/*
 * system(3) and popen(3) start a shell by calls of libc's own, with `environ` as it stands: cleared
 * perhaps, and with our identity of the last exec in it.  For the time of the call it is the completed
 * one.  With other threads about, that could be seen: then the shell tells its parent by its ppid.
 *
 * The new array is static: a handler may leave system() by longjmp, and environ as it is then.
 */
#define SHELL_ENVIRON_MAX 1024u

struct shell_environ {
	char *pointers[SHELL_ENVIRON_MAX];
	char strings[ENVIRON_STRINGS_MAX];
};

struct shell_call {
	struct counted before;
	bool recorded;
	char **ours, **saved;
	struct fork_ticket ticket;
};

/* One that environ does not point to now. */
static struct shell_environ *free_environ(void)
{
	TABLE static struct shell_environ two[2];

	return environ == two[0].pointers ? &two[1] : &two[0];
}

static void before_shell(struct shell_call *x)
{
	size_t pointers = pointers_for(environ);
	struct shell_environ *e = free_environ();
	struct environ_identity id, *known = NULL;
	struct environ_plan plan;
	struct program program;

	*x = (struct shell_call){ .before = track_counted() };
	if (pointers == 0 || pointers > SHELL_ENVIRON_MAX || thread.vfork_child != 0 ||
	    !track_single_threaded() || atomic_load(&self.quiet))
		return;
	x->recorded = process_enter();
	program = look(AT_FDCWD, _PATH_BSHELL, 0);
	if (x->recorded) {
		x->ticket = process_before_fork(PS_F_SPAWN);
		/* One that reports says so by its START: where none can be started, nothing is said of it. */
		if (program.seen != PS_SEEN && program.seen != PS_SEEN_UNKNOWN)
			announce(x->ticket.child, _PATH_BSHELL, &program);
		id = (struct environ_identity){ .process = x->ticket.child,
						.parent = (uint32_t)sys_getpid() };
		known = &id;
	}
	x->saved = environ;
	x->ours = environ;
	plan = environ_plan(environ, pointers, program.preload, known);
	if (plan.pointers > 0)
		x->ours = (char **)(uintptr_t)environ_complete(environ, &plan, program.preload, known,
							       e->pointers, e->strings);
	environ = x->ours;
}

/* A handler may have given the program another environment meanwhile: it stays. */
static void after_shell(const struct shell_call *x, bool failed)
{
	if (x->ours != NULL && environ == x->ours)
		environ = x->saved;
	if (x->recorded && failed)
		process_after_fork(&x->ticket, 0, errno);
	if (process_enter())
		track_libc_closed(&x->before, 0);
}

/*
 * Where no shell can be started, that is status 127, as of a shell that did not find its command; only
 * errno tells the two apart.  -1 is no such thing: the shell ran, and its status was not to be had.
 */
int hook_system(const char *command)
{
	struct shell_call x;
	int ret, saved = errno;

	if (command == NULL)
		return REAL(system)(command);
	before_shell(&x);
	errno = 0;
	ret = REAL(system)(command);
	after_shell(&x, WIFEXITED(ret) && WEXITSTATUS(ret) == 127 && errno != 0 && errno != EINTR);
	if (errno == 0)
		errno = saved;
	return ret;
}

FILE *hook_popen(const char *command, const char *mode)
{
	struct shell_call x;
	FILE *ret;

	before_shell(&x);
	ret = REAL(popen)(command, mode);
	after_shell(&x, ret == NULL);
	return ret;
}
