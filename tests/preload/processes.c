/* SPDX-License-Identifier: MIT */
/* fork and its kin, exec and its kin, posix_spawn, _exit. */
#include "cases.h"

#include <limits.h>
#include <sched.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>

pid_t __fork(void);
pid_t __vfork(void) __attribute__((returns_twice));

/* ---- fork ---- */

typedef pid_t fork_fn(void);

static int shared_fd;

static void child_changes(void)
{
	int t[2];

	CHECK(close(shared_fd) == 0);
	CHECK(socket(AF_INET, SOCK_STREAM, 0) == shared_fd);
	CHECK(dup2(shared_fd, 30) == 30);
	tcp_pair(t);
	put(t[0], "in the child");
	get(t[1], "in the child");
	show_fds("in the child");
}

static void fork_success_of(fork_fn *call)
{
	struct address a;
	int ours = 1;
	pid_t pid;

	shared_fd = tcp_listener(&a);
	errno = ERRNO_BEFORE;
	pid = call();
	CHECK(pid >= 0 && errno == ERRNO_BEFORE);
	if (pid == 0) {
		ours = 2;
		child_changes();
		_exit(failed() ? 99 : 3);
	}
	show_end(pid);
	CHECK(ours == 1);
	/* The parent's are as they were. */
	show_fds("in the parent");
	tcp_connected(&a);
	OK(accept(shared_fd, NULL, NULL));
}

static void fork_success(void)
{
	fork_success_of(fork);
}

static void under_fork_success(void)
{
	fork_success_of(__fork);
}

static void fork3_success(void)
{
	fork_success_of(_Fork);
}

static int grandchild(void)
{
	return OK(socket(AF_INET, SOCK_STREAM, 0));
}

static int child(void)
{
	OK(socket(AF_INET, SOCK_STREAM, 0));
	in_child(grandchild);
	in_child(grandchild);
	return 4;
}

static void fork_nested(void)
{
	in_child(child);
	OK(socket(AF_INET, SOCK_STREAM, 0));
}

/* The middle one goes first, as with daemons. */
static void fork_orphan(void)
{
	int p[2];
	pid_t pid;

	CHECK(pipe(p) == 0);
	pid = fork();
	if (pid == 0) {
		if (fork() == 0) {
			pid_t parent = getppid();
			struct address a;

			CHECK(close(p[0]) == 0);
			while (getppid() == parent && parent != 1)
				usleep(1000);
			tcp_listener(&a);
			put(p[1], failed() ? "bad " : "fine");
			_exit(0);
		}
		_exit(0);
	}
	CHECK(close(p[1]) == 0);
	show_end(pid);
	get(p[0], "fine");
	get(p[0], "");
}

static int order[8], n_order;

static void note_prepare(void)
{
	order[n_order++] = 1;
}

static void note_parent(void)
{
	order[n_order++] = 2;
}

static void note_child(void)
{
	order[n_order++] = 3;
}

static int show_order(void)
{
	for (int i = 0; i < n_order; i++)
		say("%d", order[i]);
	say("\n");
	return 0;
}

/* The program's own handlers run as ever; _Fork runs none. */
static void fork_atfork(void)
{
	CHECK(pthread_atfork(note_prepare, note_parent, note_child) == 0);
	in_child(show_order);
	show_order();
}

static void fork3_atfork(void)
{
	pid_t pid;

	CHECK(pthread_atfork(note_prepare, note_parent, note_child) == 0);
	pid = _Fork();
	if (pid == 0)
		_exit(n_order);
	show_end(pid);
	show_order();
}

static atomic_bool stop;

static void churn(void *arg)
{
	while (!stop) {
		int fd = socket(AF_INET, SOCK_STREAM, 0), copy = dup(fd);

		CHECK(fd > 2 && copy > 2);
		CHECK(close(fd) == 0 && close(copy) == 0);
	}
}

static int work_in_child(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct address a = ip4("127.0.0.1", 0);

	CHECK(bind(fd, &a.sa, a.len) == 0 && listen(fd, 1) == 0 && close(fd) == 0);
	return 0;
}

/* The child has one thread, whatever the others were in the middle of. */
static void fork_threads(void)
{
	struct thread threads[3];

	for (unsigned i = 0; i < 3; i++)
		thread_start(&threads[i], churn, NULL);
	for (int i = 0; i < 100; i++) {
		pid_t pid = fork();
		int status = -1;

		if (pid == 0)
			_exit(work_in_child() + (failed() ? 99 : 0));
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	}
	stop = true;
	for (unsigned i = 0; i < 3; i++)
		CHECK(thread_join(&threads[i]) == (void *)1);
}

static void fork_in_handler_now(void)
{
	pid_t pid = _Fork();

	if (pid == 0)
		_exit(close(shared_fd) == 0 && dup(0) == shared_fd ? 5 : 98);
	show_end(pid);
}

static void fork3_handler(void)
{
	shared_fd = OK(socket(AF_INET, SOCK_STREAM, 0));
	in_handler(fork_in_handler_now);
	show_fd(shared_fd);
}

static int dies(void)
{
	OK(socket(AF_INET, SOCK_STREAM, 0));
	kill(getpid(), SIGKILL);
	return 0;
}

static int aborts(void)
{
	abort();
}

static void fork_signals(void)
{
	in_child(dies);
	in_child(aborts);
}

/* ---- vfork ---- */

/* As macros: whoever calls vfork must not return from the function that did. */
#define VFORK_CHANGES(call)                                                                             \
	do {                                                                                            \
		volatile int local = 1, seen = 0;                                                       \
		struct address a_;                                                                      \
		int s_ = tcp_listener(&a_), file_ = open("file", O_CREAT | O_RDWR, 0644);               \
		pid_t pid_;                                                                             \
		errno = ERRNO_BEFORE;                                                                   \
		pid_ = call();                                                                          \
		if (pid_ == 0) {                                                                        \
			local = 2;                                                                      \
			if (close(s_) != 0 || dup2(file_, s_) != s_ || close(file_) != 0 ||             \
			    fcntl(s_, F_DUPFD, 40) != 40 || socket(AF_INET, SOCK_STREAM, 0) != file_ || \
			    close_range(3, 30, 0) != 0 || dup3(0, 3, O_CLOEXEC) != 3)                   \
				_exit(98);                                                              \
			seen = 1;                                                                       \
			_exit(7);                                                                       \
		}                                                                                       \
		CHECK(pid_ > 0 && errno == ERRNO_BEFORE);                                               \
		/* The memory is one, and the child was first. */                                       \
		CHECK(local == 2 && seen == 1);                                                         \
		show_end(pid_);                                                                         \
		show_fds("in the parent");                                                              \
		tcp_connected(&a_);                                                                     \
		OK(accept(s_, NULL, NULL));                                                             \
	} while (0)

static void vfork_success(void)
{
	VFORK_CHANGES(vfork);
}

static void under_vfork_success(void)
{
	VFORK_CHANGES(__vfork);
}

/* Callee-saved registers, many locals, in a loop. */
#ifndef __clang__
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wclobbered"
#endif
static void vfork_locals(void)
{
	unsigned long sum = 0, a = 3, b = 5, c = 7, d = 11, e = 13;

	for (int i = 0; i < 200; i++) {
		pid_t pid = vfork();
		int status = -1;

		if (pid == 0)
			_exit(i & 127);
		CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == (i & 127));
		sum += a * (unsigned)i + b + c + d + e;
		a += 2;
		b ^= a;
		c += b;
		d ^= c;
		e += d;
	}
	say("sum %lu\n", sum);
}
#ifndef __clang__
#pragma GCC diagnostic pop
#endif

static void vfork_exec(void)
{
	char *argv[] = { self, (char *)"--child", (char *)"6", NULL };
	int s = OK(socket(AF_INET, SOCK_STREAM, 0)), c = OK(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	pid_t pid = vfork();

	if (pid == 0) {
		if (dup2(s, 25) == 25)
			execv(self, argv);
		_exit(98);
	}
	show_end(pid);
	show_fd(s);
	show_fd(c);
	show_fd(25);
}

static void vfork_exec_fails(void)
{
	volatile int error = 0;
	char *argv[] = { (char *)"none", NULL };
	int s = OK(socket(AF_INET, SOCK_STREAM, 0));
	pid_t pid = vfork();

	if (pid == 0) {
		execve("no/such/program", argv, environ);
		error = errno;
		close(s);
		execvp("no-such-program", argv);
		_exit(errno == ENOENT ? 9 : 98);
	}
	CHECK(error == ENOENT);
	show_end(pid);
	show_fd(s);
	IS(0, close(s));
}

static void vfork_nested(void)
{
	volatile int deepest = 0;
	int s = OK(socket(AF_INET, SOCK_STREAM, 0));
	pid_t pid = vfork();

	if (pid == 0) {
		pid_t inner = vfork();
		int status = -1;

		if (inner == 0) {
			deepest = 1;
			close(s);
			_exit(11);
		}
		if (waitpid(inner, &status, 0) != inner || WEXITSTATUS(status) != 11 ||
		    fcntl(s, F_GETFD) != 0)
			_exit(98);
		close(s);
		_exit(12);
	}
	CHECK(deepest == 1);
	show_end(pid);
	show_fd(s);
}

static void vfork_then_fork(void)
{
	int s = OK(socket(AF_INET, SOCK_STREAM, 0));
	pid_t pid = vfork();

	if (pid == 0) {
		pid_t inner = _Fork();
		int status = -1;

		if (inner == 0)
			_exit(close(s) == 0 ? 13 : 98);
		if (waitpid(inner, &status, 0) != inner)
			_exit(98);
		_exit(fcntl(s, F_GETFD) == 0 ? WEXITSTATUS(status) : 97);
	}
	show_end(pid);
	show_fd(s);
}

static void vfork_others(void *arg)
{
	for (int i = 0; i < 60; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), status = -1;
		pid_t pid = vfork();

		if (pid == 0)
			_exit(close(fd) == 0 ? 21 : 98);
		CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 21);
		CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
		CHECK(close(fd) == 0);
	}
}

static void vfork_threads(void)
{
	many_threads(4, vfork_others);
}

static volatile sig_atomic_t usr1_seen;

static void count_usr1(int sig)
{
	usr1_seen++;
}

static bool only_usr2_is_blocked(void)
{
	sigset_t now;

	for (int sig = 1; sigprocmask(SIG_BLOCK, NULL, &now) == 0 && sig < 32; sig++) {
		if (sigismember(&now, sig) != (sig == SIGUSR2))
			return false;
	}
	return true;
}

/* The parent's handler has run when vfork is back; neither finds other signals blocked. */
static void vfork_signals(void)
{
	struct sigaction action = { .sa_handler = count_usr1 };
	pid_t self_pid = getpid(), pid;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0 && sigaction(SIGUSR1, &action, NULL) == 0);
	pid = vfork();
	if (pid == 0)
		_exit(only_usr2_is_blocked() && kill(self_pid, SIGUSR1) == 0 && usr1_seen == 0 ? 22 : 98);
	CHECK(usr1_seen == 1 && only_usr2_is_blocked());
	show_end(pid);
}

static void vfork_killed(void)
{
	int s = OK(socket(AF_INET, SOCK_STREAM, 0));
	pid_t pid = vfork();

	if (pid == 0) {
		close(s);
		kill(getpid(), SIGKILL);
		_exit(98);
	}
	show_end(pid);
	show_fd(s);
	in_child(grandchild);
}

/* ---- exec ---- */

static char *const child_env[] = { (char *)"ONE=1", (char *)"PATH=/usr/bin:/bin", (char *)"TWO=a b", NULL };
static char *child_argv[] = { self, (char *)"--child", (char *)"5", (char *)"", (char *)"an argument", NULL };

static void exec_fds(void)
{
	struct address a;

	OK(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	tcp_listener(&a);
	OK(dup(3));
	CHECK(setenv("OWN", "value", 1) == 0);
}

#define EXEC_BY(name, call)   \
	static int name(void) \
	{                     \
		exec_fds();   \
		call;         \
		return 98;    \
	}

EXEC_BY(by_execve, execve(self, child_argv, child_env))
EXEC_BY(by_execv, execv(self, child_argv))
EXEC_BY(by_execvp, execvp(self, child_argv))
EXEC_BY(by_execvpe, execvpe(self, child_argv, child_env))
EXEC_BY(by_execl, execl(self, self, "--child", "5", "l", (char *)NULL))
EXEC_BY(by_execlp, execlp(self, self, "--child", "5", "lp", (char *)NULL))
EXEC_BY(by_execle, execle(self, self, "--child", "5", "le", (char *)NULL, child_env))
EXEC_BY(by_fexecve, fexecve(open(self, O_RDONLY | O_CLOEXEC), child_argv, child_env))
EXEC_BY(by_execveat, execveat(AT_FDCWD, self, child_argv, child_env, 0))
EXEC_BY(by_execveat_fd, execveat(open(self, O_RDONLY), "", child_argv, child_env, AT_EMPTY_PATH))
EXEC_BY(by_many, execl(self, self, "--child", "5", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11",
		       "12", "13", "14", "15", "16", "17", "18", "19", "20", (char *)NULL))

#define EXEC_CASE(name)               \
	static void case_##name(void) \
	{                             \
		in_child(by_##name);  \
	}

EXEC_CASE(execve)
EXEC_CASE(execv)
EXEC_CASE(execvp)
EXEC_CASE(execvpe)
EXEC_CASE(execl)
EXEC_CASE(execlp)
EXEC_CASE(execle)
EXEC_CASE(fexecve)
EXEC_CASE(execveat)
EXEC_CASE(execveat_fd)
EXEC_CASE(many)

static char *const empty_env[] = { NULL };

EXEC_BY(by_empty_env, execve(self, child_argv, empty_env))
EXEC_BY(by_null_env, execve(self, child_argv, null_pointer))
EXEC_BY(by_empty_env_l, execle(self, self, "--child", "5", (char *)NULL, empty_env))
EXEC_BY(by_empty_env_p, execvpe(self, child_argv, empty_env))
EXEC_BY(by_empty_env_f, fexecve(open(self, O_RDONLY), child_argv, empty_env))
EXEC_BY(by_empty_env_at, execveat(AT_FDCWD, self, child_argv, empty_env, 0))
EXEC_CASE(empty_env)
EXEC_CASE(null_env)
EXEC_CASE(empty_env_l)
EXEC_CASE(empty_env_p)
EXEC_CASE(empty_env_f)
EXEC_CASE(empty_env_at)

static int by_clearenv(void)
{
	exec_fds();
	CHECK(clearenv() == 0);
	execv(self, child_argv);
	return 98;
}

EXEC_CASE(clearenv)

/* environ itself is NULL or another array. */
static int by_environ(void)
{
	static char *own[] = { (char *)"ONLY=this", NULL };

	environ = own;
	execl(self, self, "--child", "5", (char *)NULL);
	return 98;
}

static int by_environ_null(void)
{
	environ = NULL;
	execlp(self, self, "--child", "5", (char *)NULL);
	return 98;
}

EXEC_CASE(environ)
EXEC_CASE(environ_null)

/* The program's own LD_PRELOAD and variables that look like ours reach the child. */
static int by_own_preload(void)
{
	char *const env[] = { (char *)"LD_PRELOAD=libm.so.6:libdl.so.2",
			      (char *)"LD_PRELOADED=no",
			      (char *)"no equals sign",
			      (char *)"=",
			      (char *)"A=1",
			      (char *)"A=2",
			      NULL };

	execve(self, child_argv, env);
	return 98;
}

EXEC_CASE(own_preload)

static int by_own_preload_set(void)
{
	CHECK(setenv("LD_PRELOAD", "libm.so.6", 1) == 0);
	execv(self, child_argv);
	return 98;
}

EXEC_CASE(own_preload_set)

static int by_big_env(void)
{
	static char *env[2002];

	for (int i = 0; i < 2000; i++)
		CHECK(asprintf(&env[i], "V%d=%064d", i, i) > 0);
	env[2000] = (char *)"LAST=1";
	execve("/bin/sh", (char *[]){ (char *)"sh", (char *)"-c", (char *)"echo $V0 $V1999 $LAST", NULL },
	       env);
	return 98;
}

EXEC_CASE(big_env)

static int by_argv_null(void)
{
	static char *none[] = { NULL };

	/* The kernel makes argv[0] "" of it. */
	execve("/bin/true", none, child_env);
	return 98;
}

EXEC_CASE(argv_null)

static int by_search(void)
{
	char *name = strrchr(self, '/');

	*name = '\0';
	CHECK(setenv("PATH", self, 1) == 0);
	*name = '/';
	execvp(name + 1, (char *[]){ name + 1, (char *)"--child", (char *)"5", NULL });
	return 98;
}

static int by_search_l(void)
{
	char *name = strrchr(self, '/');

	*name = '\0';
	CHECK(setenv("PATH", self, 1) == 0);
	*name = '/';
	execlp(name + 1, name + 1, "--child", "5", (char *)NULL);
	return 98;
}

EXEC_CASE(search)
EXEC_CASE(search_l)

static void write_file(const char *name, const char *text, mode_t mode)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, mode);

	put(fd, text);
	CHECK(close(fd) == 0 && chmod(name, mode) == 0);
}

static int by_script(void)
{
	write_file("script", "#!/bin/sh\necho script \"$@\" $ONE\nexit 8\n", 0755);
	execve("./script", (char *[]){ (char *)"script", (char *)"x y", NULL }, child_env);
	return 98;
}

/* Not a program for the kernel, but a script for execvp. */
static int by_plain_script(void)
{
	write_file("plain", "echo plain \"$@\" $ONE\nexit 8\n", 0755);
	CHECK(setenv("PATH", ".:/usr/bin:/bin", 1) == 0);
	execvp("plain", (char *[]){ (char *)"plain", (char *)"x y", NULL });
	return 98;
}

static int by_plain_script_l(void)
{
	write_file("plain", "echo plain \"$@\"\nexit 8\n", 0755);
	CHECK(setenv("PATH", ".:/usr/bin:/bin", 1) == 0);
	execlp("plain", "plain", "x y", (char *)NULL);
	return 98;
}

EXEC_CASE(script)
EXEC_CASE(plain_script)
EXEC_CASE(plain_script_l)

static void exec_files(void)
{
	write_file("not executable", "#!/bin/sh\n", 0644);
	write_file("rubbish", "no program\n", 0755);
	write_file("lost", "#!/no/such/interpreter\n", 0755);
	CHECK(mkdir("directory", 0755) == 0);
	CHECK(symlink("loop", "loop") == 0);
}

/* The image is still the old one, and works. */
static void after_failure(void)
{
	int before = n_order;
	struct address a;
	int s = tcp_listener(&a);

	tcp_connected(&a);
	OK(accept(s, NULL, NULL));
	in_child(grandchild);
	CHECK(n_order == before);
	for (char **e = environ; *e != NULL; e++)
		CHECK(strchr(*e, '=') != NULL);
}

typedef int exec_fn(const char *path, char *const argv[]);

static int call_execve(const char *path, char *const argv[])
{
	return execve(path, argv, child_env);
}

static int call_execvpe(const char *path, char *const argv[])
{
	return execvpe(path, argv, child_env);
}

static int call_execl(const char *path, char *const argv[])
{
	return execl(path, argv[0], argv[1], argv[2], (char *)NULL);
}

static int call_execlp(const char *path, char *const argv[])
{
	return execlp(path, argv[0], argv[1], argv[2], (char *)NULL);
}

static int call_execle(const char *path, char *const argv[])
{
	return execle(path, argv[0], argv[1], argv[2], (char *)NULL, child_env);
}

static int call_execveat(const char *path, char *const argv[])
{
	return execveat(AT_FDCWD, path, argv, child_env, 0);
}

static void exec_errors_of(exec_fn *call)
{
	char *argv[] = { (char *)"name", (char *)"a", (char *)"b", NULL };

	exec_files();
	FAILS(ENOENT, call("./no such program", argv));
	FAILS(ENOENT, call("", argv));
	FAILS(EACCES, call("./not executable", argv));
	FAILS(EACCES, call("./directory", argv));
	FAILS(ENOTDIR, call("./rubbish/program", argv));
	FAILS(ENOENT, call("./lost", argv));
	FAILS(ELOOP, call("./loop", argv));
	after_failure();
}

#define EXEC_ERRORS(name, function)       \
	static void name##_errors(void)   \
	{                                 \
		exec_errors_of(function); \
	}

EXEC_ERRORS(execve, call_execve)
EXEC_ERRORS(execv, execv)
EXEC_ERRORS(execvp, execvp)
EXEC_ERRORS(execvpe, call_execvpe)
EXEC_ERRORS(execl, call_execl)
EXEC_ERRORS(execlp, call_execlp)
EXEC_ERRORS(execle, call_execle)
EXEC_ERRORS(execveat, call_execveat)

static void execve_more_errors(void)
{
	char *argv[] = { (char *)"name", NULL, NULL };
	char *huge = malloc(300000);

	CHECK(huge != NULL);
	memset(huge, 'x', 299999);
	huge[299999] = '\0';
	exec_files();
	FAILS(ENOEXEC, execve("./rubbish", argv, child_env));
	FAILS(EFAULT, execve(bad_pointer, argv, child_env));
	FAILS(EFAULT, execve("/bin/true", bad_pointer, child_env));
	argv[1] = huge;
	FAILS(E2BIG, execve("/bin/true", argv, child_env));
	FAILS(E2BIG, execv("/bin/true", argv));
	argv[1] = NULL;
	FAILS(E2BIG, execve("/bin/true", argv, (char *[]){ huge, NULL }));
	after_failure();
}

static void exec_search_errors(void)
{
	char *argv[] = { (char *)"name", NULL };

	exec_files();
	CHECK(setenv("PATH", "/no/such:.:/usr/bin", 1) == 0);
	FAILS(ENOENT, execvp("no-such-program-at-all", argv));
	FAILS(EACCES, execvp("not executable", argv));
	FAILS(EACCES, execlp("not executable", "x", (char *)NULL));
	CHECK(setenv("PATH", "", 1) == 0);
	FAILS(ENOENT, execvp("no-such-program-at-all", argv));
	CHECK(unsetenv("PATH") == 0);
	FAILS(ENOENT, execvp("no-such-program-at-all", argv));
	after_failure();
}

static void fexecve_errors(void)
{
	char *argv[] = { (char *)"name", NULL };
	int fd;

	exec_files();
	FAILS(EBADF, fexecve(99, argv, child_env));
	FAILS(EINVAL, fexecve(-1, argv, child_env));
	FAILS(EINVAL, fexecve(0, argv, NULL));
	fd = open("not executable", O_RDONLY);
	FAILS(EACCES, fexecve(fd, argv, child_env));
	fd = open("rubbish", O_RDONLY);
	FAILS(ENOEXEC, fexecve(fd, argv, child_env));
	after_failure();
}

static void execveat_more_errors(void)
{
	char *argv[] = { (char *)"name", NULL };

	exec_files();
	FAILS(EBADF, execveat(99, "program", argv, child_env, 0));
	FAILS(ENOENT, execveat(AT_FDCWD, "", argv, child_env, 0));
	FAILS(ELOOP, execveat(AT_FDCWD, "loop", argv, child_env, AT_SYMLINK_NOFOLLOW));
	FAILS(EINVAL, execveat(AT_FDCWD, "rubbish", argv, child_env, 0x100000));
	FAILS(EFAULT, execveat(AT_FDCWD, bad_pointer, argv, child_env, 0));
	after_failure();
}

static void exec_in_thread_now(void *arg)
{
	execv(self, child_argv);
}

static int by_thread(void)
{
	struct thread t;

	exec_fds();
	thread_start(&t, exec_in_thread_now, NULL);
	thread_join(&t);
	return 98;
}

EXEC_CASE(thread)

static void exec_now(void)
{
	execve(self, child_argv, child_env);
}

static int by_handler(void)
{
	exec_fds();
	in_handler(exec_now);
	return 98;
}

EXEC_CASE(handler)

/* Ignored signals and the mask are handed on, handlers are not. */
static int by_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	signal(SIGPIPE, SIG_IGN);
	catch_usr1(0);
	execl("/bin/sh", "sh", "-c", "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status; kill -USR1 $$",
	      (char *)NULL);
	return 98;
}

EXEC_CASE(signals)

/* ---- posix_spawn ---- */

typedef int spawn_fn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		     const posix_spawnattr_t *attributes, char *const argv[], char *const env[]);

static void spawn_success_of(spawn_fn *call)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t set;
	pid_t pid = -1;
	int error, s = OK(socket(AF_INET, SOCK_STREAM, 0));
	int c = OK(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));

	/* Nothing is printed here until the child has. */
	errno = ERRNO_BEFORE;
	CHECK(call(&pid, self, NULL, NULL, child_argv, child_env) == 0);
	error = errno;
	show_end(pid);
	say("errno %s\n", strerrorname_np(error));
	IS(0, call(NULL, "/bin/true", NULL, NULL, child_argv, environ));
	show_end(-1);
	CHECK(posix_spawn_file_actions_init(&actions) == 0);
	CHECK(posix_spawn_file_actions_adddup2(&actions, c, 20) == 0);
	CHECK(posix_spawn_file_actions_addclose(&actions, s) == 0);
	CHECK(posix_spawn_file_actions_addopen(&actions, 21, "/dev/null", O_RDONLY, 0) == 0);
	CHECK(posix_spawn_file_actions_addchdir_np(&actions, "/") == 0);
	CHECK(posix_spawn_file_actions_adddup2(&actions, c, c) == 0);
	CHECK(posix_spawnattr_init(&attributes) == 0);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	CHECK(posix_spawnattr_setsigmask(&attributes, &set) == 0);
	CHECK(posix_spawnattr_setpgroup(&attributes, 0) == 0);
	CHECK(posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP |
							    POSIX_SPAWN_RESETIDS) == 0);
	CHECK(call(&pid, self, &actions, &attributes, child_argv, child_env) == 0);
	show_end(pid);
	show_fd(s);
	show_fd(20);
	CHECK(posix_spawn_file_actions_addclosefrom_np(&actions, 3) == 0);
	CHECK(call(&pid, self, &actions, &attributes, child_argv, empty_env) == 0);
	show_end(pid);
	CHECK(posix_spawn_file_actions_destroy(&actions) == 0 && posix_spawnattr_destroy(&attributes) == 0);
}

static void spawn_success(void)
{
	spawn_success_of(posix_spawn);
}

static void spawnp_success(void)
{
	spawn_success_of(posix_spawnp);
}

/* The error is the value; errno stays. */
static void spawn_errors_of(spawn_fn *call)
{
	posix_spawn_file_actions_t actions;
	pid_t pid = 123;
	char *argv[] = { (char *)"name", NULL };
	int s = OK(socket(AF_INET, SOCK_STREAM, 0));

	exec_files();
	IS(ENOENT, call(&pid, "./no such program", NULL, NULL, argv, environ));
	IS(EACCES, call(&pid, "./not executable", NULL, NULL, argv, environ));
	IS(EACCES, call(&pid, "./directory", NULL, NULL, argv, environ));
	CHECK(posix_spawn_file_actions_init(&actions) == 0);
	CHECK(posix_spawn_file_actions_adddup2(&actions, 99, 20) == 0);
	IS(EBADF, call(&pid, "/bin/true", &actions, NULL, argv, environ));
	CHECK(posix_spawn_file_actions_destroy(&actions) == 0);
	CHECK(posix_spawn_file_actions_init(&actions) == 0);
	CHECK(posix_spawn_file_actions_addclose(&actions, s) == 0);
	CHECK(posix_spawn_file_actions_addopen(&actions, 20, "no/such/file", O_RDONLY, 0) == 0);
	IS(ENOENT, call(&pid, "/bin/true", &actions, NULL, argv, environ));
	CHECK(posix_spawn_file_actions_destroy(&actions) == 0);
	CHECK(pid == 123);
	show_fd(s);
	CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
	after_failure();
}

static void spawn_errors(void)
{
	spawn_errors_of(posix_spawn);
}

static void spawnp_errors(void)
{
	spawn_errors_of(posix_spawnp);
}

static void spawnp_search(void)
{
	char *name = strrchr(self, '/');
	char *argv[] = { name + 1, (char *)"--child", (char *)"5", NULL };
	pid_t pid;

	*name = '\0';
	CHECK(setenv("PATH", self, 1) == 0);
	*name = '/';
	CHECK(posix_spawnp(&pid, name + 1, NULL, NULL, argv, environ) == 0);
	show_end(pid);
	IS(ENOENT, posix_spawn(&pid, name + 1, NULL, NULL, argv, environ));
	write_file("plain", "echo plain\n", 0755);
	CHECK(setenv("PATH", ".", 1) == 0);
	TRY(posix_spawnp(&pid, "plain", NULL, NULL, argv, environ));
	TRY(posix_spawn(&pid, "./plain", NULL, NULL, argv, environ));
}

static void spawn_many(void *arg)
{
	char *argv[] = { (char *)"true", NULL };

	for (int i = 0; i < 15; i++) {
		pid_t pid = -1;
		int status = -1;

		CHECK(posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ) == 0);
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	}
}

static void spawn_threads(void)
{
	many_threads(4, spawn_many);
}

static pid_t spawned_now;
static pthread_t spawner;

static void see_spawned(int sig)
{
	say("the handler %s\n", spawned_now > 0 ? "knows the child" : "finds a child that nobody knows");
}

/* The child waits in its first action, and libc has every signal blocked; it waits in its second until
 * there is one. */
static void signal_in_spawn(void *arg)
{
	int first = open("first", O_WRONLY | O_CLOEXEC), second;

	CHECK(pthread_kill(spawner, SIGUSR1) == 0);
	second = open("second", O_WRONLY | O_CLOEXEC);
	CHECK(close(first) == 0 && close(second) == 0);
}

static void spawn_handler_of(spawn_fn *call)
{
	struct sigaction sa = { .sa_handler = see_spawned };
	posix_spawn_file_actions_t actions;
	char *argv[] = { (char *)"true", NULL };
	struct thread t;

	CHECK(mkfifo("first", 0600) == 0 && mkfifo("second", 0600) == 0);
	CHECK(sigaction(SIGUSR1, &sa, NULL) == 0);
	CHECK(posix_spawn_file_actions_init(&actions) == 0);
	CHECK(posix_spawn_file_actions_addopen(&actions, 30, "first", O_RDONLY, 0) == 0);
	CHECK(posix_spawn_file_actions_addopen(&actions, 31, "second", O_RDONLY, 0) == 0);
	spawner = pthread_self();
	thread_start(&t, signal_in_spawn, NULL);
	IS(0, call(&spawned_now, "/bin/true", &actions, NULL, argv, environ));
	CHECK(thread_join(&t) == (void *)1);
	show_end(spawned_now);
	CHECK(posix_spawn_file_actions_destroy(&actions) == 0);
}

static void spawn_handler(void)
{
	spawn_handler_of(posix_spawn);
}

static void spawnp_handler(void)
{
	spawn_handler_of(posix_spawnp);
}

/* ---- small stacks ---- */

/* By pointers, so that no call here makes the dynamic linker look for a symbol, on the stack in question. */
static __typeof__(execve) *const volatile bound_execve = execve;
static __typeof__(execvpe) *const volatile bound_execvpe = execvpe;
static __typeof__(fexecve) *const volatile bound_fexecve = fexecve;
static __typeof__(execveat) *const volatile bound_execveat = execveat;
static __typeof__(execl) *const volatile bound_execl = execl;
static __typeof__(posix_spawn) *const volatile bound_spawn = posix_spawn;
static __typeof__(posix_spawnp) *const volatile bound_spawnp = posix_spawnp;
static __typeof__(fork) *const volatile bound_fork = fork;
static __typeof__(_exit) *const volatile bound_exit = _exit;
static __typeof__(waitpid) *const volatile bound_waitpid = waitpid;

static char *true_argv[] = { (char *)"true", NULL };
static pid_t started;
static int refused_fd;

/* A program of which the whole is looked at, and that is not executed. */
static void refuse_execve(void)
{
	bound_execve("./refused", true_argv, environ);
}

static void refuse_execvpe(void)
{
	bound_execvpe("refused", true_argv, environ);
}

static void refuse_fexecve(void)
{
	bound_fexecve(refused_fd, true_argv, environ);
}

static void refuse_execveat(void)
{
	bound_execveat(AT_FDCWD, "./refused", true_argv, environ, 0);
}

static void refuse_execl(void)
{
	bound_execl("./refused", "true", (char *)NULL);
}

static void start_spawn(void)
{
	bound_spawn(&started, "/bin/true", NULL, NULL, true_argv, environ);
}

static void start_spawnp(void)
{
	bound_spawnp(&started, "true", NULL, NULL, true_argv, environ);
}

static void start_fork(void)
{
	started = bound_fork();
	if (started == 0) {
		bound_execl("/bin/true", "true", (char *)NULL);
		bound_exit(98);
	}
}

enum { PAINT = 0xa5, PAINTED = 65536 };
static char painted[PAINTED];
static ucontext_t back, on_painted;

static void copy_refused(void)
{
	int from = open("/bin/true", O_RDONLY | O_CLOEXEC), to;
	char buf[4096];
	ssize_t n;

	to = open("refused", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	while ((n = read(from, buf, sizeof(buf))) > 0)
		CHECK(write(to, buf, (size_t)n) == n);
	CHECK(n == 0 && close(from) == 0 && close(to) == 0);
	refused_fd = open("refused", O_RDONLY | O_CLOEXEC);
	CHECK(setenv("PATH", "/usr/bin:/bin:.", 1) == 0);
}

/* How much of it the deepest call has taken. */
static size_t painted_over(void)
{
	size_t n = PAINTED;

	for (const char *p = painted; n > 0 && *(const unsigned char *)p == PAINT; p++)
		n--;
	return n;
}

/* A bad call prints how much of the stack it took, a good one does not. */
static void within_a_page(const char *name, void (*call)(void), int error)
{
	memset(painted, PAINT, PAINTED);
	CHECK(getcontext(&on_painted) == 0);
	on_painted.uc_stack.ss_sp = painted;
	on_painted.uc_stack.ss_size = PAINTED;
	on_painted.uc_link = &back;
	makecontext(&on_painted, call, 0);
	errno = 0;
	CHECK(swapcontext(&back, &on_painted) == 0);
	CHECK(error == 0 || errno == error);
	if (painted_over() > 4096)
		say("%s takes %zu bytes of the stack\n", name, painted_over());
	if (error == 0)
		show_end(started);
}

static void exec_little_stack(void)
{
	copy_refused();
	within_a_page("execve", refuse_execve, EACCES);
	within_a_page("execvpe", refuse_execvpe, EACCES);
	within_a_page("fexecve", refuse_fexecve, EACCES);
	within_a_page("execveat", refuse_execveat, EACCES);
	within_a_page("execl", refuse_execl, EACCES);
}

static void spawn_little_stack(void)
{
	within_a_page("posix_spawn", start_spawn, 0);
	within_a_page("posix_spawnp", start_spawnp, 0);
}

/* The environment is larger than the stack. */
static void spawn_large_environment(void)
{
	static char *many[3002];

	for (int i = 0; i < 3000; i++)
		CHECK(asprintf(&many[i], "V%d=%d", i, i) > 0);
	many[3000] = (char *)"PATH=/usr/bin:/bin";
	environ = many;
	within_a_page("posix_spawn", start_spawn, 0);
	within_a_page("posix_spawnp", start_spawnp, 0);
}

static void (*in_handler_now)(void);

static void handle(int sig)
{
	in_handler_now();
}

/* As crash handlers do: below the stack is nothing. */
static void on_alternate_stack(void (*call)(void))
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), least = getauxval(AT_MINSIGSTKSZ);
	size_t size = ((least > 0 ? least : 2048) + 8192 + page - 1) / page * page;
	char *p = mmap(NULL, page + size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	stack_t stack = { .ss_sp = p + page, .ss_size = size };
	struct sigaction sa = { .sa_handler = handle, .sa_flags = SA_ONSTACK };

	in_handler_now = call;
	CHECK(p != MAP_FAILED && mprotect(p + page, size, PROT_READ | PROT_WRITE) == 0);
	CHECK(sigaltstack(&stack, NULL) == 0 && sigaction(SIGUSR1, &sa, NULL) == 0);
	CHECK(raise(SIGUSR1) == 0);
	show_end(started);
}

static void exec_alternate_stack(void)
{
	on_alternate_stack(start_fork);
}

static void spawn_alternate_stack(void)
{
	on_alternate_stack(start_spawn);
}

static void *spawn_and_wait(void *arg)
{
	int status = -1;

	start_spawn();
	return bound_waitpid(started, &status, 0) == started && status == 0 ? arg : NULL;
}

static void spawn_least_thread(void)
{
	pthread_attr_t attributes;
	pthread_t t;
	void *ret;

	CHECK(pthread_attr_init(&attributes) == 0);
	CHECK(pthread_attr_setstacksize(&attributes, (size_t)sysconf(_SC_THREAD_STACK_MIN)) == 0);
	CHECK(pthread_create(&t, &attributes, spawn_and_wait, &started) == 0);
	CHECK(pthread_join(t, &ret) == 0 && ret == &started);
	CHECK(pthread_attr_destroy(&attributes) == 0);
}

static int exec_cloned(void *arg)
{
	bound_execl("/bin/true", "true", (char *)NULL);
	return 98;
}

/* On the parent's memory, which goes on below the stack. */
static void exec_cloned_stack(void)
{
	pid_t pid;

	memset(painted, PAINT, PAINTED);
	pid = clone(exec_cloned, painted + PAINTED, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
	show_end(pid);
	CHECK(painted_over() <= 8192);
}

/* ---- _exit, _Exit ---- */

static void at_exit(void)
{
	say("an atexit handler ran\n");
}

typedef void exit_fn(int status);

static void exit_of(exit_fn *call)
{
	static const int statuses[] = { 0, 7, 255, 256 + 3, -1 };

	CHECK(atexit(at_exit) == 0);
	fputs("only the parent flushes this\n", stdout);
	for (unsigned i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		pid_t pid = fork();

		if (pid == 0) {
			CHECK(socket(AF_INET, SOCK_STREAM, 0) > 2);
			call(statuses[i]);
		}
		show_end(pid);
	}
}

static void exit_plain(void)
{
	exit_of(_exit);
}

static void exit_upper(void)
{
	exit_of(_Exit);
}

static void exit_thread_now(void *arg)
{
	_exit(23);
}

static int exits_by_thread(void)
{
	struct thread t;

	thread_start(&t, exit_thread_now, NULL);
	thread_join(&t);
	return 98;
}

static void exit_thread(void)
{
	in_child(exits_by_thread);
}

static void exit_handler_now(void)
{
	_exit(24);
}

static int exits_by_handler(void)
{
	in_handler(exit_handler_now);
	return 98;
}

static void exit_handler(void)
{
	in_child(exits_by_handler);
}

const struct test_case cases[] = {
	{ "fork", fork_success },
	{ "fork/nested", fork_nested },
	{ "fork/orphan", fork_orphan },
	{ "fork/atfork", fork_atfork },
	{ "fork/threads", fork_threads },
	{ "fork/signals", fork_signals },
	{ "__fork", under_fork_success },
	{ "_Fork", fork3_success },
	{ "_Fork/atfork", fork3_atfork },
	{ "_Fork/handler", fork3_handler },
	{ "vfork", vfork_success },
	{ "vfork/locals", vfork_locals },
	{ "vfork/exec", vfork_exec },
	{ "vfork/exec fails", vfork_exec_fails },
	{ "vfork/nested", vfork_nested },
	{ "vfork/then fork", vfork_then_fork },
	{ "vfork/threads", vfork_threads },
	{ "vfork/signals", vfork_signals },
	{ "vfork/killed", vfork_killed },
	{ "__vfork", under_vfork_success },
	{ "execve", case_execve },
	{ "execve/empty environment", case_empty_env },
	{ "execve/NULL environment", case_null_env },
	{ "execve/own LD_PRELOAD", case_own_preload },
	{ "execve/big environment", case_big_env },
	{ "execve/empty arguments", case_argv_null },
	{ "execve/script", case_script },
	{ "execve/errors", execve_errors },
	{ "execve/more errors", execve_more_errors },
	{ "execve/handler", case_handler },
	{ "execve/little stack", exec_little_stack },
	{ "execv", case_execv },
	{ "execv/clearenv", case_clearenv },
	{ "execv/own LD_PRELOAD", case_own_preload_set },
	{ "execv/errors", execv_errors },
	{ "execv/thread", case_thread },
	{ "execvp", case_execvp },
	{ "execvp/search", case_search },
	{ "execvp/search errors", exec_search_errors },
	{ "execvp/plain script", case_plain_script },
	{ "execvp/errors", execvp_errors },
	{ "execvpe", case_execvpe },
	{ "execvpe/empty environment", case_empty_env_p },
	{ "execvpe/errors", execvpe_errors },
	{ "execl", case_execl },
	{ "execl/many arguments", case_many },
	{ "execl/another environ", case_environ },
	{ "execl/signals", case_signals },
	{ "execl/errors", execl_errors },
	{ "execl/alternate stack", exec_alternate_stack },
	{ "execl/clone", exec_cloned_stack },
	{ "execlp", case_execlp },
	{ "execlp/search", case_search_l },
	{ "execlp/plain script", case_plain_script_l },
	{ "execlp/environ NULL", case_environ_null },
	{ "execlp/errors", execlp_errors },
	{ "execle", case_execle },
	{ "execle/empty environment", case_empty_env_l },
	{ "execle/errors", execle_errors },
	{ "fexecve", case_fexecve },
	{ "fexecve/empty environment", case_empty_env_f },
	{ "fexecve/errors", fexecve_errors },
	{ "execveat", case_execveat },
	{ "execveat/fd", case_execveat_fd },
	{ "execveat/empty environment", case_empty_env_at },
	{ "execveat/errors", execveat_errors },
	{ "execveat/more errors", execveat_more_errors },
	{ "posix_spawn", spawn_success },
	{ "posix_spawn/errors", spawn_errors },
	{ "posix_spawn/handler", spawn_handler },
	{ "posix_spawn/threads", spawn_threads },
	{ "posix_spawn/little stack", spawn_little_stack },
	{ "posix_spawn/large environment", spawn_large_environment },
	{ "posix_spawn/alternate stack", spawn_alternate_stack },
	{ "posix_spawn/least thread", spawn_least_thread },
	{ "posix_spawnp", spawnp_success },
	{ "posix_spawnp/search", spawnp_search },
	{ "posix_spawnp/errors", spawnp_errors },
	{ "posix_spawnp/handler", spawnp_handler },
	{ "_exit", exit_plain },
	{ "_exit/thread", exit_thread },
	{ "_exit/handler", exit_handler },
	{ "_Exit", exit_upper },
	{ NULL, NULL },
};
