/* SPDX-License-Identifier: MIT */
/*
 * hazard NAME [ARG]...: one of the situations that break shims, see tests/cli/hazards.bats.  Prints what
 * the program itself sees, in the same words whenever it goes well, then "ready", and ends when stdin can be
 * read; its status is 0 then.  Whatever goes wrong is told and the status is 1.  Nothing waits for ever.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534
#define SECONDS_MAX 60

#define CHECK(x)                                                                                     \
	do {                                                                                         \
		if (!(x)) {                                                                          \
			fprintf(stderr, "hazard: line %d: %s: %s\n", __LINE__, #x, strerror(errno)); \
			_exit(1);                                                                    \
		}                                                                                    \
	} while (0)

static char *self;
static int handled; /* the descriptor that a handler, a thread or a child works on */

/* ---- what all are made of ---- */

static int stream(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	CHECK(fd >= 0);
	return fd;
}

static unsigned port_of(int fd)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);

	CHECK(getsockname(fd, (struct sockaddr *)&a, &len) == 0);
	return ntohs(a.sin_port);
}

static int listener(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = stream();

	CHECK(bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(fd, 128) == 0);
	return fd;
}

static int connected(int to)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons((uint16_t)port_of(to)),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = stream();

	CHECK(connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	return fd;
}

/* More records than the first chunks hold. */
static void churn(unsigned n)
{
	int fd = stream();

	for (unsigned i = 0; i < n; i++) {
		int copy = dup(fd);

		CHECK(copy >= 0 && close(copy) == 0);
	}
	CHECK(close(fd) == 0);
}

static void say_ready(void)
{
	puts("ready");
	fflush(stdout);
}

static int rest(void)
{
	char byte;

	say_ready();
	return read(STDIN_FILENO, &byte, 1) >= 0 ? 0 : 1;
}

static void wait_status(pid_t pid, int expected)
{
	int status;

	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == expected);
}

static void wait_child(pid_t pid)
{
	int status;

	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	if (status != 0)
		fprintf(stderr, "hazard: a child ends with 0x%x\n", (unsigned)status);
	CHECK(status == 0);
}

static void in_child(void (*run)(void))
{
	pid_t pid = fork();

	if (pid == 0) {
		run();
		_exit(0);
	}
	wait_child(pid);
}

/* A child that holds what it has, for as long as its parent is there. */
static void stay(void)
{
	CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
	alarm(SECONDS_MAX);
	pause();
}

static void churn_little(void)
{
	churn(30);
}

static void churn_much(void)
{
	churn(3000);
}

/* The numbers of the descriptors that are open, by asking for each. */
static void say_fds(void)
{
	for (int fd = 3; fd < 1024; fd++) {
		struct stat st;

		if (fstat(fd, &st) == 0)
			printf("%d%s ", fd, S_ISSOCK(st.st_mode) ? " socket" : "");
	}
	printf("open\n");
}

static void in_parallel(void *(*run)(void *), pthread_t *t)
{
	CHECK(pthread_create(t, NULL, run, NULL) == 0);
}

/* ---- descriptors ---- */

/* close(dup(s)); a file over a socket; numbers that libc closes by itself; ranges. */
static int descriptors(int argc, char **argv)
{
	int kept = listener(), s = listener(), file = open("/dev/null", O_RDONLY), pair[2], epoll, copy;
	struct epoll_event ev = { .events = EPOLLIN, .data.fd = 1 };
	FILE *stream_of;

	CHECK(close(dup(kept)) == 0);
	CHECK(fcntl(kept, F_DUPFD, 100) == 100 && fcntl(kept, F_DUPFD_CLOEXEC, 100) == 101);
	CHECK(dup3(kept, 102, O_CLOEXEC) == 102 && dup2(kept, kept) == kept);
	/* Over a listener, and a number that never was. */
	CHECK(dup2(file, s) == s && dup2(kept, 103) == 103 && dup2(file, 103) == 103);
	CHECK(dup2(999, 102) == -1 && errno == EBADF);
	/* fclose closes by a call of libc's own. */
	copy = dup(kept);
	stream_of = fdopen(copy, "r+");
	CHECK(stream_of != NULL && fclose(stream_of) == 0 && fcntl(copy, F_GETFD) == -1);
	/* syscall(2), as node does. */
	copy = dup(kept);
	CHECK(syscall(SYS_close, copy) == 0);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	for (int fd = 200; fd < 210; fd++)
		CHECK(dup2(pair[0], fd) == fd);
	CHECK(close_range(200, 204, 0) == 0);
	for (int fd = 205; fd < 2000; fd++)
		close(fd);
	/* The listener's registration outlives its number where a copy of it is open: epoll(7). */
	epoll = epoll_create1(EPOLL_CLOEXEC);
	copy = dup(kept);
	CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, copy, &ev) == 0 && close(copy) == 0);
	close(connected(kept));
	CHECK(epoll_wait(epoll, &ev, 1, 5000) == 1 && ev.data.fd == 1);
	CHECK(close(accept(kept, NULL, NULL)) == 0);
	CHECK(epoll_wait(epoll, &ev, 1, 0) == 0);
	say_fds();
	return rest();
}

/* Closes all that is not its own, as daemons do, and has files of its own at all those numbers. */
static int reused(int argc, char **argv)
{
	static const char pattern[] = "a file of the program's";
	char path[] = "/dev/shm/portshim-hazard-XXXXXX", got[sizeof(pattern)];
	int file = mkstemp(path), s = listener();
	struct stat st;

	CHECK(file >= 0 && unlink(path) == 0 && write(file, pattern, sizeof(pattern)) == sizeof(pattern));
	for (int fd = 3; fd < 256; fd++) {
		if (fd != file && fd != s)
			close(fd);
	}
	for (int fd = 3; fd < 256; fd++)
		CHECK(fd == file || fd == s || dup2(file, fd) == fd);
	churn(3000);
	in_child(churn_much);
	CHECK(pread(file, got, sizeof(got), 0) == sizeof(got) && memcmp(got, pattern, sizeof(got)) == 0);
	CHECK(fstat(file, &st) == 0 && st.st_size == sizeof(pattern));
	return rest();
}

/* ---- limits ---- */

static void churn_and_exec(void)
{
	churn_much();
	execl(self, self, "churn", "3000", (char *)NULL);
	CHECK(!"executed");
}

/* A new uid needs an arena that cannot be made now. */
static void churn_as_nobody(void)
{
	CHECK(setuid(NOBODY) == 0);
	churn_much();
}

/* RLIMIT_FSIZE=0: who grows a file is killed. */
static int fsize(int argc, char **argv)
{
	struct rlimit lim;

	listener();
	CHECK(getrlimit(RLIMIT_FSIZE, &lim) == 0);
	lim.rlim_cur = 0;
	CHECK(setrlimit(RLIMIT_FSIZE, &lim) == 0);
	churn_much();
	in_child(churn_and_exec);
	if (geteuid() == 0)
		in_child(churn_as_nobody);
	/* What it prints may go to a file. */
	lim.rlim_cur = lim.rlim_max;
	CHECK(setrlimit(RLIMIT_FSIZE, &lim) == 0);
	return rest();
}

/* RLIMIT_AS was set before: so much memory there was, and it must still be there.  Then there is none at
 * all, and then there is some again. */
static int as(int argc, char **argv)
{
	size_t mib = (size_t)atoi(argv[0]), size = 64 << 10, n = 0;
	char *p, *all[4096];

	listener();
	churn_much();
	p = malloc(mib << 20);
	CHECK(p != NULL);
	memset(p, 1, mib << 20);
	while (n < 4096 &&
	       (p = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) != MAP_FAILED)
		all[n++] = p;
	CHECK(p == MAP_FAILED);
	churn_much();
	while (n > 0)
		munmap(all[--n], size);
	/* No more often than it pays is a claim tried again. */
	churn_much();
	churn_much();
	return rest();
}

/* High numbers, of which our table has no room to know anything. */
static int no_table(int argc, char **argv)
{
	struct rlimit numbers = { 8192, 8192 }, memory, little = { 1 << 20, 1 << 20 };
	int s = listener();

	CHECK(getrlimit(RLIMIT_AS, &memory) == 0 && setrlimit(RLIMIT_NOFILE, &numbers) == 0);
	little.rlim_max = memory.rlim_max;
	CHECK(setrlimit(RLIMIT_AS, &little) == 0);
	for (int fd = 3000; fd < 3008; fd++)
		CHECK(dup2(s, fd) == fd);
	CHECK(setrlimit(RLIMIT_AS, &memory) == 0);
	CHECK(close(3000) == 0 && dup2(STDIN_FILENO, 3001) == 3001 && syscall(SYS_close, 3002) == 0);
	CHECK(dup2(3003, s) == s && close_range(3004, 3005, 0) == 0);
	return rest();
}

static int fill_fds(int fd)
{
	int n = 0;

	while (dup(fd) >= 0)
		n++;
	CHECK(errno == EMFILE);
	return n;
}

static void dup_at_the_limit(void)
{
	for (int i = 0; i < 300; i++)
		CHECK(close(31) == 0 && dup(handled) == 31);
}

/* No descriptor is to be had: chunks are claimed, children are born, and a new image starts. */
static int nofile(int argc, char **argv)
{
	const struct rlimit lim = { 32, 32 };
	int s = listener();

	CHECK(setrlimit(RLIMIT_NOFILE, &lim) == 0);
	fill_fds(s);
	CHECK(socket(AF_INET, SOCK_STREAM, 0) == -1 && errno == EMFILE);
	CHECK(accept(s, NULL, NULL) == -1 && errno == EMFILE);
	for (int i = 0; i < 3000; i++)
		CHECK(close(31) == 0 && dup(s) == 31);
	handled = s;
	in_child(dup_at_the_limit);
	say_fds();
	return rest();
}

/* What is mapped is also there from now on. */
static int locked(int argc, char **argv)
{
	listener();
	CHECK(mlockall(MCL_CURRENT | MCL_FUTURE) == 0);
	churn(3000);
	return rest();
}

static int churning(int argc, char **argv)
{
	churn((unsigned)atoi(argv[0]));
	return 0;
}

/* ---- identity ---- */

/* chroot to an empty directory, then nobody: what was, and what is new, is known. */
static int jail(int argc, char **argv)
{
	pid_t pid;

	listener();
	CHECK(chroot(argv[0]) == 0 && chdir("/") == 0);
	listener();
	churn(300);
	CHECK(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
	listener();
	/* A directory left open would be the way out. */
	say_fds();
	pid = fork();
	if (pid == 0) {
		listener();
		stay();
	}
	printf("child %d\n", (int)pid);
	return rest();
}

/* A server that is another user for each request. */
static int euid(int argc, char **argv)
{
	listener();
	for (int i = 0; i < 3000; i++) {
		CHECK(i % 2 == 0 ? setresuid((uid_t)-1, NOBODY, (uid_t)-1) == 0 : seteuid(NOBODY) == 0);
		churn(5);
		CHECK(i % 2 == 0 ? seteuid(0) == 0 : setresuid((uid_t)-1, 0, (uid_t)-1) == 0);
		churn(1);
	}
	return rest();
}

/* Where nothing may be looked at any more: plain connections, more than any reserve holds. */
static int connects(int argc, char **argv)
{
	int s = listener(), kept;

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	kept = stream();
	for (int i = 0; i < 3000; i++) {
		int fd = connected(s), got = accept4(s, NULL, NULL, SOCK_CLOEXEC);

		CHECK(got >= 0 && shutdown(fd, SHUT_WR) == 0 && close(fd) == 0 && close(got) == 0);
	}
	CHECK(listen(kept, 5) == 0);
	return rest();
}

/* The same, closed many at once. */
static int ranges(int argc, char **argv)
{
	int kept, s;

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	kept = listener();
	s = listener();
	CHECK(s > kept && listener() > s && close_range((unsigned)s, ~0u, 0) == 0);
	CHECK(listener() == s);
#ifdef __GLIBC__
	closefrom(s);
#else
	close(s);
#endif
	CHECK(fcntl(s, F_GETFD) == -1);
	return rest();
}

static void *close_own_range(void *flags)
{
	CHECK(close_range(3, ~0u, (int)(intptr_t)flags) == 0);
	return NULL;
}

/* A thread closes all, or marks it, in a table of its own; then, with no other thread left, so does the
 * first. */
static int unshares(int argc, char **argv)
{
	int flags[] = { CLOSE_RANGE_UNSHARE, CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC };
	struct stat st;
	pthread_t t;
	int s = listener();
	unsigned other;

	for (unsigned i = 0; i < 2; i++) {
		CHECK(pthread_create(&t, NULL, close_own_range, (void *)(intptr_t)flags[i]) == 0);
		CHECK(pthread_join(t, NULL) == 0);
		CHECK(fcntl(s, F_GETFD) == 0);
	}
	/* They end for pthread_join(3) before they do for proc(5). */
	for (int i = 0; i < 1000 && stat("/proc/self/task", &st) == 0 && st.st_nlink > 3; i++)
		usleep(1000);
	other = (unsigned)listener();
	CHECK(close_range(other, other, CLOSE_RANGE_UNSHARE) == 0);
	return rest();
}

#if defined(__x86_64__)
#define AUDIT_ARCH_HERE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define AUDIT_ARCH_HERE AUDIT_ARCH_AARCH64
#endif

static void allow_only(const int *calls, unsigned n)
{
	struct sock_filter f[32] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_HERE, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	};
	struct sock_fprog program = { .filter = f };
	unsigned short len = 4;

	for (unsigned i = 0; i < n; i++) {
		f[len++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i], 0, 1);
		f[len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	f[len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	program.len = len;
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

/* Has the kernel answer MADV_POPULATE_WRITE so, to the command and all below it. */
static int refused(int argc, char **argv)
{
	const unsigned error = (unsigned)atoi(argv[0]);
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 23, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = sizeof(f) / sizeof(f[0]), .filter = f };

	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
	execvp(argv[1], argv + 1);
	return 1;
}

/* Any system call but these kills it.  500 connections need more chunks than one. */
static int sandbox(int argc, char **argv)
{
	static const int calls[] = { SYS_accept4, SYS_close,	  SYS_write,
				     SYS_read,	  SYS_exit_group, SYS_clock_gettime };
	int s = listener(), to_child[2];
	char byte = 0;
	pid_t pid;

	CHECK(pipe(to_child) == 0);
	printf("%u\n", port_of(s));
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		allow_only(calls, sizeof(calls) / sizeof(calls[0]));
		for (int i = 0; i < 500; i++) {
			int fd = accept4(s, NULL, NULL, SOCK_CLOEXEC);

			if (fd < 0 || write(fd, "x", 1) != 1 || close(fd) != 0)
				_exit(1);
		}
		if (read(to_child[0], &byte, 1) != 1)
			_exit(1);
		_exit(0);
	}
	for (int i = 0; i < 500; i++) {
		int fd = connected(s);

		CHECK(read(fd, &byte, 1) == 1 && byte == 'x' && close(fd) == 0);
	}
	printf("child %d\n", (int)pid);
	if (rest() != 0)
		return 1;
	CHECK(write(to_child[1], "x", 1) == 1);
	wait_child(pid);
	return 0;
}

/* ---- threads and signals ---- */

static volatile sig_atomic_t ticks;

static void on_tick(int sig)
{
	int saved = errno, copy = dup(handled);

	if (copy >= 0)
		close(copy);
	ticks++;
	errno = saved;
}

/* In tests/helpers/lib/interrupting.c. */
extern int interrupt_with __attribute__((weak));

static int in_the_way_of; /* the number that the next call closes, which nobody has yet */

static void copy_in_the_way(int sig)
{
	int saved = errno;

	interrupt_with = 0;
	fcntl(handled, F_DUPFD, in_the_way_of);
	errno = saved;
}

static int interrupt_next(int fd)
{
	in_the_way_of = fd;
	interrupt_with = SIGUSR2;
	return fd;
}

static bool is_closed(int fd)
{
	return interrupt_with == 0 && fcntl(fd, F_GETFD) == -1;
}

/* What a handler opens between our word and the kernel's deed is closed with the rest. */
static int in_the_way(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = copy_in_the_way };
	int file = open("/dev/null", O_RDONLY), fd;
	FILE *of;
	pid_t pid;

	CHECK(&interrupt_with != NULL && sigaction(SIGUSR2, &sa, NULL) == 0);
	handled = listener();
#ifdef __GLIBC__ /* musl has none */
	fd = interrupt_next(500);
	closefrom(fd);
	CHECK(is_closed(fd));
#endif
	fd = interrupt_next(300);
	CHECK(close_range((unsigned)fd, (unsigned)fd + 9, 0) == 0 && is_closed(fd));
	/* The same where there is something to record. */
	CHECK(dup2(handled, 311) == 311);
	fd = interrupt_next(310);
	CHECK(close_range((unsigned)fd, (unsigned)fd + 9, 0) == 0 && is_closed(fd));
	fd = interrupt_next(320);
	CHECK(close(fd) == 0 && is_closed(fd));
	fd = interrupt_next(330);
	CHECK(dup2(file, fd) == fd && interrupt_with == 0);
	of = fdopen(dup(file), "r");
	CHECK(of != NULL && close(fileno(of)) == 0);
	interrupt_next(fileno(of));
	CHECK(freopen("/dev/null", "r", of) == of && interrupt_with == 0);
	pid = fork();
	if (pid == 0)
		stay();
	printf("child %d\n", (int)pid);
	return rest();
}

/* A handler comes at any instruction of a wrapper, and calls the same wrappers. */
static int signals(int argc, char **argv)
{
	const struct itimerval often = { { 0, 200 }, { 0, 200 } }, never = { { 0, 0 }, { 0, 0 } };
	struct sigaction sa = { .sa_handler = on_tick, .sa_flags = SA_RESTART };

	handled = listener();
	CHECK(sigaction(SIGALRM, &sa, NULL) == 0 && setitimer(ITIMER_REAL, &often, NULL) == 0);
	for (int i = 0; ticks < 1000; i++) {
		int s = stream();

		CHECK(s >= 0 && close(s) == 0);
		if (i % 1000 == 0)
			in_child(churn_little);
	}
	CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
	return rest();
}

static void *accepting(void *unused)
{
	int fd = accept(handled, NULL, NULL);

	return (void *)(intptr_t)(fd >= 0 ? fd : -1);
}

/* proc(5), syscall: the number of the call that a blocked thread is in. */
static bool blocks_in_accept(const char *tid)
{
	char path[300], text[32] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%s/syscall", tid);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return false;
	CHECK(read(fd, text, sizeof(text) - 1) > 0 && close(fd) == 0);
	return atoi(text) == SYS_accept || atoi(text) == SYS_accept4;
}

static void wait_blocked(void)
{
	bool blocked = false;

	for (int i = 0; i < 5000 && !blocked; i++) {
		DIR *d = opendir("/proc/self/task");
		struct dirent *e;

		CHECK(d != NULL);
		while ((e = readdir(d)) != NULL)
			blocked |= blocks_in_accept(e->d_name);
		closedir(d);
		usleep(1000);
	}
	CHECK(blocked);
}

/* No lock is held over accept; it stays a cancellation point; forks beside it are right. */
static int cancel(int argc, char **argv)
{
	pthread_t t;
	void *result;
	pid_t pid;
	int fd;

	handled = listener();
	in_parallel(accepting, &t);
	wait_blocked();
	churn(300);
	pid = fork();
	if (pid == 0) {
		listener();
		stay();
	}
	CHECK(pthread_cancel(t) == 0 && pthread_join(t, &result) == 0 && result == PTHREAD_CANCELED);
	close(connected(handled));
	fd = accept(handled, NULL, NULL);
	CHECK(fd >= 0);
	printf("child %d\n", (int)pid);
	return rest();
}

static atomic_bool enough;

static void *busy(void *unused)
{
	while (!enough)
		churn(10);
	return NULL;
}

/* Forks while other threads are in the middle of wrappers: a lock held then would hang the child. */
static int forks(int argc, char **argv)
{
	pthread_t t[4];

	listener();
	for (int i = 0; i < 4; i++)
		in_parallel(busy, &t[i]);
	for (int i = 0; i < 200; i++)
		in_child(churn_little);
	enough = true;
	for (int i = 0; i < 4; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	return rest();
}

/* ---- handlers beside forks ---- */

static volatile sig_atomic_t forked = -1;

static void open_in_handler(int sig)
{
	handled = stream();
}

static void fork_in_handler(int sig)
{
	if (forked < 0)
		forked = fork();
}

static void interrupt_once(void)
{
	static bool done;

	if (!done && (done = true))
		raise(SIGUSR2);
}

/* A handler of the parent's that runs before vfork is back opens a socket of the parent's; and one forks in
 * the middle of a fork: its child goes on with that fork too. */
static int handlers(int argc, char **argv)
{
	struct sigaction opens = { .sa_handler = open_in_handler }, forks = { .sa_handler = fork_in_handler };
	pid_t parent = getpid(), pid;

	listener();
	CHECK(sigaction(SIGUSR1, &opens, NULL) == 0 && sigaction(SIGUSR2, &forks, NULL) == 0);
	pid = vfork();
	if (pid == 0)
		_exit(kill(parent, SIGUSR1));
	wait_child(pid);
	CHECK(handled > 0 && pthread_atfork(interrupt_once, NULL, NULL) == 0);
	pid = fork();
	CHECK(pid >= 0 && forked >= 0);
	if (getpid() != parent) {
		listener();
		stay();
	}
	return rest();
}

static void end_in_child(int status)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(status);
	wait_status(pid, status);
}

/* A handler forks in the middle of accept, and its child goes on there: what is in flight in it is counted
 * from then on. */
static int accepts_on(int argc, char **argv)
{
	const struct itimerval often = { { 0, 20000 }, { 0, 20000 } }, never = { { 0, 0 }, { 0, 0 } };
	struct sigaction forks = { .sa_handler = fork_in_handler };
	pthread_t t;

	handled = listener();
	CHECK(sigaction(SIGALRM, &forks, NULL) == 0 && setitimer(ITIMER_REAL, &often, NULL) == 0);
	while (forked < 0)
		CHECK(accept(handled, NULL, NULL) == -1 && errno == EINTR);
	CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
	if (forked > 0) {
		wait_child(forked);
		return rest();
	}
	end_in_child(11);
	in_parallel(accepting, &t);
	wait_blocked();
	end_in_child(12);
	_exit(0);
}

/* Ended by a status of its own: it tells which one it was. */
static void fork_by_number(int status)
{
	long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (pid == 0) {
		close(dup(STDIN_FILENO));
		_exit(status);
	}
	wait_status((pid_t)pid, status);
}

static void *number_in_parallel(void *unused)
{
	fork_by_number(12);
	return NULL;
}

/* A young child, in its first thread and in another, forks by number. */
static void forks_by_number(void)
{
	pthread_t t;

	in_parallel(number_in_parallel, &t);
	CHECK(pthread_join(t, NULL) == 0);
	fork_by_number(11);
}

static void call_in_child(void)
{
	close(dup(STDIN_FILENO));
}

/* As in_child(), by a fork inside libc. */
static void in_terminal(void (*run)(void))
{
	int master;
	pid_t pid = forkpty(&master, NULL, NULL, NULL);

	if (pid == 0) {
		run();
		_exit(0);
	}
	wait_child(pid);
	close(master);
}

/* Forks by number, in the middle of a fork too, whose child is first in a handler of the program's. */
static int numbers(int argc, char **argv)
{
	listener();
	in_child(forks_by_number);
	CHECK(pthread_atfork(forks_by_number, NULL, call_in_child) == 0);
	in_child(call_in_child);
	in_terminal(call_in_child);
	return rest();
}

/* A vfork child closes what is its parent's too, on its parent's memory. */
static int vforked(int argc, char **argv)
{
	int s = listener();
	pid_t pid = vfork();

	if (pid == 0) {
		close(s);
		execl(self, self, "churn", "3", (char *)NULL);
		_exit(1);
	}
	wait_child(pid);
	return rest();
}

/* No header declares it, and it is glibc's alone. */
int __clone(int (*fn)(void *), void *stack, int flags, void *arg, ...) __attribute__((weak));

static int close_and_exec(void *arg)
{
	close(*(int *)arg);
	execl(self, self, "churn", "3", (char *)NULL);
	return 1;
}

/* The same by the other public name of clone(2). */
static int cloned(int argc, char **argv)
{
	static char stack_of_child[65536] __attribute__((aligned(16)));
	int s = listener();

	CHECK(__clone != NULL);
	wait_child(__clone(close_and_exec, stack_of_child + sizeof(stack_of_child),
			   CLONE_VM | CLONE_VFORK | SIGCHLD, &s));
	return rest();
}

/* Listens, and becomes another image, which accepts. */
static int image(int argc, char **argv)
{
	int s = listener();

	CHECK(dup2(s, 9) == 9 && close(s) == 0);
	execl(self, self, "accept", "9", (char *)NULL);
	return 1;
}

static int accept_on(int argc, char **argv)
{
	int s = atoi(argv[0]);

	close(connected(s));
	CHECK(close(accept(s, NULL, NULL)) == 0);
	return rest();
}

/* ---- hostile ---- */

/* Writes noise over all that it has of the log, again and again, and tries to cut the files of others. */
static int scribble(int argc, char **argv)
{
	unsigned seed = 1, mapped = 0;

	if (argc > 0)
		CHECK(setuid((uid_t)atoi(argv[0])) == 0);
	listener();
	churn(300);
	for (int i = 1; i < argc; i++) {
		CHECK(truncate(argv[i], 0) == -1 && open(argv[i], O_RDWR) == -1 &&
		      open(argv[i], O_RDONLY) == -1);
		CHECK(unlink(argv[i]) == -1);
	}
	for (int round = 0; round < 100; round++) {
		FILE *maps = fopen("/proc/self/maps", "r");
		char line[512];
		unsigned long from, to;

		CHECK(maps != NULL);
		while (fgets(line, sizeof(line), maps) != NULL) {
			if (strstr(line, "/arena.") == NULL || strstr(line, " rw-s ") == NULL ||
			    sscanf(line, "%lx-%lx", &from, &to) != 2)
				continue;
			mapped++;
			for (uint32_t *p = (uint32_t *)from; p < (uint32_t *)to; p++)
				*p = (uint32_t)rand_r(&seed) * 2654435761u;
		}
		CHECK(fclose(maps) == 0);
		/* Its own wrappers go on, on what is there now. */
		churn(30);
		in_child(churn_little);
	}
	printf("%s\n", mapped > 0 ? "scribbled" : "nothing there");
	return rest();
}

/* Works once it is told to, then once more; ready both times. */
static int late(int argc, char **argv)
{
	char byte;

	listener();
	say_ready();
	CHECK(read(STDIN_FILENO, &byte, 1) == 1);
	churn_much();
	in_child(churn_and_exec);
	in_child(churn_much);
	puts("done");
	return rest();
}

/* Makes listeners once it is told to; then, told once more, finds nothing to accept again and again. */
static int late_count(int argc, char **argv)
{
	int s = listener();
	char byte;

	CHECK(fcntl(s, F_SETFL, O_NONBLOCK) == 0);
	say_ready();
	CHECK(read(STDIN_FILENO, &byte, 1) == 1);
	churn_much();
	for (int i = 0; i < 10; i++)
		listener();
	say_ready();
	CHECK(read(STDIN_FILENO, &byte, 1) == 1);
	for (int i = 0; i < 10000; i++)
		CHECK(accept(s, NULL, NULL) == -1 && errno == EAGAIN);
	return rest();
}

/* The number that the first socket gets. */
static int number(int argc, char **argv)
{
	printf("first %d\n", listener());
	return 0;
}

static int waiting(int argc, char **argv)
{
	return rest();
}

/* ---- pids ---- */

/* Children of one and the same pid, one after the other, each with a port of its own: in a pid
 * namespace of ours, whose next pid can be chosen. */
static int same_pid(int argc, char **argv)
{
	pid_t first = 0;
	int told[2];
	char byte;

	CHECK(pipe(told) == 0);
	for (int i = 0; i < 3; i++) {
		pid_t pid;

		if (first != 0) {
			FILE *f = fopen("/proc/sys/kernel/ns_last_pid", "w");

			CHECK(f != NULL && fprintf(f, "%d", first - 1) > 0 && fclose(f) == 0);
		}
		pid = fork();
		if (pid == 0) {
			listener();
			CHECK(write(told[1], "x", 1) == 1);
			if (i == 2)
				stay();
			_exit(0);
		}
		CHECK(read(told[0], &byte, 1) == 1);
		if (i < 2)
			wait_child(pid);
		CHECK(first == 0 || pid == first);
		first = pid;
	}
	printf("child %d\n", (int)first);
	return rest();
}

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	int args;
} hazards[] = {
	{ "descriptors", descriptors, 0 },
	{ "reused", reused, 0 },
	{ "fsize", fsize, 0 },
	{ "as", as, 1 },
	{ "no-table", no_table, 0 },
	{ "nofile", nofile, 0 },
	{ "locked", locked, 0 },
	{ "churn", churning, 1 },
	{ "jail", jail, 1 },
	{ "refused", refused, 2 },
	{ "sandbox", sandbox, 0 },
	{ "signals", signals, 0 },
	{ "in-the-way", in_the_way, 0 },
	{ "cancel", cancel, 0 },
	{ "forks", forks, 0 },
	{ "handlers", handlers, 0 },
	{ "accepts-on", accepts_on, 0 },
	{ "numbers", numbers, 0 },
	{ "vfork", vforked, 0 },
	{ "clone", cloned, 0 },
	{ "image", image, 0 },
	{ "accept", accept_on, 1 },
	{ "number", number, 0 },
	{ "euid", euid, 0 },
	{ "connects", connects, 0 },
	{ "ranges", ranges, 0 },
	{ "unshares", unshares, 0 },
	{ "late", late, 0 },
	{ "late-count", late_count, 0 },
	{ "scribble", scribble, 0 },
	{ "wait", waiting, 0 },
	{ "same-pid", same_pid, 0 },
};

int main(int argc, char **argv)
{
	/* Found again in a chroot, by its own name where that is absolute. */
	self = argv[0];
	for (size_t i = 0; argc > 1 && i < sizeof(hazards) / sizeof(hazards[0]); i++) {
		if (strcmp(argv[1], hazards[i].name) == 0 && argc - 2 >= hazards[i].args) {
			if (strcmp(argv[1], "signals") != 0)
				alarm(SECONDS_MAX);
			return hazards[i].run(argc - 2, argv + 2);
		}
	}
	fprintf(stderr, "hazard: which?\n");
	return 2;
}
