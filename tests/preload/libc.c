/* SPDX-License-Identifier: MIT */
/* Calls of libc that fork, exec, make sockets or fetch them by themselves. */
#include "cases.h"

#include <grp.h>
#include <mqueue.h>
#include <netdb.h>
#include <pty.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <syslog.h>
#include <utmp.h>

#define NOBODY 65534

/* What programs call that were built with _FORTIFY_SOURCE. */
void __syslog_chk(int priority, int flag, const char *format, ...) __attribute__((format(printf, 3, 4)));
void __vsyslog_chk(int priority, int flag, const char *format, va_list ap)
	__attribute__((format(printf, 3, 0)));

/* No header declares it. */
int __clone(int (*fn)(void *), void *top, int flags, void *arg, ...);

/* From here on no fork succeeds: root is never refused. */
static void forbid_forks(void)
{
	struct rlimit none = { 0, 0 };

	CHECK(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
	CHECK(setrlimit(RLIMIT_NPROC, &none) == 0);
}

static int work(void)
{
	struct address a;
	int s = tcp_listener(&a), c = tcp_connected(&a), t = OK(accept(s, NULL, NULL));

	put(c, "text");
	get(t, "text");
	CHECK(close(c) == 0 && close(t) == 0 && close(s) == 0);
	return 0;
}

/* ---- bindresvport ---- */

static bool is_reserved(unsigned port)
{
	return port >= 512 && port < 1024;
}

static void resvport(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	struct address a;
	int s = OK(socket(AF_INET, SOCK_STREAM, 0)), t = OK(socket(AF_INET, SOCK_DGRAM, 0)), c;

	need_root();
	IS(0, bindresvport(s, NULL));
	a = local_of(s);
	CHECK(is_reserved(ntohs(a.in.sin_port)) && a.in.sin_addr.s_addr == 0);
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	IS(0, bindresvport(t, &sin));
	a = local_of(t);
	/* The port is told, and that is the one. */
	CHECK(is_reserved(ntohs(sin.sin_port)) && sin.sin_port == a.in.sin_port);
	CHECK(a.in.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
	IS(0, listen(s, 5));
	a = local_of(s);
	c = OK(socket(AF_INET, SOCK_STREAM, 0));
	a.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	IS(0, connect(c, &a.sa, a.len));
	/* Its port is another one each time: not to be shown. */
	CHECK(close(OK(accept(s, NULL, NULL))) == 0);
	CHECK(close(s) == 0 && close(t) == 0 && close(c) == 0);
}

static int resvport_refused(void)
{
	int s = OK(socket(AF_INET, SOCK_STREAM, 0));

	CHECK(setuid(NOBODY) == 0);
	FAILS(EACCES, bindresvport(s, NULL));
	show_fd(s);
	return 0;
}

static void resvport_errors(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET6 };
	struct address a;
	int s = tcp_listener(&a), p[2];

	need_root();
	CHECK(pipe(p) == 0);
	FAILS(EBADF, bindresvport(-1, NULL));
	FAILS(EBADF, bindresvport(99, NULL));
	FAILS(ENOTSOCK, bindresvport(p[0], NULL));
	FAILS(EAFNOSUPPORT, bindresvport(OK(socket(AF_INET, SOCK_STREAM, 0)), &sin));
	FAILS(EINVAL, bindresvport(s, NULL));
	show_names(s);
	in_child(resvport_refused);
}

/* ---- pidfd_getfd ---- */

struct giver {
	pid_t pid;
	int pidfd, listener, wake;
	struct address address;
};

/* A child that listens and waits; the number of its listener is .listener. */
static struct giver start_giver(void)
{
	struct giver g = { 0 };
	pid_t pid;
	int p[2], up[2];
	char byte;

	CHECK(pipe(p) == 0 && pipe(up) == 0);
	pid = fork();
	if (pid == 0) {
		CHECK(close(p[1]) == 0);
		g.listener = tcp_listener(&g.address);
		CHECK(write(up[1], &g, sizeof(g)) == sizeof(g));
		_exit(read(p[0], &byte, 1) == 0 && !failed() ? 6 : 99);
	}
	CHECK(close(p[0]) == 0);
	CHECK(read(up[0], &g, sizeof(g)) == sizeof(g));
	CHECK(close(up[0]) == 0 && close(up[1]) == 0);
	g.pid = pid;
	g.wake = p[1];
	g.pidfd = pidfd_open(pid, 0);
	CHECK(g.pidfd >= 0);
	return g;
}

static void end_giver(const struct giver *g)
{
	CHECK(close(g->wake) == 0);
	show_end(g->pid);
}

static void getfd(void)
{
	struct giver g = start_giver();
	int fd, own = pidfd_open(getpid(), 0), t[2];

	fd = OK(pidfd_getfd(g.pidfd, g.listener, 0));
	show_fd(fd);
	CHECK(local_of(fd).in.sin_port == g.address.in.sin_port);
	tcp_connected(&g.address);
	OK(accept(fd, NULL, NULL));
	/* Not a socket; and one of our own. */
	show_fd(OK(pidfd_getfd(g.pidfd, 0, 0)));
	tcp_pair(t);
	fd = OK(pidfd_getfd(own, t[0], 0));
	IS(0, close(t[0]));
	put(fd, "by the copy");
	get(t[1], "by the copy");
	end_giver(&g);
	/* It is held here alone now. */
	tcp_connected(&g.address);
}

static void getfd_errors(void)
{
	struct giver g = start_giver();
	int p[2];

	CHECK(pipe(p) == 0);
	FAILS(EBADF, pidfd_getfd(-1, 0, 0));
	FAILS(EBADF, pidfd_getfd(p[0], 0, 0));
	FAILS(EBADF, pidfd_getfd(g.pidfd, 99, 0));
	FAILS(EBADF, pidfd_getfd(g.pidfd, -1, 0));
	FAILS(EINVAL, pidfd_getfd(g.pidfd, g.listener, 1));
	end_giver(&g);
	FAILS(ESRCH, pidfd_getfd(g.pidfd, g.listener, 0));
}

static int getfd_full(void)
{
	struct giver g = start_giver();
	struct rlimit few = { 10, 10 };

	CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
	while (dup(0) >= 0)
		;
	FAILS(EMFILE, pidfd_getfd(g.pidfd, g.listener, 0));
	CHECK(close(9) == 0);
	IS(9, pidfd_getfd(g.pidfd, g.listener, 0));
	show_fd(9);
	end_giver(&g);
	return 0;
}

static void getfd_emfile(void)
{
	in_child(getfd_full);
}

/* ---- daemon ---- */

#define STDOUT_KEPT 50

static int atfork_ran;

static void show_daemon(void)
{
	char cwd[64] = "";

	/* Where stdout has become /dev/null: its numbers are shown all the same. */
	for (int fd = 0; fd <= 2; fd++) {
		struct stat st;

		CHECK(fstat(fd, &st) == 0);
		dprintf(STDOUT_KEPT, "fd %d mode %o\n", fd, st.st_mode & S_IFMT);
	}
	CHECK(dup2(STDOUT_KEPT, 1) == 1);
	CHECK(getcwd(cwd, sizeof(cwd)) != NULL);
	say("%s, atfork %d\n", strcmp(cwd, "/") == 0 ? "in /" : "elsewhere", atfork_ran);
	CHECK(getsid(0) == getpid() && getppid() != getpid());
	show_fds("in the daemon");
	work();
}

/* `before` is run first; the daemon is waited for by a pipe that it holds. */
static void daemonize(void (*before)(void), int nochdir, int noclose)
{
	int p[2], go[2];
	char byte;
	pid_t pid;

	CHECK(pipe(p) == 0 && pipe(go) == 0);
	pid = fork();
	if (pid == 0) {
		CHECK(dup2(1, STDOUT_KEPT) == STDOUT_KEPT);
		CHECK(close(p[0]) == 0 && close(go[1]) == 0);
		if (before != NULL)
			before();
		errno = ERRNO_BEFORE;
		if (daemon(nochdir, noclose) == 0) {
			/* What it prints comes after the end of the first process has been shown. */
			CHECK(read(go[0], &byte, 1) == 1);
			show_daemon();
			put(p[1], failed() ? "bad." : "good");
			_exit(0);
		}
		_exit(98);
	}
	CHECK(close(p[1]) == 0 && close(go[0]) == 0);
	show_end(pid);
	put(go[1], "x");
	get(p[0], "good");
	get(p[0], "");
	CHECK(close(go[1]) == 0);
}

static void daemon_both(void)
{
	daemonize(NULL, 0, 0);
	daemonize(NULL, 1, 1);
}

static void before_daemon_sockets(void)
{
	struct address a;
	int s = tcp_listener(&a);

	CHECK(dup2(s, 0) == 0 && dup2(s, 1) == 1 && socket(AF_UNIX, SOCK_DGRAM, 0) > 2);
}

static void daemon_of_sockets(void)
{
	daemonize(before_daemon_sockets, 0, 0);
	daemonize(before_daemon_sockets, 0, 1);
}

static void before_daemon_none(void)
{
	CHECK(close(0) == 0);
	CHECK(socket(AF_INET, SOCK_STREAM, 0) == 0);
}

static void daemon_of_one(void)
{
	daemonize(before_daemon_none, 0, 0);
}

static int daemon_refused(void)
{
	forbid_forks();
	FAILS(EAGAIN, daemon(0, 0));
	/* Still the old process. */
	work();
	return 5;
}

static void daemon_fails(void)
{
	need_root();
	in_child(daemon_refused);
}

static void note_in_daemon(void)
{
	atfork_ran++;
}

static void before_daemon_atfork(void)
{
	CHECK(pthread_atfork(NULL, NULL, note_in_daemon) == 0);
}

static void daemon_atfork(void)
{
	daemonize(before_daemon_atfork, 1, 1);
}

/* ---- forkpty ---- */

/* All that comes until the other side is gone: then EIO. */
static void show_terminal(int master)
{
	char text[1024];
	size_t len = 0;
	ssize_t n;

	while (len < sizeof(text) - 1 && (n = read(master, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	say("on the terminal:\n%s", text);
}

static void forkpty_success(void)
{
	struct winsize size = { .ws_row = 7, .ws_col = 77 }, got;
	struct address a;
	char name[256] = "", *tty;
	int master = -1, s = tcp_listener(&a);
	pid_t pid;

	/* A socket at 0 is a terminal in the child and a socket still in the parent. */
	CHECK(dup2(s, 0) == 0);
	errno = ERRNO_BEFORE;
	pid = forkpty(&master, name, NULL, &size);
	if (pid < 0 && errno != ERRNO_BEFORE)
		skip("no terminals here");
	if (pid == 0) {
		tty = ttyname(0);
		CHECK(tty != NULL && strncmp(tty, "/dev/pts/", 9) == 0);
		CHECK(ioctl(0, TIOCGWINSZ, &got) == 0);
		say("%d%d%d %ux%u leader %d\n", isatty(0), isatty(1), isatty(2), got.ws_row, got.ws_col,
		    getsid(0) == getpid());
		show_fds("in the child");
		show_fd(s);
		_exit(work() + (failed() ? 99 : 8));
	}
	CHECK(strncmp(name, "/dev/pts/", 9) == 0);
	show_terminal(master);
	show_end(pid);
	show_fd(0);
	tcp_connected(&a);
	OK(accept(0, NULL, NULL));
}

static void forkpty_raw(void)
{
	struct termios raw = { .c_lflag = 0 };
	int master;
	pid_t pid;

	cfmakeraw(&raw);
	pid = forkpty(&master, NULL, &raw, NULL);
	if (pid < 0)
		skip("no terminals here");
	if (pid == 0) {
		/* No echo, and a line feed alone. */
		get(0, "typed");
		execl("/bin/sh", "sh", "-c", "echo from the shell; exit 3", (char *)NULL);
		_exit(98);
	}
	put(master, "typed");
	show_terminal(master);
	show_end(pid);
}

static int forkpty_refused(void)
{
	struct rlimit few = { 8, 8 };
	int master = 77, probe = posix_openpt(O_RDWR | O_NOCTTY);

	if (probe < 0)
		return 0;
	CHECK(close(probe) == 0);
	CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
	while (dup(0) >= 0)
		;
	FAILS(EMFILE, forkpty(&master, NULL, NULL, NULL));
	CHECK(close_range(3, 7, 0) == 0);
	forbid_forks();
	/* Not every machine lets others than root have a terminal. */
	CHECK(forkpty(&master, NULL, NULL, NULL) == -1);
	CHECK(master == 77);
	work();
	return 4;
}

static void forkpty_fails(void)
{
	need_root();
	in_child(forkpty_refused);
}

/* ---- clone ---- */

#define STACK_SIZE 65536u

static char stack[STACK_SIZE] __attribute__((aligned(16)));
#define TOP (stack + STACK_SIZE)

static int cloned_fd;
static volatile int in_memory;

static int clone_fork(void *arg)
{
	CHECK(arg == &cloned_fd);
	in_memory = 1;
	CHECK(close(cloned_fd) == 0);
	CHECK(socket(AF_INET, SOCK_STREAM, 0) == cloned_fd);
	CHECK(dup2(cloned_fd, 30) == 30);
	show_fds("in the child");
	work();
	return failed() ? 99 : 9;
}

static void clone_plain(void)
{
	struct address a;
	int pid;

	cloned_fd = tcp_listener(&a);
	errno = ERRNO_BEFORE;
	pid = clone(clone_fork, TOP, SIGCHLD, &cloned_fd);
	CHECK(pid > 0 && errno == ERRNO_BEFORE);
	show_end(pid);
	CHECK(in_memory == 0);
	show_fds("in the parent");
	tcp_connected(&a);
	OK(accept(cloned_fd, NULL, NULL));
}

static int clone_vfork(void *arg)
{
	in_memory = 1;
	if (close(cloned_fd) != 0 || socket(AF_INET, SOCK_STREAM, 0) != cloned_fd ||
	    dup2(cloned_fd, 30) != 30)
		return 98;
	return 10;
}

typedef int clone_fn(int (*fn)(void *), void *top, int flags, void *arg, ...);

static void vforked_by(clone_fn *call)
{
	struct address a;
	int pid;

	cloned_fd = tcp_listener(&a);
	errno = ERRNO_BEFORE;
	pid = call(clone_vfork, TOP, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
	CHECK(pid > 0);
	/* The memory is one, and the child was first. */
	CHECK(in_memory == 1);
	show_end(pid);
	show_fds("in the parent");
	tcp_connected(&a);
	OK(accept(cloned_fd, NULL, NULL));
}

static void clone_vforked(void)
{
	vforked_by(clone);
}

static void under_clone_vforked(void)
{
	vforked_by(__clone);
}

static int clone_exec(void *arg)
{
	char *argv[] = { self, (char *)"--child", (char *)"6", NULL };

	if (dup2(cloned_fd, 25) == 25)
		execv(self, argv);
	return 98;
}

static void clone_execs(void)
{
	cloned_fd = OK(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	show_end(clone(clone_exec, TOP, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL));
	show_end(clone(clone_exec, TOP, SIGCHLD, NULL));
	show_end(clone(clone_exec, TOP, CLONE_VFORK | SIGCHLD, NULL));
	show_fd(cloned_fd);
	show_fd(25);
}

/* Descriptors are the parent's too. */
static void clone_files(void)
{
	struct address a;
	int t[2];

	cloned_fd = tcp_listener(&a);
	show_end(clone(clone_fork, TOP, CLONE_FILES | SIGCHLD, &cloned_fd));
	show_fds("in the parent");
	IS(0, close(30));
	tcp_pair(t);
	put(t[0], "on");
	get(t[1], "on");
	CHECK(in_memory == 0);
}

static int clone_beside(void *arg)
{
	in_memory = dup(cloned_fd);
	return in_memory > 2 ? 11 : 98;
}

static void clone_memory(void)
{
	cloned_fd = OK(socket(AF_INET, SOCK_STREAM, 0));
	show_end(clone(clone_beside, TOP, CLONE_VM | SIGCHLD, NULL));
	CHECK(in_memory == cloned_fd + 1);
	show_fd(cloned_fd);
	show_fd(in_memory);
	work();
}

static atomic_int tid_of_thread;

static int clone_as_thread(void *arg)
{
	in_memory = 12;
	return 0;
}

static void clone_thread(void)
{
	int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_PARENT_SETTID |
		    CLONE_CHILD_CLEARTID;
	pid_t told = 0;
	int tid;

	tid_of_thread = 1;
	tid = clone(clone_as_thread, TOP, flags, NULL, &told, NULL, &tid_of_thread);
	CHECK(tid > 0 && told == tid);
	while (tid_of_thread != 0)
		sched_yield();
	CHECK(in_memory == 12);
	work();
}

static pid_t in_child_tid;

static int clone_told(void *arg)
{
	return in_child_tid == getpid() && getppid() == *(pid_t *)arg ? 13 : 98;
}

static void clone_pointers(void)
{
	pid_t own = getpid(), told = 0;
	int pid, pidfd = -1;

	pid = clone(clone_told, TOP, CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | SIGCHLD, &own, &told, NULL,
		    &in_child_tid);
	CHECK(pid > 0 && told == pid && in_child_tid == 0);
	show_end(pid);
	pid = clone(clone_told, TOP, CLONE_VM | CLONE_VFORK | CLONE_CHILD_SETTID | SIGCHLD, &own, NULL, NULL,
		    &in_child_tid);
	CHECK(in_child_tid == pid);
	show_end(pid);
	pid = clone(clone_told, TOP, CLONE_PIDFD | CLONE_CHILD_SETTID | SIGCHLD, &own, &pidfd, NULL,
		    &in_child_tid);
	CHECK(pid > 0 && fcntl(pidfd, F_GETFD) == FD_CLOEXEC);
	CHECK(waitid(P_PIDFD, (id_t)pidfd, NULL, WEXITED | WNOWAIT) == 0);
	show_end(pid);
}

static void clone_errors(void)
{
	FAILS(EINVAL, clone(NULL, TOP, SIGCHLD, NULL));
	FAILS(EINVAL, clone(clone_vfork, NULL, SIGCHLD, NULL));
	FAILS(EINVAL, clone(clone_vfork, TOP, CLONE_SIGHAND | SIGCHLD, NULL));
	FAILS(EINVAL, clone(clone_vfork, TOP, CLONE_THREAD | SIGCHLD, NULL));
	FAILS(EINVAL, clone(clone_vfork, TOP, CLONE_VM | CLONE_VFORK | CLONE_THREAD, NULL));
	CHECK(in_memory == 0);
	work();
}

static int clone_grandchild(void *arg)
{
	show_end(clone(clone_fork, stack + STACK_SIZE / 2, SIGCHLD, &cloned_fd));
	in_child(work);
	return failed() ? 99 : 14;
}

static void clone_nested(void)
{
	cloned_fd = OK(socket(AF_INET, SOCK_STREAM, 0));
	show_end(clone(clone_grandchild, TOP, SIGCHLD, NULL));
	in_child(work);
	show_fd(cloned_fd);
}

static int clone_elsewhere(void *arg)
{
	struct address a = ip4("0.0.0.0", 4711);
	int s = OK(socket(AF_INET, SOCK_STREAM, 0));

	IS(0, bind(s, &a.sa, a.len));
	IS(0, listen(s, 5));
	return failed() ? 99 : 15;
}

static void clone_network(void)
{
	need_root();
	cloned_fd = OK(socket(AF_INET, SOCK_STREAM, 0));
	show_end(clone(clone_elsewhere, TOP, CLONE_NEWNET | SIGCHLD, NULL));
	show_end(clone(clone_elsewhere, TOP, CLONE_NEWNET | CLONE_NEWNS | SIGCHLD, NULL));
	work();
}

/* ---- system ---- */

/* The program itself as a command; what it prints stands in the same order as ours. */
static const char *command(const char *status)
{
	static char text[4200];

	CHECK(snprintf(text, sizeof(text), "'%s' --child %s", self, status) > 0);
	return text;
}

static void system_success(void)
{
	struct address a;
	int s = tcp_listener(&a);

	OK(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	CHECK(chdir("/") == 0); /* the shell exports PWD */
	CHECK(TRY(system(NULL)) != 0);
	IS(0, system("exit 0"));
	IS(7 << 8, system("exit 7"));
	IS(127 << 8, system("exec /no/such/program 2>/dev/null"));
	IS(SIGTERM, system("kill $$"));
	IS(0, system(""));
	errno = ERRNO_BEFORE;
	say("%d\n", system(command("5")));
	show_fd(s);
	in_child(work);
}

static void show_environment(void)
{
	for (char **e = environ; e != NULL && *e != NULL; e++) {
		if (strncmp(*e, "PORTSHIM_", 9) != 0 && strncmp(*e, "LD_PRELOAD=", 11) != 0)
			say("  %s\n", *e);
	}
}

static int system_after_clearenv(void)
{
	CHECK(chdir("/") == 0);
	CHECK(clearenv() == 0);
	errno = ERRNO_BEFORE;
	say("%d\n", system(command("5")));
	CHECK(environ == NULL);
	CHECK(setenv("OWN", "after", 1) == 0);
	say("%d\n", system(command("6")));
	show_environment();
	return 2;
}

static void system_clearenv(void)
{
	in_child(system_after_clearenv);
}

static char *own_environ[] = { (char *)"ONLY=this", NULL };

/* environ is the program's own array, and stays it. */
static void system_environ(void)
{
	CHECK(chdir("/") == 0);
	environ = own_environ;
	say("%d\n", system(command("5")));
	CHECK(environ == own_environ && strcmp(environ[0], "ONLY=this") == 0 && environ[1] == NULL);
}

static atomic_int caught;

static void count_signal(int number)
{
	caught++;
}

static void system_signals(void)
{
	struct sigaction action = { .sa_handler = count_signal }, now;

	CHECK(sigaction(SIGCHLD, &action, NULL) == 0 && sigaction(SIGINT, &action, NULL) == 0);
	IS(3 << 8, system("exit 3"));
	say("%d\n", caught);
	/* Not for us while it runs, nor anybody's after. */
	IS(0, system("kill -INT $PPID; kill -QUIT $PPID"));
	say("%d\n", caught);
	IS(SIGINT, system("kill -INT $$"));
	CHECK(sigaction(SIGINT, NULL, &now) == 0 && now.sa_handler == count_signal);
	CHECK(sigaction(SIGQUIT, NULL, &now) == 0 && now.sa_handler == SIG_DFL);
	/* Nobody can be waited for. */
	signal(SIGCHLD, SIG_IGN);
	FAILS(ECHILD, system("exit 3"));
	work();
	signal(SIGCHLD, SIG_DFL);
	IS(4 << 8, system("exit 4"));
}

static sigjmp_buf out;

/* Not before the shell is there. */
static void leave(int number)
{
	if (access("started", F_OK) == 0)
		siglongjmp(out, 1);
}

static void take_environ(int number)
{
	environ = own_environ;
}

static void every_50_ms(void (*fn)(int))
{
	struct sigaction action = { .sa_handler = fn };
	struct itimerval timer = { { .tv_usec = 50000 }, { .tv_usec = 50000 } }, none = { 0 };

	if (fn != NULL)
		CHECK(sigaction(SIGALRM, &action, NULL) == 0);
	CHECK(setitimer(ITIMER_REAL, fn != NULL ? &timer : &none, NULL) == 0);
}

static void system_longjmp(void)
{
	CHECK(setenv("BEFORE", "1", 1) == 0);
	every_50_ms(leave);
	if (sigsetjmp(out, 1) == 0) {
		say("%d\n", system("echo >started; exec sleep 2"));
		CHECK(false);
	}
	every_50_ms(NULL);
	/* All goes on: environ, the shell that was left, another one. */
	show_environment();
	CHECK(strcmp(getenv("BEFORE"), "1") == 0);
	CHECK(setenv("AFTER", "2", 1) == 0 && unsetenv("BEFORE") == 0);
	/* glibc has ended the shell, if it had come as far as waiting for it. */
	while (waitpid(-1, NULL, 0) > 0)
		;
	work();
	for (int i = 0; i < 3; i++)
		IS(0, system("echo $BEFORE $AFTER"));
	show_environment();
	in_child(work);
	CHECK(clearenv() == 0);
	IS(0, system("echo $BEFORE $AFTER"));
}

/* What a handler does to environ meanwhile counts. */
static void system_environ_changed(void)
{
	CHECK(environ != own_environ);
	every_50_ms(take_environ);
	IS(0, system("sleep 0.3"));
	every_50_ms(NULL);
	CHECK(environ == own_environ);
	show_environment();
}

static void system_now(void *arg)
{
	for (int i = 0; i < 10; i++)
		CHECK(system("exit 3") == 3 << 8);
}

static void system_threads(void)
{
	struct thread t;

	many_threads(4, system_now);
	thread_start(&t, system_now, NULL);
	CHECK(thread_join(&t) == (void *)1);
	CHECK(chdir("/") == 0);
	CHECK(clearenv() == 0);
	say("%d\n", system(command("5")));
}

static void blocked_system(void *arg)
{
	system("echo >started; exec cat fifo");
}

/* A cancellation point, which ends the shell. */
static void system_cancel(void)
{
	struct thread t;

	CHECK(mkfifo("fifo", 0600) == 0);
	thread_start(&t, blocked_system, NULL);
	while (access("started", F_OK) != 0)
		usleep(1000);
	thread_wait_blocked(&t);
	IS(0, pthread_cancel(t.id));
	CHECK(thread_join(&t) == PTHREAD_CANCELED);
	CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
	IS(3 << 8, system("exit 3"));
}

static int system_refused(void)
{
	forbid_forks();
	IS(127 << 8, system("exit 3"));
	CHECK(popen("exit 3", "r") == NULL);
	show_fds("after");
	work();
	return 1;
}

static void system_fails(void)
{
	need_root();
	in_child(system_refused);
}

static void copy_into(const char *directory, const char *path)
{
	char text[8192];

	CHECK(snprintf(text, sizeof(text), "mkdir -p '%s'\"$(dirname '%s')\" && cp -L '%s' '%s%s'", directory,
		       path, path, directory, path) > 0);
	CHECK(system(text) == 0);
}

/* There is a shell there, but nothing of ours. */
static int system_in_jail(void)
{
	char line[512], *path;
	FILE *libraries = popen("ldd /bin/sh", "r");

	copy_into("jail", "/bin/sh");
	while (fgets(line, sizeof(line), libraries) != NULL) {
		path = strchr(line, '/');
		if (path == NULL || strstr(path, "libportshim.so") != NULL)
			continue;
		path[strcspn(path, " \n")] = '\0';
		copy_into("jail", path);
	}
	CHECK(pclose(libraries) == 0);
	CHECK(chroot("jail") == 0 && chdir("/") == 0);
	IS(5 << 8, system("echo in the jail; exit 5"));
	work();
	return 3;
}

static void system_chroot(void)
{
	need_root();
	in_child(system_in_jail);
}

/* ---- popen ---- */

static void show_stream(FILE *f)
{
	char line[256];

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		say("got %s", line);
}

static void popen_success(void)
{
	FILE *f, *g;
	struct address a;

	tcp_listener(&a);
	CHECK(chdir("/") == 0);
	errno = ERRNO_BEFORE;
	f = popen("echo to the program; exit 3", "r");
	CHECK(f != NULL && errno == ERRNO_BEFORE);
	show_stream(f);
	IS(3 << 8, pclose(f));
	f = popen("read -r x; echo \"read: $x\"; exit 4", "w");
	CHECK(fputs("from the program\n", f) >= 0);
	IS(4 << 8, pclose(f));
	/* Without "e" a later child would have the end of an earlier one, but for popen's own. */
	f = popen("cat", "w");
	g = popen(command("5"), "re");
	CHECK(fcntl(fileno(f), F_GETFD) == 0 && fcntl(fileno(g), F_GETFD) == FD_CLOEXEC);
	show_fds("with two of them");
	show_stream(g);
	IS(5 << 8, pclose(g));
	IS(0, pclose(f));
	in_child(work);
}

static int popen_after_clearenv(void)
{
	FILE *f;

	CHECK(chdir("/") == 0 && clearenv() == 0);
	f = popen(command("5"), "r");
	CHECK(environ == NULL);
	show_stream(f);
	IS(5 << 8, pclose(f));
	return 0;
}

static void popen_clearenv(void)
{
	in_child(popen_after_clearenv);
}

static void pclose_socket(void)
{
	FILE *f = popen("cat; exit 2", "w");
	struct address a;
	int listener = tcp_listener(&a), fd = fileno(f);

	IS(0, dup2(listener, fd) == fd ? 0 : -1);
	IS(2 << 8, pclose(f));
	FAILS(EBADF, fcntl(fd, F_GETFD));
	show_fds("with the listener left");
}

static FILE *no_stream(const char *text, const char *mode)
{
	FILE *f;

	errno = ERRNO_BEFORE;
	f = popen(text, mode);
	say("popen(\"%s\", \"%s\"): %s\n", text, mode, f != NULL ? "a stream" : strerrorname_np(errno));
	return f;
}

static void popen_errors(void)
{
	struct rlimit few = { 8, 8 };

	CHECK(no_stream("true", "") == NULL);
	CHECK(no_stream("true", "rw") == NULL);
	CHECK(no_stream("true", "x") == NULL);
	CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
	while (dup(0) >= 0)
		;
	CHECK(no_stream("true", "r") == NULL);
	CHECK(close_range(3, 7, 0) == 0);
	CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
	work();
}

static void popen_now(void *arg)
{
	for (int i = 0; i < 10; i++) {
		FILE *f = popen("echo x; exit 2", "re");
		char line[8];

		CHECK(fgets(line, sizeof(line), f) != NULL && strcmp(line, "x\n") == 0);
		CHECK(pclose(f) == 2 << 8);
	}
}

static void popen_threads(void)
{
	many_threads(4, popen_now);
}

/* ---- syslog ---- */

/*
 * A /dev of our own with nothing but what the shim's session and libc need, and the socket "log".  No
 * mount is made below the case's directory: what is there is removed at its end, whatever it is.
 */
static void own_dev(void)
{
	char shm[64];
	int fd = open("/dev/shm", O_PATH | O_DIRECTORY | O_CLOEXEC);

	need_root();
	if (fd < 0 || unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		skip("needs a mount namespace");
	CHECK(close(fd) == 0);
	fd = open("/dev/shm", O_PATH | O_DIRECTORY | O_CLOEXEC); /* of the new namespace */
	CHECK(mount("none", "/dev", "tmpfs", 0, "size=1m") == 0);
	snprintf(shm, sizeof(shm), "/proc/self/fd/%d", fd);
	CHECK(mkdir("/dev/shm", 01777) == 0 && mount(shm, "/dev/shm", NULL, MS_BIND, NULL) == 0);
	CHECK(mknod("/dev/null", S_IFCHR | 0666, 0x103) == 0);
	CHECK(close(fd) == 0);
}

/* Far from the numbers that the cases show. */
static int log_daemon(int type)
{
	struct address a = unix_path("/dev/log");
	int low = socket(AF_UNIX, type | SOCK_CLOEXEC, 0), high = fcntl(low, F_DUPFD_CLOEXEC, 100);

	CHECK(bind(low, &a.sa, a.len) == 0 && chmod("/dev/log", 0666) == 0);
	if (type == SOCK_STREAM)
		CHECK(listen(low, 5) == 0);
	CHECK(close(low) == 0);
	return high;
}

static void stop_daemon(int fd)
{
	CHECK(close(fd) == 0);
	CHECK(unlink("/dev/log") == 0);
}

/* Without what differs by itself: the time (15 characters) and our pid. */
static void show_message(char *text, const char *end)
{
	char own[16], *time = strchr(text, '>'), *pid, *rest = (char *)"";

	CHECK(time != NULL && strlen(time) > 17);
	if (time == NULL || strlen(time) <= 17)
		return;
	time[1] = '\0';
	snprintf(own, sizeof(own), "[%d]", getpid());
	pid = strstr(time + 17, own);
	if (pid != NULL) {
		rest = pid + strlen(own) - 1;
		pid[1] = '\0';
	}
	say("logged %s%s%s%s%s\n", text, time + 17, pid != NULL ? "PID" : "", rest, end);
}

/* All that has come.  On a stream each message ends with a NUL, and several may come at once. */
static void show_log(int fd)
{
	char text[1100];
	ssize_t n;

	while ((n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT)) > 0) {
		text[n] = '\0';
		for (ssize_t at = 0, len; at < n; at += len + 1) {
			len = (ssize_t)strlen(text + at);
			show_message(text + at, at + len < n ? "$" : "");
		}
	}
}

static void call_vsyslog(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void call_vsyslog(int priority, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsyslog(priority, format, ap);
	va_end(ap);
}

static void call_vsyslog_chk(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void call_vsyslog_chk(int priority, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	__vsyslog_chk(priority, 1, format, ap);
	va_end(ap);
}

static void call_syslog_chk(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void call_syslog_chk(int priority, const char *format, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	__syslog_chk(priority, 1, "%s", text);
}

typedef void log_fn(int priority, const char *format, ...);

static void log_all(log_fn *call, int type)
{
	int server, s, stream = -1;

	own_dev();
	server = log_daemon(type);
	errno = ERRNO_BEFORE;
	call(LOG_INFO, "number %d, %s, %c, %.3f", 42, "text", 'x', 1.5);
	CHECK(errno == ERRNO_BEFORE);
	show_fds("after the first");
	if (type == SOCK_STREAM)
		stream = fcntl(accept(server, NULL, NULL), F_DUPFD_CLOEXEC, 110);
	s = OK(socket(AF_INET, SOCK_STREAM, 0));
	openlog("ident", LOG_PID | LOG_NDELAY, LOG_LOCAL3);
	call(LOG_WARNING, "with ident and pid");
	openlog("ident", LOG_PERROR, LOG_LOCAL3);
	call(LOG_MAIL | LOG_ERR, "a facility of its own\n");
	show_log(type == SOCK_STREAM ? stream : server);
	closelog();
	show_fds("after closelog");
	call(LOG_INFO, "%s", "again");
	show_fds("after another");
	IS(0, close(s));
	closelog();
	closelog();
	work();
}

#define LOG_CASE(name, call, type)               \
	static void name(void)                   \
	{                                        \
		log_all((log_fn *)(call), type); \
	}

LOG_CASE(syslog_datagrams, syslog, SOCK_DGRAM)
LOG_CASE(syslog_stream, syslog, SOCK_STREAM)
LOG_CASE(vsyslog_datagrams, call_vsyslog, SOCK_DGRAM)
LOG_CASE(syslog_chk, call_syslog_chk, SOCK_DGRAM)
LOG_CASE(vsyslog_chk, call_vsyslog_chk, SOCK_DGRAM)

/* %m and the mask. */
static void syslog_errno(void)
{
	int server;

	own_dev();
	server = log_daemon(SOCK_DGRAM);
	openlog("ident", 0, LOG_USER);
	errno = ENOTEMPTY;
	syslog(LOG_INFO, "why: %m");
	CHECK(errno == ENOTEMPTY);
	errno = EADDRINUSE;
	__syslog_chk(LOG_INFO, 1, "why: %m");
	setlogmask(LOG_MASK(LOG_ERR));
	syslog(LOG_INFO, "masked");
	syslog(LOG_ERR, "not masked");
	syslog(LOG_INFO | 0x10000, "an unknown bit");
	show_log(server);
}

/* openlog(3): opened at once, or when the first message is to be sent. */
static void openlog_delay(void)
{
	int server;

	own_dev();
	server = log_daemon(SOCK_DGRAM);
	openlog(NULL, LOG_ODELAY, LOG_USER);
	show_fds("by LOG_ODELAY");
	openlog("now", LOG_NDELAY, LOG_USER);
	show_fds("by LOG_NDELAY");
	openlog("now", LOG_NDELAY, LOG_USER);
	show_fds("twice");
	syslog(LOG_INFO, "text");
	show_log(server);
	/* The program takes the descriptor away. */
	IS(0, close(3));
	syslog(LOG_INFO, "again");
	show_fds("after close");
	show_log(server);
}

static void syslog_restart(void)
{
	int server, u[2];

	own_dev();
	/* Nobody there, and no message on the console. */
	openlog("ident", 0, LOG_USER);
	syslog(LOG_INFO, "unheard");
	show_fds("without a daemon");
	server = log_daemon(SOCK_DGRAM);
	syslog(LOG_INFO, "first");
	show_log(server);
	unix_pair(u);
	stop_daemon(server);
	syslog(LOG_INFO, "unheard");
	show_fds("without a daemon");
	server = log_daemon(SOCK_DGRAM);
	syslog(LOG_INFO, "second");
	show_fds("after a restart");
	show_log(server);
	stop_daemon(server);
	server = log_daemon(SOCK_DGRAM);
	IS(0, close(u[0])); /* a lower number is free now */
	syslog(LOG_INFO, "third");
	show_fds("after another");
	show_log(server);
	closelog();
	stop_daemon(server);
}

static int syslog_child(void)
{
	syslog(LOG_INFO, "from the child");
	closelog();
	show_fds("in the child");
	syslog(LOG_INFO, "from the child again");
	return 4;
}

static void syslog_fork(void)
{
	int server;

	own_dev();
	server = log_daemon(SOCK_DGRAM);
	openlog("ident", 0, LOG_USER);
	syslog(LOG_INFO, "from the parent");
	in_child(syslog_child);
	syslog(LOG_INFO, "from the parent");
	show_fds("in the parent");
	show_log(server);
}

static void syslog_now(void *arg)
{
	for (int i = 0; i < 50; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		syslog(LOG_INFO, "text");
		if (i % 10 == 0)
			closelog();
		CHECK(close(fd) == 0);
	}
}

static void *drain(void *arg)
{
	char text[256];
	intptr_t n = 0;

	while (recv(*(int *)arg, text, sizeof(text), 0) > 1)
		n++;
	return (void *)n;
}

static void syslog_threads(void)
{
	struct address a = unix_path("/dev/log");
	pthread_t reader;
	void *n;
	int server, last;

	own_dev();
	server = log_daemon(SOCK_DGRAM);
	openlog("ident", 0, LOG_USER);
	CHECK(pthread_create(&reader, NULL, drain, &server) == 0);
	many_threads(4, syslog_now);
	last = socket(AF_UNIX, SOCK_DGRAM, 0);
	CHECK(sendto(last, "", 1, 0, &a.sa, a.len) == 1);
	CHECK(pthread_join(reader, &n) == 0 && close(last) == 0);
	say("%d messages\n", (int)(intptr_t)n);
	CHECK((intptr_t)n == 200);
	closelog();
}

/* ---- login_tty ---- */

static int log_in(void)
{
	int u[2], master, slave;

	CHECK(fcntl(1, F_DUPFD, 30) == 30);
	if (openpty(&master, &slave, NULL, NULL, NULL) != 0)
		return 7;
	unix_pair(u);
	CHECK(dup2(u[0], 0) == 0 && dup2(u[0], 1) == 1 && dup2(u[1], 2) == 2);
	errno = ERRNO_BEFORE;
	CHECK(login_tty(slave) == 0 && errno == ERRNO_BEFORE);
	/* What is said goes to the terminal now. */
	CHECK(isatty(0) && isatty(1) && isatty(2) && getsid(0) == getpid());
	CHECK(dup2(30, 1) == 1 && dup2(30, 2) == 2);
	show_fd(slave);
	show_fds("by a session's leader");
	return failed() ? 99 : 6;
}

static int log_in_badly(void)
{
	int p[2];

	CHECK(pipe(p) == 0);
	FAILS(EBADF, login_tty(-1));
	FAILS(ENOTTY, login_tty(p[0]));
	show_fds("after the error");
	return failed() ? 99 : 5;
}

static void login_success(void)
{
	in_child(log_in);
}

static void login_errors(void)
{
	in_child(log_in_badly);
}

/* ---- rresvport ---- */

static void reserved(int family, bool any_family)
{
	int port = IPPORT_RESERVED - 1, fd, second;
	struct address a;

	need_root();
	errno = ERRNO_BEFORE;
	fd = any_family ? rresvport_af(&port, (sa_family_t)family) : rresvport(&port);
	CHECK(fd >= 0);
	a = local_of(fd);
	CHECK(a.sa.sa_family == family && ntohs(a.in.sin_port) == port && is_reserved((unsigned)port));
	IS(0, listen(fd, 5));
	port--;
	second = any_family ? rresvport_af(&port, (sa_family_t)family) : rresvport(&port);
	CHECK(second == fd + 1 && ntohs(local_of(second).in.sin_port) == port);
	IS(0, close(fd));
	IS(0, close(second));
	work();
}

static void reserved_port(void)
{
	reserved(AF_INET, false);
}

static void reserved_port_of_family(void)
{
	reserved(AF_INET, true);
}

static int reserved_refused(void)
{
	int port = IPPORT_RESERVED - 1;

	CHECK(setuid(NOBODY) == 0);
	FAILS(EACCES, rresvport(&port));
	FAILS(EACCES, rresvport_af(&port, AF_INET));
	FAILS(EAFNOSUPPORT, rresvport_af(&port, AF_UNIX));
	show_fds("after the errors");
	return failed() ? 99 : 0;
}

static void reserved_errors(void)
{
	need_root();
	in_child(reserved_refused);
}

/* ---- rcmd, rexec ---- */

struct remote {
	int listener;
	bool by_reserved_port;
};

static void get_string(int fd, char text[static 64])
{
	size_t n = 0;

	while (n < 63 && read(fd, text + n, 1) == 1 && text[n] != '\0')
		n++;
	text[n] = '\0';
}

/* What rshd(8) and rexecd(8) do, with nothing executed. */
static void serve_remote(void *arg)
{
	const struct remote *remote = arg;
	int port = IPPORT_RESERVED - 1, fd = accept(remote->listener, NULL, NULL), second = -1;
	char strings[4][64];
	struct address a;

	get_string(fd, strings[0]);
	if (strings[0][0] != '\0') {
		a = ip4("127.0.0.1", (unsigned)atoi(strings[0]));
		second = remote->by_reserved_port ? rresvport(&port) : socket(AF_INET, SOCK_STREAM, 0);
		CHECK(connect(second, &a.sa, a.len) == 0);
	}
	for (int i = 1; i < 4; i++)
		get_string(fd, strings[i]);
	say("asked by %s, %s: %s\n", strings[1], strings[2], strings[3]);
	CHECK(write(fd, "", 1) == 1);
	put(fd, "output");
	if (second >= 0) {
		put(second, "errors");
		CHECK(close(second) == 0);
	}
	CHECK(close(fd) == 0);
}

typedef int remote_fn(char **host, unsigned short port, int *second);

static int by_rcmd(char **host, unsigned short port, int *second)
{
	return rcmd(host, port, "local", "remote", "command", second);
}

static int by_rcmd_af(char **host, unsigned short port, int *second)
{
	return rcmd_af(host, port, "local", "remote", "command", second, AF_INET);
}

static int by_rexec(char **host, unsigned short port, int *second)
{
	return rexec(host, port, "user", "password", "command", second);
}

static int by_rexec_af(char **host, unsigned short port, int *second)
{
	return rexec_af(host, port, "user", "password", "command", second, AF_INET);
}

static void remotely(remote_fn *call, bool by_reserved_port)
{
	char name[] = "127.0.0.1", *host;
	struct remote remote = { .by_reserved_port = by_reserved_port };
	struct thread t;
	struct address a;
	int fd, second;

	need_root();
	remote.listener = tcp_listener(&a);
	for (int i = 0; i < 2; i++) {
		host = name;
		second = -1;
		thread_start(&t, serve_remote, &remote);
		fd = call(&host, a.in.sin_port, i == 0 ? NULL : &second);
		CHECK(fd >= 0 && (second >= 0) == (i == 1) && strcmp(host, name) == 0);
		get(fd, "output");
		get(fd, "");
		if (second >= 0) {
			get(second, "errors");
			get(second, "");
			CHECK(close(second) == 0);
		}
		CHECK(close(fd) == 0);
		thread_join(&t);
	}
	IS(0, close(remote.listener));
	show_fds("at the end");
}

#define REMOTE_CASE(name, by_reserved_port)              \
	static void name##_case(void)                    \
	{                                                \
		remotely(by_##name, (by_reserved_port)); \
	}

REMOTE_CASE(rcmd, true)
REMOTE_CASE(rcmd_af, true)
REMOTE_CASE(rexec, false)
REMOTE_CASE(rexec_af, false)

/* ---- mq_notify ---- */

static _Atomic unsigned notified;

static void on_message(union sigval value)
{
	CHECK(value.sival_int == 42);
	notified++;
}

static void notify(void)
{
	struct mq_attr attr = { .mq_maxmsg = 2, .mq_msgsize = 8 };
	struct sigevent event = { .sigev_notify = SIGEV_THREAD,
				  .sigev_notify_function = on_message,
				  .sigev_value.sival_int = 42 };
	char name[64], got[8];
	mqd_t queue;

	snprintf(name, sizeof(name), "/portshim-%d", getpid());
	queue = mq_open(name, O_CREAT | O_EXCL | O_RDWR, 0600, &attr);
	if (queue < 0)
		skip("no message queues here");
	CHECK(mq_unlink(name) == 0);
	FAILS(EBADF, mq_notify(99, &event));
	for (unsigned i = 1; i <= 3; i++) {
		IS(0, mq_notify(queue, &event));
		FAILS(EBUSY, mq_notify(queue, &event));
		CHECK(mq_send(queue, "text", 5, 0) == 0);
		for (int waited = 0; notified < i && waited < 5000; waited++)
			usleep(1000);
		CHECK(notified == i && mq_receive(queue, got, sizeof(got), NULL) == 5);
	}
	event.sigev_notify = SIGEV_NONE;
	IS(0, mq_notify(queue, &event));
	IS(0, mq_notify(queue, NULL));
	IS(0, close(queue));
	work();
}

/* ---- names of hosts ---- */

/* Whatever the machine is called and whoever it would ask: these are numbers. */
static const struct in_addr loopback_address = { .s_addr = 0x0100007f };

static void addresses(void)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM },
			*found = NULL;

	IS(0, getaddrinfo("127.0.0.1", "80", &hints, &found));
	for (const struct addrinfo *a = found; a != NULL; a = a->ai_next)
		show_address("found", a->ai_addr, a->ai_addrlen);
	freeaddrinfo(found);
	IS(0, getaddrinfo("::1", NULL, NULL, &found));
	freeaddrinfo(found);
	IS(EAI_NONAME, getaddrinfo("no number", "80", &hints, &found));
	IS(EAI_NONAME, getaddrinfo(NULL, NULL, NULL, &found));
	show_fds("at the end");
}

static void names(void)
{
	struct address a = ip4("127.0.0.1", 80);
	char host[64], service[64];

	IS(0, getnameinfo(&a.sa, a.len, host, sizeof(host), service, sizeof(service),
			  NI_NUMERICHOST | NI_NUMERICSERV));
	say("%s %s\n", host, service);
	IS(EAI_OVERFLOW, getnameinfo(&a.sa, a.len, host, 2, NULL, 0, NI_NUMERICHOST));
	IS(EAI_FAMILY, getnameinfo(&a.sa, 1, host, sizeof(host), NULL, 0, NI_NUMERICHOST));
}

static void show_host(const struct hostent *h)
{
	CHECK(h != NULL);
	if (h != NULL)
		say("%s: family %d, %d bytes\n", h->h_name, h->h_addrtype, h->h_length);
}

static void host_by_name(void)
{
	show_host(gethostbyname("127.0.0.1"));
}

static void host_by_name2(void)
{
	show_host(gethostbyname2("127.0.0.1", AF_INET));
	show_host(gethostbyname2("::1", AF_INET6));
}

static void host_by_name_r(void)
{
	struct hostent host, *found = NULL;
	char buf[1024];
	int error;

	IS(0, gethostbyname_r("127.0.0.1", &host, buf, sizeof(buf), &found, &error));
	show_host(found);
	IS(ERANGE, gethostbyname_r("127.0.0.1", &host, buf, 8, &found, &error));
}

static void host_by_name2_r(void)
{
	struct hostent host, *found = NULL;
	char buf[1024];
	int error;

	IS(0, gethostbyname2_r("::1", AF_INET6, &host, buf, sizeof(buf), &found, &error));
	show_host(found);
	IS(ERANGE, gethostbyname2_r("::1", AF_INET6, &host, buf, 8, &found, &error));
}

static void host_by_address(void)
{
	const struct hostent *h = gethostbyaddr(&loopback_address, sizeof(loopback_address), AF_INET);

	say("%s\n", h != NULL ? h->h_name : "unknown");
	CHECK(gethostbyaddr(&loopback_address, 1, AF_INET) == NULL);
}

static void host_by_address_r(void)
{
	struct hostent host, *found = NULL;
	char buf[1024];
	int error;

	TRY(gethostbyaddr_r(&loopback_address, sizeof(loopback_address), AF_INET, &host, buf, sizeof(buf),
			    &found, &error));
	say("%s\n", found != NULL ? found->h_name : "unknown");
}

const struct test_case cases[] = {
	{ "login_tty", login_success },
	{ "login_tty/errors", login_errors },
	{ "rresvport", reserved_port },
	{ "rresvport/errors", reserved_errors },
	{ "rresvport_af", reserved_port_of_family },
	{ "rcmd", rcmd_case },
	{ "rcmd_af", rcmd_af_case },
	{ "rexec", rexec_case },
	{ "rexec_af", rexec_af_case },
	{ "mq_notify", notify },
	{ "getaddrinfo", addresses },
	{ "getnameinfo", names },
	{ "gethostbyname", host_by_name },
	{ "gethostbyname2", host_by_name2 },
	{ "gethostbyaddr", host_by_address },
	{ "gethostbyname_r", host_by_name_r },
	{ "gethostbyname2_r", host_by_name2_r },
	{ "gethostbyaddr_r", host_by_address_r },
	{ "bindresvport", resvport },
	{ "bindresvport/errors", resvport_errors },
	{ "pidfd_getfd", getfd },
	{ "pidfd_getfd/errors", getfd_errors },
	{ "pidfd_getfd/EMFILE", getfd_emfile },
	{ "daemon", daemon_both },
	{ "daemon/sockets at 0 to 2", daemon_of_sockets },
	{ "daemon/a socket at 0", daemon_of_one },
	{ "daemon/atfork", daemon_atfork },
	{ "daemon/fork fails", daemon_fails },
	{ "forkpty", forkpty_success },
	{ "forkpty/termios", forkpty_raw },
	{ "forkpty/fails", forkpty_fails },
	{ "clone", clone_plain },
	{ "clone/CLONE_VFORK", clone_vforked },
	{ "clone/exec", clone_execs },
	{ "clone/CLONE_FILES", clone_files },
	{ "clone/CLONE_VM", clone_memory },
	{ "clone/CLONE_THREAD", clone_thread },
	{ "clone/pointers", clone_pointers },
	{ "clone/nested", clone_nested },
	{ "clone/CLONE_NEWNET", clone_network },
	{ "clone/errors", clone_errors },
	{ "__clone", under_clone_vforked },
	{ "system", system_success },
	{ "system/clearenv", system_clearenv },
	{ "system/another environ", system_environ },
	{ "system/environ changed meanwhile", system_environ_changed },
	{ "system/signals", system_signals },
	{ "system/longjmp", system_longjmp },
	{ "system/threads", system_threads },
	{ "system/cancel", system_cancel },
	{ "system/fork fails", system_fails },
	{ "system/chroot", system_chroot },
	{ "popen", popen_success },
	{ "pclose", pclose_socket },
	{ "popen/clearenv", popen_clearenv },
	{ "popen/errors", popen_errors },
	{ "popen/threads", popen_threads },
	{ "openlog", openlog_delay },
	{ "syslog", syslog_datagrams },
	{ "syslog/stream", syslog_stream },
	{ "syslog/errno", syslog_errno },
	{ "syslog/restart", syslog_restart },
	{ "syslog/fork", syslog_fork },
	{ "syslog/threads", syslog_threads },
	{ "vsyslog", vsyslog_datagrams },
	{ "__syslog_chk", syslog_chk },
	{ "__vsyslog_chk", vsyslog_chk },
	{ "closelog", syslog_datagrams },
	{ NULL, NULL },
};
