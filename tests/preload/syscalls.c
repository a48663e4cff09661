/* SPDX-License-Identifier: MIT */
/* syscall: the numbers that are wrapped by name, and others, which must go through as they are. */
#include "cases.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define NOBODY 65534

/* ---- sockets ---- */

static int listener_by_number(struct address *a)
{
	int on = 1, s = OK(syscall(SYS_socket, AF_INET, SOCK_STREAM, 0));

	*a = ip4("127.0.0.1", 0);
	IS(0, syscall(SYS_setsockopt, s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
	IS(0, syscall(SYS_bind, s, &a->sa, a->len));
	IS(0, syscall(SYS_listen, s, 5));
	*a = local_of(s);
	return s;
}

/* Everything that needs a socket, by number. */
static int work(void)
{
	struct address a, from = { .len = sizeof(from.storage) };
	int s = listener_by_number(&a), c = OK(syscall(SYS_socket, AF_INET, SOCK_STREAM, 0)), t, u[2];

	IS(0, syscall(SYS_connect, c, &a.sa, a.len));
	t = OK(syscall(SYS_accept, s, &from.sa, &from.len));
	CHECK(from.len == sizeof(from.in) && from.in.sin_port == local_of(c).in.sin_port);
	put(c, "text");
	get(t, "text");
	IS(0, syscall(SYS_shutdown, c, SHUT_WR));
	get(t, "");
	IS(0, syscall(SYS_close, c));
	IS(0, syscall(SYS_close, t));
	IS(0, syscall(SYS_close, s));
	IS(0, syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, u));
	put(u[0], "pair");
	get(u[1], "pair");
	IS(0, syscall(SYS_close, u[0]));
	IS(0, syscall(SYS_close, u[1]));
	return 0;
}

static void sockets(void)
{
	struct address a;
	int s = listener_by_number(&a), t;

	work();
	tcp_connected(&a);
	t = OK(syscall(SYS_accept4, s, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
	show_fd(t);
	show_fd(s);
	/* What was made by number is closed by name, and the other way round. */
	IS(0, close(s));
	s = tcp_listener(&a);
	IS(0, syscall(SYS_close, s));
	FAILS(EBADF, close(s));
	FAILS(EBADF, syscall(SYS_close, s));
}

static void socket_errors(void)
{
	struct address a;
	int s = tcp_listener(&a), t, p[2], sv[2];

	CHECK(pipe(p) == 0);
	t = OK(socket(AF_INET, SOCK_STREAM, 0));
	FAILS(EAFNOSUPPORT, syscall(SYS_socket, 999, SOCK_STREAM, 0));
	FAILS(EOPNOTSUPP, syscall(SYS_socketpair, AF_INET, SOCK_STREAM, 0, sv));
	FAILS(EFAULT, syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, bad_pointer));
	FAILS(EBADF, syscall(SYS_bind, -1, &a.sa, a.len));
	FAILS(EADDRINUSE, syscall(SYS_bind, t, &a.sa, a.len));
	FAILS(EFAULT, syscall(SYS_bind, s, bad_pointer, a.len));
	FAILS(ENOTSOCK, syscall(SYS_listen, p[0], 5));
	FAILS(EBADF, syscall(SYS_accept, 99, NULL, NULL));
	FAILS(EINVAL, syscall(SYS_accept4, s, NULL, NULL, 0x7f));
	FAILS(ENOTSOCK, syscall(SYS_accept, p[0], NULL, NULL));
	FAILS(EISCONN, syscall(SYS_connect, s, &a.sa, a.len));
	FAILS(ENOTCONN, syscall(SYS_shutdown, t, SHUT_WR));
	CHECK(fcntl(s, F_SETFL, O_NONBLOCK) == 0);
	FAILS(EAGAIN, syscall(SYS_accept, s, NULL, NULL));
	FAILS(EFAULT, syscall(SYS_setsockopt, s, SOL_SOCKET, SO_REUSEADDR, bad_pointer, 4));
}

/* ---- descriptors ---- */

static void descriptors(void)
{
	struct address a;
	int s = tcp_listener(&a), t[2];

	IS(4, syscall(SYS_dup, s));
	IS(20, syscall(SYS_dup3, s, 20, O_CLOEXEC));
	IS(30, syscall(SYS_fcntl, s, F_DUPFD, 30));
	IS(31, syscall(SYS_fcntl, s, F_DUPFD_CLOEXEC, 30));
	IS(FD_CLOEXEC, syscall(SYS_fcntl, 31, F_GETFD));
	IS(0, syscall(SYS_fcntl, 31, F_SETFD, 0));
	IS(0, syscall(SYS_fcntl, s, F_SETFL, O_NONBLOCK));
	TRY(syscall(SYS_fcntl, s, F_GETFL));
	/* One socket over another. */
	tcp_pair(t);
#ifdef SYS_dup2
	IS(t[0], syscall(SYS_dup2, s, t[0]));
	IS(s, syscall(SYS_dup2, s, s));
	FAILS(EBADF, syscall(SYS_dup2, 99, s));
#else
	CHECK(dup2(s, t[0]) == t[0]);
#endif
	get(t[1], "");
	show_fds("with copies");
	IS(0, syscall(SYS_close_range, 30, 40, 0));
	IS(0, syscall(SYS_close_range, 20, 20, CLOSE_RANGE_CLOEXEC));
	FAILS(EINVAL, syscall(SYS_close_range, 5, 4, 0));
	FAILS(EBADF, syscall(SYS_dup, 99));
	FAILS(EINVAL, syscall(SYS_dup3, s, s, 0));
	FAILS(EBADF, syscall(SYS_dup3, 99, s, 0));
	FAILS(EBADF, syscall(SYS_fcntl, 99, F_DUPFD, 0));
	FAILS(EINVAL, syscall(SYS_fcntl, s, F_DUPFD, -1));
	FAILS(EBADF, syscall(SYS_fcntl, 99, F_GETFD));
	show_fd(s);
	tcp_connected(&a);
	OK(accept(t[0], NULL, NULL));
}

static int wake[2];

static void getfd(void)
{
	struct address a;
	int s, p[2], pidfd, fd;
	char byte;
	pid_t pid;

	CHECK(pipe(wake) == 0 && pipe(p) == 0);
	pid = fork();
	if (pid == 0) {
		s = tcp_listener(&a);
		CHECK(close(wake[1]) == 0 && dup2(s, 40) == 40);
		CHECK(write(p[1], &a, sizeof(a)) == sizeof(a));
		_exit(read(wake[0], &byte, 1) == 0 && !failed() ? 6 : 99);
	}
	CHECK(read(p[0], &a, sizeof(a)) == sizeof(a));
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	CHECK(pidfd >= 0);
	fd = OK(syscall(SYS_pidfd_getfd, pidfd, 40, 0));
	show_fd(fd);
	FAILS(EBADF, syscall(SYS_pidfd_getfd, pidfd, 99, 0));
	FAILS(EINVAL, syscall(SYS_pidfd_getfd, pidfd, 40, 1));
	tcp_connected(&a);
	OK(accept(fd, NULL, NULL));
	CHECK(close(wake[1]) == 0);
	show_end(pid);
}

/* ---- messages ---- */

struct rights {
	struct msghdr header;
	struct iovec iov;
	char byte;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
};

static void rights(struct rights *r, int fd)
{
	*r = (struct rights){ .byte = 'x', .iov = { .iov_len = 1 } };
	r->iov.iov_base = &r->byte;
	r->header = (struct msghdr){ .msg_iov = &r->iov,
				     .msg_iovlen = 1,
				     .msg_control = r->control.bytes,
				     .msg_controllen = sizeof(r->control.bytes) };
	r->control.align = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
					     .cmsg_type = SCM_RIGHTS,
					     .cmsg_len = CMSG_LEN(sizeof(fd)) };
	memcpy(CMSG_DATA(&r->control.align), &fd, sizeof(fd));
}

static int received(const struct rights *r)
{
	int fd = -1;

	CHECK(r->header.msg_controllen >= CMSG_LEN(sizeof(fd)));
	memcpy(&fd, CMSG_DATA(&r->control.align), sizeof(fd));
	return fd;
}

static void messages(void)
{
	struct address a;
	struct rights r;
	struct mmsghdr many;
	int s = tcp_listener(&a), u[2];

	unix_pair(u);
	rights(&r, s);
	IS(1, syscall(SYS_sendmsg, u[0], &r.header, 0));
	rights(&r, -1);
	IS(1, syscall(SYS_recvmsg, u[1], &r.header, MSG_CMSG_CLOEXEC));
	show_fd(received(&r));
	rights(&r, s);
	many = (struct mmsghdr){ .msg_hdr = r.header };
	IS(1, syscall(SYS_sendmmsg, u[0], &many, 1, 0));
	rights(&r, -1);
	many = (struct mmsghdr){ .msg_hdr = r.header };
	IS(1, syscall(SYS_recvmmsg, u[1], &many, 1, 0, NULL));
	CHECK(many.msg_len == 1);
	show_fd(received(&r));
	IS(0, syscall(SYS_close, s));
	tcp_connected(&a);
	OK(syscall(SYS_accept, received(&r), NULL, NULL));
	rights(&r, 99);
	FAILS(EBADF, syscall(SYS_sendmsg, u[0], &r.header, 0));
	FAILS(EFAULT, syscall(SYS_sendmsg, u[0], bad_pointer, 0));
	FAILS(EAGAIN, syscall(SYS_recvmsg, u[1], &r.header, MSG_DONTWAIT));
	FAILS(EAGAIN, syscall(SYS_recvmmsg, u[1], &many, 1, MSG_DONTWAIT, NULL));
	FAILS(EBADF, syscall(SYS_sendmmsg, -1, &many, 1, 0));
}

/* ---- calls that are nobody's business ---- */

static void others(void)
{
	long page = sysconf(_SC_PAGESIZE);
	char *text = malloc((size_t)page), *map;
	struct timespec soon = { .tv_sec = 5 };
	int file = open("file", O_RDWR | O_CREAT | O_CLOEXEC, 0644), word = 0;
	char name[16] = "";
	unsigned long slack;

	/* No, one, …, six arguments. */
	CHECK(syscall(SYS_getpid) == getpid() && syscall(SYS_gettid) == gettid());
	CHECK(syscall(SYS_getppid) == getppid());
	IS(0, syscall(SYS_umask, 022) == 022 ? 0 : -1);
	IS(6, syscall(SYS_write, STDOUT_FILENO, "write\n", 6));
	memset(text, 'a', (size_t)page);
	CHECK(syscall(SYS_write, file, text, page) == page);
	memset(text, 'b', (size_t)page);
	CHECK(syscall(SYS_pwrite64, file, text, page, page) == page);
	map = (char *)syscall(SYS_mmap, NULL, page, PROT_READ, MAP_PRIVATE, file, page);
	CHECK(map != MAP_FAILED && map[0] == 'b' && map[page - 1] == 'b');
	IS(0, syscall(SYS_munmap, map, page));
	FAILS(EAGAIN, syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 1, &soon, NULL, 0));
	IS(0, syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
	IS(0, syscall(SYS_fchmodat, AT_FDCWD, "file", 0600));
	IS(0, syscall(SYS_prctl, PR_SET_NAME, "a name", 0, 0, 0));
	IS(0, syscall(SYS_prctl, PR_GET_NAME, name, 0, 0, 0));
	CHECK(strcmp(name, "a name") == 0);
	/* More than an int comes back. */
	slack = 5000000000ul;
	IS(0, syscall(SYS_prctl, PR_SET_TIMERSLACK, slack, 0, 0, 0));
	IS(5000000000l, syscall(SYS_prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0));
	FAILS(ENOSYS, syscall(100000));
	FAILS(ENOSYS, syscall(-1));
	FAILS(ENOENT, syscall(SYS_openat, AT_FDCWD, "no such file", O_RDONLY, 0));
	FAILS(EBADF, syscall(SYS_read, -1, text, 1));
	FAILS(EFAULT, syscall(SYS_write, file, bad_pointer, 1));
	FAILS(EINVAL, syscall(SYS_prctl, -1, 1, 2, 3, 4));
	FAILS(EINVAL, syscall(SYS_mmap, NULL, 0, PROT_READ, MAP_PRIVATE, file, 0));
	FAILS(EINVAL, syscall(SYS_seccomp, 99, 0, NULL));
	free(text);
	CHECK(close(file) == 0);
}

/* ---- threads: syscall(2) is no cancellation point ---- */

static atomic_int passed;
static struct address waiting;
static int waiting_fd;

static void pending(void *arg)
{
	struct rights r;
	int s = socket(AF_INET, SOCK_STREAM, 0), u[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, u) == 0);
	rights(&r, s);
	CHECK(pthread_cancel(pthread_self()) == 0);
	CHECK(syscall(SYS_sendmsg, u[0], &r.header, 0) == 1);
	CHECK(syscall(SYS_recvmsg, u[1], &r.header, 0) == 1);
	CHECK(syscall(SYS_close, received(&r)) == 0);
	CHECK(syscall(SYS_connect, s, &waiting.sa, waiting.len) == 0);
	CHECK(syscall(SYS_close, syscall(SYS_accept, waiting_fd, NULL, NULL)) == 0);
	CHECK(syscall(SYS_accept4, -1, NULL, NULL, 0) == -1);
	CHECK(syscall(SYS_close, s) == 0 && syscall(SYS_close, u[0]) == 0 && syscall(SYS_close, u[1]) == 0);
	passed = 1;
	pthread_testcancel();
	passed = 2;
}

static void blocked(void *arg)
{
	int fd = (int)syscall(SYS_accept, waiting_fd, NULL, NULL);

	passed = syscall(SYS_close, fd) == 0 ? 3 : 4;
	pthread_testcancel();
	passed = 5;
}

static void cancel(void)
{
	struct thread t;

	waiting_fd = tcp_listener(&waiting);
	thread_start(&t, pending, NULL);
	CHECK(thread_join(&t) == PTHREAD_CANCELED);
	CHECK(passed == 1);
	thread_start(&t, blocked, NULL);
	thread_wait_blocked(&t);
	IS(0, pthread_cancel(t.id));
	thread_wait_blocked(&t);
	tcp_connected(&waiting);
	CHECK(thread_join(&t) == PTHREAD_CANCELED);
	CHECK(passed == 3);
}

static void churn(void *arg)
{
	for (int i = 0; i < 300; i++) {
		long fd = syscall(SYS_socket, AF_INET, SOCK_STREAM, 0), copy = syscall(SYS_dup, fd);

		CHECK(fd > 2 && copy > 2);
		CHECK(syscall(SYS_close, fd) == 0 && syscall(SYS_close, copy) == 0);
	}
}

static void threads(void)
{
	many_threads(4, churn);
}

static int handler_fd;

static void in_handler_now(void)
{
	long fd = syscall(SYS_dup, handler_fd);

	CHECK(fd > handler_fd && syscall(SYS_close, fd) == 0);
}

static void in_signal_handler(void)
{
	handler_fd = OK(socket(AF_INET, SOCK_STREAM, 0));
	in_handler(in_handler_now);
}

/* ---- processes ---- */

/* A fork: no stack of its own. */
static void clones(void)
{
	struct address a;
	int s = tcp_listener(&a), status = -1;
	long pid;

	errno = ERRNO_BEFORE;
	pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	CHECK(pid >= 0 && errno == ERRNO_BEFORE);
	if (pid == 0) {
		CHECK(syscall(SYS_close, s) == 0);
		work();
		in_child(work);
		show_fds("in the child");
		syscall(SYS_exit_group, failed() ? 99 : 256 + 7);
	}
	show_end((pid_t)pid);
	show_fds("in the parent");
	tcp_connected(&a);
	OK(accept(s, NULL, NULL));
#ifdef SYS_fork
	pid = syscall(SYS_fork);
	if (pid == 0) {
		char *argv[] = { self, (char *)"--child", (char *)"8", NULL };

		syscall(SYS_execve, self, argv, environ);
		_exit(98);
	}
	show_end((pid_t)pid);
#endif
	FAILS(EINVAL, syscall(SYS_clone, CLONE_SIGHAND | SIGCHLD, 0, 0, 0, 0));
	CHECK(syscall(SYS_wait4, -1, &status, 0, NULL) == -1 && errno == ECHILD);
}

static char *child_env[] = { (char *)"ONE=1", (char *)"PATH=/usr/bin:/bin", NULL };
static char *child_argv[] = { self, (char *)"--child", (char *)"5", (char *)"an argument", NULL };

static int by_execve(void)
{
	struct address a;

	tcp_listener(&a);
	OK(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	syscall(SYS_execve, self, child_argv, child_env);
	return 98;
}

static int by_execveat(void)
{
	int fd = open(self, O_RDONLY | O_CLOEXEC);
	struct address a;

	tcp_listener(&a);
	syscall(SYS_execveat, fd, "", child_argv, NULL, AT_EMPTY_PATH);
	return 98;
}

static void execs(void)
{
	pid_t pid;
	int s = OK(socket(AF_INET, SOCK_STREAM, 0));

	in_child(by_execve);
	in_child(by_execveat);
	FAILS(ENOENT, syscall(SYS_execve, "./no such program", child_argv, child_env));
	FAILS(EFAULT, syscall(SYS_execve, bad_pointer, child_argv, child_env));
	FAILS(EBADF, syscall(SYS_execveat, 99, "program", child_argv, child_env, 0));
	/* Whatever it leaves behind, it leaves in its parent's memory. */
	pid = vfork();
	if (pid == 0) {
		syscall(SYS_close, s);
		syscall(SYS_execve, self, child_argv, child_env);
		syscall(SYS_exit_group, 98);
	}
	show_end(pid);
	show_fd(s);
	cancel();
}

static int exits(void)
{
	OK(socket(AF_INET, SOCK_STREAM, 0));
	syscall(SYS_exit_group, 12);
	return 98;
}

static void thread_exits(void *arg)
{
	syscall(SYS_exit_group, 13);
}

static int exits_by_thread(void)
{
	struct thread t;

	thread_start(&t, thread_exits, NULL);
	thread_join(&t);
	return 98;
}

static int exits_alone(void)
{
	syscall(SYS_exit, 14);
	return 98;
}

static void exit_group(void)
{
	in_child(exits);
	in_child(exits_by_thread);
	in_child(exits_alone);
}

/* ---- confinement ---- */

static int in_jail(void)
{
	FAILS(ENOENT, syscall(SYS_chroot, "no such directory"));
	FAILS(EFAULT, syscall(SYS_chroot, bad_pointer));
	work();
	CHECK(mkdir("jail", 0755) == 0);
	IS(0, syscall(SYS_chroot, "jail"));
	CHECK(chdir("/") == 0);
	work();
	in_child(work);
	return 3;
}

static int elsewhere(void)
{
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	struct address a = ip4("0.0.0.0", 4711);
	int s;

	FAILS(EINVAL, syscall(SYS_unshare, 1));
	FAILS(EBADF, syscall(SYS_setns, 99, CLONE_NEWNET));
	IS(0, syscall(SYS_unshare, CLONE_NEWNET));
	s = OK(syscall(SYS_socket, AF_INET, SOCK_STREAM, 0));
	IS(0, syscall(SYS_bind, s, &a.sa, a.len));
	IS(0, syscall(SYS_setns, home, CLONE_NEWNET));
	work();
	in_child(work);
	return 4;
}

static void confinement(void)
{
	need_root();
	in_child(in_jail);
	in_child(elsewhere);
}

static int drops(void)
{
	IS(0, syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY));
	work();
	in_child(work);
	return 5;
}

/* Of this thread alone; libc's would be of all. */
static void setresuid_by_number(void)
{
	need_root();
	in_child(drops);
}

#if defined(__x86_64__)
#define AUDIT_ARCH_HERE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define AUDIT_ARCH_HERE AUDIT_ARCH_AARCH64
#endif

/* Any other system call kills the process. */
static void allow_only(const int *calls, unsigned n)
{
	struct sock_filter filter[64];
	struct sock_fprog program = { .filter = filter };
	unsigned short len = 0;

	filter[len++] =
		(struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
	filter[len++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_HERE, 1, 0);
	filter[len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	filter[len++] =
		(struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (unsigned i = 0; i < n; i++) {
		filter[len++] =
			(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i], 0, 1);
		filter[len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	filter[len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	program.len = len;
	FAILS(EFAULT, syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, bad_pointer));
	IS(0, syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	IS(0, syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
}
#define ALLOW_ONLY(...)                                                 \
	do {                                                            \
		static const int calls_[] = { __VA_ARGS__ };            \
		allow_only(calls_, sizeof(calls_) / sizeof(calls_[0])); \
	} while (0)

static int serves_in_sandbox(void)
{
	ALLOW_ONLY(SYS_accept4, SYS_close, SYS_dup, SYS_write, SYS_exit_group);
	for (int i = 0; i < 60; i++) {
		int fd = (int)syscall(SYS_accept4, waiting_fd, NULL, NULL, SOCK_CLOEXEC);

		CHECK(fd >= 0);
		CHECK(syscall(SYS_write, fd, "x", 1) == 1);
		CHECK(syscall(SYS_close, syscall(SYS_dup, fd)) == 0);
		CHECK(syscall(SYS_close, fd) == 0);
	}
	FAILS(EBADF, syscall(SYS_close, 99));
	syscall(SYS_exit_group, failed() ? 99 : 9);
	return 98;
}

static int forbidden(void)
{
	ALLOW_ONLY(SYS_write, SYS_exit_group);
	say("so far\n");
	syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
	return 98;
}

static int strict(void)
{
	work();
	FAILS(EINVAL, syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 1, NULL));
	IS(0, syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, NULL));
	say("only read, write and exit\n");
	syscall(SYS_exit, 3);
	return 98;
}

static int asks_only(void)
{
	uint32_t action = SECCOMP_RET_ERRNO;

	IS(0, syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action));
	work();
	return 2;
}

/* Without no_new_privs before: root may. */
static int filters_at_once(void)
{
	struct sock_filter allow[] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
	struct sock_fprog program = { .len = 1, .filter = allow };

	IS(0, syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program));
	work();
	in_child(work);
	syscall(SYS_execve, self, child_argv, child_env);
	return 98;
}

static void seccomp(void)
{
	waiting_fd = tcp_listener(&waiting);
	for (int i = 0; i < 60; i++)
		CHECK(tcp_connected(&waiting) > 0);
	in_child(serves_in_sandbox);
	in_child(forbidden);
	in_child(strict);
	in_child(asks_only);
}

static void seccomp_root(void)
{
	need_root();
	in_child(filters_at_once);
}

const struct test_case cases[] = {
	{ "syscall", sockets },
	{ "syscall/socket errors", socket_errors },
	{ "syscall/descriptors", descriptors },
	{ "syscall/pidfd_getfd", getfd },
	{ "syscall/messages", messages },
	{ "syscall/others", others },
	{ "syscall/cancel", cancel },
	{ "syscall/threads", threads },
	{ "syscall/handler", in_signal_handler },
	{ "syscall/clone", clones },
	{ "syscall/exec", execs },
	{ "syscall/exit_group", exit_group },
	{ "syscall/chroot and namespaces", confinement },
	{ "syscall/setresuid", setresuid_by_number },
	{ "syscall/seccomp", seccomp },
	{ "syscall/seccomp as root", seccomp_root },
	{ NULL, NULL },
};
