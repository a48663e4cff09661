/* SPDX-License-Identifier: MIT */
/* dup and its kin, fcntl, close and its kin, fclose, freopen. */
#include "cases.h"

#include <stdatomic.h>
#include <sys/file.h>
#include <sys/resource.h>

#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE 2
#endif
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4
#endif

int __dup2(int from, int to);
int __close(int fd);
int __fcntl(int fd, int command, ...);

static int plain_file(void)
{
	int fd = open("file", O_RDWR | O_CREAT, 0644);

	CHECK(fd >= 0);
	return fd;
}

static void limit_fds(unsigned n)
{
	struct rlimit limit;

	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = n;
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

/* ---- dup ---- */

static void dup_success(void)
{
	int t[2], copy, file = plain_file();

	tcp_pair(t);
	CHECK(fcntl(t[0], F_SETFD, FD_CLOEXEC) == 0);
	copy = OK(dup(t[0]));
	show_fd(copy);
	IS(0, close(t[0]));
	put(copy, "by the copy");
	get(t[1], "by the copy");
	IS(0, close(copy));
	get(t[1], "");
	show_fd(OK(dup(file)));
	OK(dup(0));
}

/* The original lives on when its copy is closed. */
static void dup_close_copy(void)
{
	struct address a;
	int s = tcp_listener(&a);

	for (int i = 0; i < 5; i++)
		IS(0, close(dup(s)));
	tcp_connected(&a);
	OK(accept(s, NULL, NULL));
}

static void dup_errors(void)
{
	int s = OK(socket(AF_INET, SOCK_STREAM, 0));

	FAILS(EBADF, dup(-1));
	FAILS(EBADF, dup(99));
	limit_fds(4);
	FAILS(EMFILE, dup(s));
	FAILS(EBADF, dup(99));
	limit_fds(1024);
}

static int handler_fd;

static void dup_and_close(void)
{
	int copy = OK(dup(handler_fd));

	show_fd(copy);
	IS(0, close(copy));
	IS(20, dup2(handler_fd, 20));
	IS(21, dup3(handler_fd, 21, O_CLOEXEC));
	OK(fcntl(handler_fd, F_DUPFD, 30));
}

static void dup_handler(void)
{
	handler_fd = OK(socket(AF_INET, SOCK_STREAM, 0));
	in_handler(dup_and_close);
}

static void dup_one(void *arg)
{
	for (int i = 0; i < 400; i++) {
		int copy = dup(handler_fd);

		CHECK(copy > 2);
		CHECK(close(copy) == 0);
	}
}

static void dup_threads(void)
{
	handler_fd = OK(socket(AF_INET, SOCK_STREAM, 0));
	many_threads(6, dup_one);
	show_fd(handler_fd);
}

/* ---- dup2, dup3 ---- */

typedef int dup2_fn(int from, int to);

static int dup3_cloexec(int from, int to)
{
	return dup3(from, to, O_CLOEXEC);
}

static void dup2_success_of(dup2_fn *call)
{
	struct address a;
	int t[2], u[2], file = plain_file(), s, c;

	tcp_pair(t);
	unix_pair(u);
	CHECK(fcntl(t[0], F_SETFD, FD_CLOEXEC) == 0);
	IS(20, call(t[0], 20));
	show_fd(20);
	put(20, "x");
	get(t[1], "x");
	/* Over another socket: that one is closed first. */
	IS(u[0], call(t[0], u[0]));
	show_fd(u[0]);
	get(u[1], "");
	put(u[0], "y");
	get(t[1], "y");
	/* A file over a listener, its only descriptor. */
	s = tcp_listener(&a);
	IS(s, call(file, s));
	show_fd(s);
	c = OK(socket(AF_INET, SOCK_STREAM, 0));
	FAILS(ECONNREFUSED, connect(c, &a.sa, a.len));
	/* A socket over a file. */
	IS(file, call(t[0], file));
	show_fd(file);
	IS(0, close(t[0]));
	IS(0, close(20));
	IS(0, close(u[0]));
	put(file, "z");
	get(t[1], "z");
	IS(0, close(file));
	get(t[1], "");
}

static void dup2_success(void)
{
	dup2_success_of(dup2);
}

static void under_dup2_success(void)
{
	dup2_success_of(__dup2);
}

static void dup3_success(void)
{
	dup2_success_of(dup3_cloexec);
}

static void dup2_same_of(dup2_fn *call)
{
	int s = OK(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));

	IS(s, call(s, s));
	show_fd(s);
	FAILS(EBADF, call(99, 99));
	FAILS(EBADF, call(-1, -1));
}

static void dup2_same(void)
{
	dup2_same_of(dup2);
}

static void under_dup2_same(void)
{
	dup2_same_of(__dup2);
}

static void dup3_same(void)
{
	int s = OK(socket(AF_INET, SOCK_STREAM, 0));

	FAILS(EINVAL, dup3(s, s, 0));
	FAILS(EINVAL, dup3(99, 99, O_CLOEXEC));
	FAILS(EINVAL, dup3(s, 20, O_NONBLOCK));
	IS(20, dup3(s, 20, 0));
	show_fd(20);
}

static void dup2_errors_of(dup2_fn *call)
{
	struct address a;
	int s = tcp_listener(&a), c;

	FAILS(EBADF, call(-1, s));
	/* The target stays open. */
	FAILS(EBADF, call(99, s));
	show_fd(s);
	c = tcp_connected(&a);
	FAILS(EBADF, call(s, -1));
	FAILS(EBADF, call(s, 1 << 30));
	limit_fds(64);
	FAILS(EBADF, call(s, 64));
	IS(63, call(s, 63));
	limit_fds(1024);
	show_fd(c);
}

static void dup2_errors(void)
{
	dup2_errors_of(dup2);
}

static void under_dup2_errors(void)
{
	dup2_errors_of(__dup2);
}

static void dup3_errors(void)
{
	dup2_errors_of(dup3_cloexec);
}

static int replace_standard(void)
{
	int s = socket(AF_INET, SOCK_STREAM, 0);

	CHECK(dup2(s, 0) == 0);
	CHECK(dup3(s, 1, O_CLOEXEC) == 1);
	CHECK(dup2(0, 2) == 2);
	CHECK(close(s) == 0);
	CHECK(fcntl(1, F_GETFD) == FD_CLOEXEC);
	return 0;
}

static void dup2_standard(void)
{
	in_child(replace_standard);
}

/* ---- fcntl ---- */

typedef int fcntl_fn(int fd, int command, ...);

static void fcntl_success_of(fcntl_fn *call)
{
	int s = OK(socket(AF_INET, SOCK_STREAM, 0)), low, high;
	int file = plain_file();

	low = OK(call(s, F_DUPFD, 0));
	show_fd(low);
	high = OK(call(s, F_DUPFD, 50));
	show_fd(high);
	IS(51, call(s, F_DUPFD_CLOEXEC, 50));
	show_fd(51);
	show_fd(OK(call(file, F_DUPFD_CLOEXEC, 3)));
	IS(0, call(s, F_GETFD));
	IS(0, call(s, F_SETFD, FD_CLOEXEC));
	IS(FD_CLOEXEC, call(s, F_GETFD));
	IS(0, call(s, F_SETFD, 0));
	TRY(call(s, F_GETFL));
	IS(0, call(s, F_SETFL, O_NONBLOCK));
	TRY(call(s, F_GETFL));
	show_fd(high);
	IS(0, call(s, F_SETFL, 0));
	IS(0, call(s, F_SETOWN, getpid()));
	CHECK(call(s, F_GETOWN) == getpid());
	/* Closing the first leaves the rest. */
	IS(0, close(s));
	show_fd(low);
}

static void fcntl_success(void)
{
	fcntl_success_of(fcntl);
}

static void fcntl64_success(void)
{
	fcntl_success_of(fcntl64);
}

static void under_fcntl_success(void)
{
	fcntl_success_of(__fcntl);
}

static void fcntl_errors_of(fcntl_fn *call)
{
	int s = OK(socket(AF_INET, SOCK_STREAM, 0));
	struct f_owner_ex owner = { .type = -1, .pid = -1 };

	FAILS(EBADF, call(-1, F_GETFD));
	FAILS(EBADF, call(99, F_DUPFD, 0));
	FAILS(EBADF, call(99, F_SETFD, FD_CLOEXEC));
	FAILS(EINVAL, call(s, F_DUPFD, -1));
	FAILS(EINVAL, call(s, F_DUPFD_CLOEXEC, 1 << 30));
	FAILS(EINVAL, call(s, 9999, 0));
	FAILS(EFAULT, call(s, F_SETLK, bad_pointer));
	FAILS(EFAULT, call(s, F_GETLK, null_pointer));
	FAILS(EFAULT, call(s, F_SETOWN_EX, bad_pointer));
	IS(0, call(s, F_GETOWN_EX, &owner));
	say("owner %d %d\n", owner.type, (int)owner.pid);
	limit_fds(4);
	FAILS(EMFILE, call(s, F_DUPFD, 0));
	FAILS(EINVAL, call(s, F_DUPFD, 4));
	limit_fds(1024);
}

static void fcntl_errors(void)
{
	fcntl_errors_of(fcntl);
}

static void fcntl64_errors(void)
{
	fcntl_errors_of(fcntl64);
}

static void under_fcntl_errors(void)
{
	fcntl_errors_of(__fcntl);
}

static fcntl_fn *lock_call;

static int meets_lock(void)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = 2 };
	int fd = plain_file();

	FAILS(EAGAIN, lock_call(fd, F_SETLK, &lock));
	IS(0, lock_call(fd, F_GETLK, &lock));
	CHECK(lock.l_type == F_WRLCK && lock.l_start == 0 && lock.l_len == 10 && lock.l_pid == getppid());
	return 0;
}

static void fcntl_locks_of(fcntl_fn *call)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10 };
	int file = plain_file(), copy, p[2];

	lock_call = call;
	IS(0, call(file, F_SETLK, &lock));
	in_child(meets_lock);
	/* Closing any descriptor of the file gives the lock up: whoever opens and closes in the
	 * program's name would be noticed. */
	copy = OK(dup(file));
	IS(0, close(copy));
	lock.l_type = F_WRLCK;
	IS(0, call(file, F_SETLKW, &lock));
	lock.l_type = F_UNLCK;
	IS(0, call(file, F_SETLK, &lock));
	lock.l_type = F_RDLCK;
	lock.l_pid = 0;
	IS(0, call(file, F_OFD_SETLK, &lock));
	CHECK(pipe(p) == 0);
	IS(65536, call(p[0], F_SETPIPE_SZ, 65536));
	IS(65536, call(p[1], F_GETPIPE_SZ));
}

static void fcntl_locks(void)
{
	fcntl_locks_of(fcntl);
}

static void fcntl64_locks(void)
{
	fcntl_locks_of(fcntl64);
}

static void under_fcntl_locks(void)
{
	fcntl_locks_of(__fcntl);
}

static void fcntl_one(void *arg)
{
	for (int i = 0; i < 300; i++) {
		int copy = fcntl(handler_fd, i % 2 ? F_DUPFD : F_DUPFD_CLOEXEC, 10);

		CHECK(copy >= 10);
		CHECK(close(copy) == 0);
	}
}

static void fcntl_threads(void)
{
	handler_fd = OK(socket(AF_INET, SOCK_STREAM, 0));
	many_threads(6, fcntl_one);
}

/* ---- close ---- */

typedef int close_fn(int fd);

static void close_success_of(close_fn *call)
{
	struct address a;
	int t[2], s, c, file = plain_file();

	tcp_pair(t);
	IS(0, call(t[0]));
	get(t[1], "");
	FAILS(EBADF, call(t[0]));
	FAILS(EBADF, call(-1));
	FAILS(EBADF, call(-100));
	FAILS(EBADF, call(99));
	FAILS(EBADF, call(1 << 30));
	IS(0, call(file));
	s = tcp_listener(&a);
	c = OK(socket(AF_INET, SOCK_STREAM, 0));
	IS(0, call(s));
	FAILS(ECONNREFUSED, connect(c, &a.sa, a.len));
	/* The number is free again. */
	IS(s, socket(AF_INET, SOCK_STREAM, 0));
}

static void close_success(void)
{
	close_success_of(close);
}

static void under_close_success(void)
{
	close_success_of(__close);
}

static void close_all_then_work(close_fn *call)
{
	struct address a;
	int s;

	for (int fd = 3; fd < 1024; fd++) {
		errno = 0;
		if (call(fd) == 0)
			say("%d was open\n", fd);
		else
			CHECK(errno == EBADF);
	}
	s = tcp_listener(&a);
	tcp_connected(&a);
	show_fd(OK(accept(s, NULL, NULL)));
}

static void close_loop(void)
{
	OK(socket(AF_INET, SOCK_STREAM, 0));
	OK(dup(0));
	close_all_then_work(close);
	close_all_then_work(__close);
}

static int close_everything(void)
{
	struct address a;

	for (int fd = 0; fd < 256; fd++)
		close(fd);
	CHECK(tcp_listener(&a) == 0);
	CHECK(tcp_connected(&a) == 1);
	CHECK(accept(0, NULL, NULL) == 2);
	CHECK(close(0) == 0);
	CHECK(dup(1) == 0);
	return 6;
}

static void close_standard(void)
{
	in_child(close_everything);
}

static void close_one(void)
{
	IS(0, close(handler_fd));
}

static void close_handler(void)
{
	int t[2];

	tcp_pair(t);
	handler_fd = t[0];
	in_handler(close_one);
	get(t[1], "");
}

static atomic_int stage, returned;

/* A cancellation that is pending acts before the descriptor is given up. */
static void close_pending(void *arg)
{
	int old;

	CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old) == 0);
	stage = 1;
	while (stage != 2)
		usleep(100);
	CHECK(pthread_setcancelstate(old, NULL) == 0);
	close(*(int *)arg);
	returned = 1;
}

static void close_cancel(void)
{
	struct thread t;
	int p[2];

	tcp_pair(p);
	thread_start(&t, close_pending, &p[0]);
	while (stage != 1)
		usleep(100);
	CHECK(pthread_cancel(t.id) == 0);
	stage = 2;
	CHECK(thread_join(&t) == PTHREAD_CANCELED);
	CHECK(returned == 0);
	show_fd(p[0]);
	put(p[0], "still open");
	get(p[1], "still open");
	IS(0, close(p[0]));
	get(p[1], "");
}

static void close_race(void *arg)
{
	for (int i = 0; i < 300; i++) {
		int p[2];

		CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, p) == 0);
		CHECK(close(p[(uintptr_t)arg % 2]) == 0);
		/* The other end says so: it was ours that was closed. */
		CHECK(write(p[1 - (uintptr_t)arg % 2], "", 1) == -1 && errno == EPIPE);
		CHECK(close(p[1 - (uintptr_t)arg % 2]) == 0);
	}
}

static void close_threads(void)
{
	signal(SIGPIPE, SIG_IGN);
	many_threads(8, close_race);
}

/* ---- close_range, closefrom ---- */

static void fill_to(int top)
{
	for (int fd = socket(AF_INET, SOCK_STREAM, 0); fd < top;
	     fd = fd % 2 ? dup(0) : socket(AF_UNIX, SOCK_DGRAM, 0))
		CHECK(fd >= 0);
}

static void close_range_success(void)
{
	fill_to(12);
	IS(0, close_range(5, 7, 0));
	show_fds("without 5 to 7");
	IS(0, close_range(6, 6, 0));
	IS(0, close_range(10, ~0U, 0));
	show_fds("from 10 on closed");
	IS(0, close_range(3, ~0U, 0));
	show_fd(OK(socket(AF_INET, SOCK_STREAM, 0)));
}

static void close_range_errors(void)
{
	fill_to(5);
	FAILS(EINVAL, close_range(5, 4, 0));
	FAILS(EINVAL, close_range(3, 4, 1));
	FAILS(EINVAL, close_range(3, 4, -1));
	show_fds("as before");
}

static void close_range_cloexec(void)
{
	fill_to(8);
	IS(0, close_range(4, 6, CLOSE_RANGE_CLOEXEC));
	show_fds("with 4 to 6 close-on-exec");
	FAILS(EINVAL, close_range(6, 4, CLOSE_RANGE_CLOEXEC));
}

static void close_range_unshare(void)
{
	fill_to(8);
	IS(0, close_range(4, 6, CLOSE_RANGE_UNSHARE));
	show_fds("without 4 to 6");
	IS(0, close_range(3, 3, CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC));
	show_fd(3);
}

/* Only the thread itself loses them. */
static void unshare_and_close(void *arg)
{
	IS(0, close_range(3, ~0U, CLOSE_RANGE_UNSHARE));
	IS(3, socket(AF_UNIX, SOCK_STREAM, 0));
}

static void close_range_thread(void)
{
	struct thread t;
	int p[2];

	tcp_pair(p);
	thread_start(&t, unshare_and_close, NULL);
	CHECK(thread_join(&t) == (void *)1);
	put(p[0], "ours still");
	get(p[1], "ours still");
}

static int close_range_everything(void)
{
	CHECK(close_range(0, ~0U, 0) == 0);
	CHECK(socket(AF_INET, SOCK_STREAM, 0) == 0);
	return 0;
}

static void close_range_standard(void)
{
	in_child(close_range_everything);
}

static void closefrom_success(void)
{
	struct address a;
	int s;

	fill_to(40);
	TRY((closefrom(20), 0));
	show_fds("up to 19");
	TRY((closefrom(3), 0));
	s = tcp_listener(&a);
	tcp_connected(&a);
	show_fd(OK(accept(s, NULL, NULL)));
	TRY((closefrom(1000), 0));
}

static int closefrom_zero(void)
{
	closefrom(0);
	CHECK(socket(AF_INET, SOCK_STREAM, 0) == 0);
	return 0;
}

static int closefrom_negative(void)
{
	closefrom(-5);
	CHECK(socket(AF_INET, SOCK_STREAM, 0) == 0);
	return 0;
}

static void closefrom_standard(void)
{
	in_child(closefrom_zero);
	in_child(closefrom_negative);
}

/* ---- fclose ---- */

static void fclose_success(void)
{
	int t[2];
	FILE *f;

	tcp_pair(t);
	f = fdopen(t[0], "r+");
	CHECK(f != NULL);
	CHECK(fputs("buffered", f) >= 0);
	IS(0, fclose(f));
	get(t[1], "buffered");
	get(t[1], "");
	show_fd(t[0]);
	f = fopen("new", "w");
	CHECK(f != NULL);
	IS(0, fclose(f));
	IS(0, access("new", R_OK));
}

static void fclose_errors(void)
{
	int t[2];
	FILE *f;

	signal(SIGPIPE, SIG_IGN);
	unix_pair(t);
	f = fdopen(t[0], "w");
	CHECK(f != NULL && fputs("nobody reads", f) >= 0);
	IS(0, close(t[1]));
	/* The flush fails, the descriptor goes all the same. */
	FAILS(EPIPE, fclose(f));
	show_fd(t[0]);
	f = fdopen(OK(socket(AF_INET, SOCK_STREAM, 0)), "r");
	CHECK(f != NULL);
	IS(0, close(fileno(f)));
	FAILS(EBADF, fclose(f));
}

static ssize_t cookie_write(void *cookie, const char *buf, size_t len)
{
	return (ssize_t)len;
}

static int cookie_close(void *cookie)
{
	say("the stream's own close\n");
	return close(*(int *)cookie);
}

/* Streams without a descriptor of their own. */
static void fclose_other(void)
{
	char buf[64], *text = NULL;
	size_t len = 0;
	int s = OK(socket(AF_INET, SOCK_STREAM, 0));
	FILE *f = fmemopen(buf, sizeof(buf), "w");

	CHECK(f != NULL && fputs("memory", f) >= 0);
	IS(0, fclose(f));
	f = open_memstream(&text, &len);
	CHECK(f != NULL && fputs("stream", f) >= 0);
	IS(0, fclose(f));
	CHECK(len == 6);
	free(text);
	f = fopencookie(&s, "w", (cookie_io_functions_t){ .write = cookie_write, .close = cookie_close });
	CHECK(f != NULL && fputs("cookie", f) >= 0);
	IS(0, fclose(f));
	show_fd(s);
	f = popen("cat", "w");
	CHECK(f != NULL && fputs("popen\n", f) >= 0);
	IS(0, pclose(f));
}

static int close_stdin(void)
{
	CHECK(fclose(stdin) == 0);
	CHECK(socket(AF_INET, SOCK_STREAM, 0) == 0);
	return 4;
}

static void fclose_stdin(void)
{
	in_child(close_stdin);
}

/* ---- freopen ---- */

typedef FILE *freopen_fn(const char *path, const char *mode, FILE *f);

static void freopen_success_of(freopen_fn *call)
{
	int t[2], fd;
	FILE *f;

	tcp_pair(t);
	f = fdopen(t[0], "w");
	CHECK(f != NULL && fputs("to the socket", f) >= 0);
	errno = ERRNO_BEFORE;
	CHECK(call("elsewhere", "w+", f) == f);
	CHECK(errno == ERRNO_BEFORE);
	get(t[1], "to the socket");
	get(t[1], "");
	fd = fileno(f);
	show_fd(fd);
	CHECK(fputs("to the file", f) >= 0 && fflush(f) == 0);
	CHECK(lseek(fd, 0, SEEK_SET) == 0);
	get(fd, "to the file");
	/* No path: another mode. */
	CHECK(call(NULL, "re", f) == f);
	show_fd(fileno(f));
	IS(0, fclose(f));
}

static void freopen_success(void)
{
	freopen_success_of(freopen);
}

static void freopen64_success(void)
{
	freopen_success_of(freopen64);
}

static void freopen_errors_of(freopen_fn *call)
{
	int t[2];
	FILE *f;

	tcp_pair(t);
	f = fdopen(t[0], "w");
	CHECK(f != NULL);
	/* The old descriptor is closed although the new one could not be had. */
	errno = 0;
	CHECK(call("no/such/file", "r", f) == NULL);
	CHECK(errno == ENOENT);
	show_fd(t[0]);
	get(t[1], "");
	/* What is left of the stream cannot be told portably, nor closed twice. */
}

static void freopen_errors(void)
{
	freopen_errors_of(freopen);
}

static void freopen64_errors(void)
{
	freopen_errors_of(freopen64);
}

static freopen_fn *stdin_call;

static int reopen_stdin(void)
{
	int s = socket(AF_INET, SOCK_STREAM, 0);

	CHECK(dup2(s, 0) == 0);
	CHECK(stdin_call("/dev/null", "r", stdin) == stdin);
	CHECK(fileno(stdin) == 0);
	show_fd(s);
	return getchar() == EOF ? 3 : 4;
}

static void freopen_stdin(void)
{
	stdin_call = freopen;
	in_child(reopen_stdin);
}

static void freopen64_stdin(void)
{
	stdin_call = freopen64;
	in_child(reopen_stdin);
}

const struct test_case cases[] = {
	{ "dup", dup_success },
	{ "dup/close the copy", dup_close_copy },
	{ "dup/errors", dup_errors },
	{ "dup/handler", dup_handler },
	{ "dup/threads", dup_threads },
	{ "dup2", dup2_success },
	{ "dup2/same", dup2_same },
	{ "dup2/errors", dup2_errors },
	{ "dup2/standard fds", dup2_standard },
	{ "__dup2", under_dup2_success },
	{ "__dup2/same", under_dup2_same },
	{ "__dup2/errors", under_dup2_errors },
	{ "dup3", dup3_success },
	{ "dup3/same", dup3_same },
	{ "dup3/errors", dup3_errors },
	{ "fcntl", fcntl_success },
	{ "fcntl/errors", fcntl_errors },
	{ "fcntl/locks", fcntl_locks },
	{ "fcntl/threads", fcntl_threads },
	{ "fcntl64", fcntl64_success },
	{ "fcntl64/errors", fcntl64_errors },
	{ "fcntl64/locks", fcntl64_locks },
	{ "__fcntl", under_fcntl_success },
	{ "__fcntl/errors", under_fcntl_errors },
	{ "__fcntl/locks", under_fcntl_locks },
	{ "close", close_success },
	{ "close/loop", close_loop },
	{ "close/standard fds", close_standard },
	{ "close/handler", close_handler },
	{ "close/cancel", close_cancel },
	{ "close/threads", close_threads },
	{ "__close", under_close_success },
	{ "close_range", close_range_success },
	{ "close_range/errors", close_range_errors },
	{ "close_range/cloexec", close_range_cloexec },
	{ "close_range/unshare", close_range_unshare },
	{ "close_range/thread", close_range_thread },
	{ "close_range/standard fds", close_range_standard },
	{ "closefrom", closefrom_success },
	{ "closefrom/standard fds", closefrom_standard },
	{ "fclose", fclose_success },
	{ "fclose/errors", fclose_errors },
	{ "fclose/no descriptor", fclose_other },
	{ "fclose/stdin", fclose_stdin },
	{ "freopen", freopen_success },
	{ "freopen/errors", freopen_errors },
	{ "freopen/stdin", freopen_stdin },
	{ "freopen64", freopen64_success },
	{ "freopen64/errors", freopen64_errors },
	{ "freopen64/stdin", freopen64_stdin },
	{ NULL, NULL },
};
