/* SPDX-License-Identifier: MIT */
#include "cases.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <ftw.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

void *volatile bad_pointer = (void *)1;
void *volatile null_pointer;
char self[4096];

static char directory[] = "/tmp/portshim-case-XXXXXX";
static atomic_bool has_failed;

void say(const char *format, ...)
{
	char line[4096];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (n > (int)sizeof(line) - 1)
		n = sizeof(line) - 1;
	if (write(STDOUT_FILENO, line, (size_t)n) != n)
		has_failed = true;
}

void check(bool ok, const char *what, const char *file, int line)
{
	if (ok)
		return;
	dprintf(STDERR_FILENO, "%s:%d: not so: %s\n", file, line, what);
	has_failed = true;
}

bool failed(void)
{
	return has_failed;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void clean_up(void)
{
	(void)nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

void skip(const char *why)
{
	printf("skipped: %s\n", why);
	fflush(stdout);
	clean_up();
	_exit(77);
}

void need_root(void)
{
	if (geteuid() != 0)
		skip("needs root");
}

static const char *errno_name(int error)
{
	const char *name = strerrorname_np(error);

	return name != NULL ? name : "?";
}

long shown(const char *call, long value)
{
	int error = errno;

	if (error == ERRNO_BEFORE)
		say("%s = %ld\n", call, value);
	else
		say("%s = %ld %s\n", call, value, errno_name(error));
	errno = error;
	return value;
}

int shown_ok(const char *call, long value, const char *file, int line)
{
	shown(call, value);
	check(value >= 0, call, file, line);
	return (int)value;
}

int shown_is(const char *call, long value, long expected, const char *file, int line)
{
	shown(call, value);
	check(value == expected, call, file, line);
	return (int)value;
}

void shown_fails(const char *call, long value, int error, const char *file, int line)
{
	int got = errno;

	shown(call, value);
	check(value == -1 && got == error, call, file, line);
}

struct address ip4(const char *ip, unsigned port)
{
	struct address a = { .in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) },
			     .len = sizeof(a.in) };

	CHECK(inet_pton(AF_INET, ip, &a.in.sin_addr) == 1);
	return a;
}

struct address ip6(const char *ip, unsigned port)
{
	struct address a = { .in6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) },
			     .len = sizeof(a.in6) };

	CHECK(inet_pton(AF_INET6, ip, &a.in6.sin6_addr) == 1);
	return a;
}

struct address unix_path(const char *path)
{
	struct address a = { .un = { .sun_family = AF_UNIX } };

	strncpy(a.un.sun_path, path, sizeof(a.un.sun_path) - 1);
	a.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1);
	return a;
}

struct address unix_abstract(const char *name)
{
	struct address a = { .un = { .sun_family = AF_UNIX } };
	int n = snprintf(a.un.sun_path + 1, sizeof(a.un.sun_path) - 1, "%s.%s", strrchr(directory, '-') + 1,
			 name);

	a.len = (socklen_t)offsetof(struct sockaddr_un, sun_path) + 1 + (socklen_t)n;
	return a;
}

struct address local_of(int fd)
{
	struct address a = { .len = sizeof(a.storage) };

	CHECK(getsockname(fd, &a.sa, &a.len) == 0);
	return a;
}

int tcp_listener(struct address *address)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	*address = ip4("127.0.0.1", 0);
	CHECK(fd >= 0);
	CHECK(bind(fd, &address->sa, address->len) == 0);
	CHECK(listen(fd, 64) == 0);
	*address = local_of(fd);
	return fd;
}

int tcp_connected(const struct address *to)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	CHECK(fd >= 0);
	CHECK(connect(fd, &to->sa, to->len) == 0);
	return fd;
}

void tcp_pair(int out[2])
{
	struct address a;
	int listener = tcp_listener(&a);

	out[0] = tcp_connected(&a);
	out[1] = accept(listener, NULL, NULL);
	CHECK(out[1] >= 0);
	CHECK(close(listener) == 0);
}

void unix_pair(int out[2])
{
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, out) == 0);
}

/* Ports below the range that the kernel chooses from are what the case asked for. */
static const char *port_text(unsigned port, char out[16])
{
	static unsigned seen[64];
	static unsigned n;
	unsigned i;

	if (port < 10000) {
		snprintf(out, 16, "%u", port);
		return out;
	}
	for (i = 0; i < n && seen[i] != port; i++)
		;
	if (i == n && n < 64)
		seen[n++] = port;
	snprintf(out, 16, "P%u", i + 1);
	return out;
}

static void address_text(const struct sockaddr *sa, socklen_t len, char *out, size_t size)
{
	const struct address *a = (const struct address *)(const void *)sa;
	const char *unique = strrchr(directory, '-') + 1;
	char ip[INET6_ADDRSTRLEN], port[16];

	if (len < sizeof(sa_family_t)) {
		snprintf(out, size, "nothing (%u bytes)", len);
	} else if (sa->sa_family == AF_INET && len >= sizeof(a->in)) {
		inet_ntop(AF_INET, &a->in.sin_addr, ip, sizeof(ip));
		snprintf(out, size, "%s:%s", ip, port_text(ntohs(a->in.sin_port), port));
	} else if (sa->sa_family == AF_INET6 && len >= sizeof(a->in6)) {
		inet_ntop(AF_INET6, &a->in6.sin6_addr, ip, sizeof(ip));
		snprintf(out, size, "[%s]:%s", ip, port_text(ntohs(a->in6.sin6_port), port));
	} else if (sa->sa_family == AF_UNIX && len > offsetof(struct sockaddr_un, sun_path)) {
		const char *name = a->un.sun_path;
		int n = (int)(len - offsetof(struct sockaddr_un, sun_path));

		if (name[0] != '\0')
			snprintf(out, size, "%.*s", n, name);
		else if (n - 1 > (int)strlen(unique) && strncmp(name + 1, unique, strlen(unique)) == 0)
			snprintf(out, size, "@…%.*s", n - 1 - (int)strlen(unique), name + 1 + strlen(unique));
		else
			snprintf(out, size, "@ and %d bytes", n - 1);
	} else {
		snprintf(out, size, "family %u, %u bytes", sa->sa_family, len);
	}
}

void show_address(const char *what, const struct sockaddr *sa, socklen_t len)
{
	char text[256];

	address_text(sa, len, text, sizeof(text));
	say("%s %s\n", what, text);
}

void show_names(int fd)
{
	struct address a = { .len = sizeof(a.storage) };

	if (getsockname(fd, &a.sa, &a.len) == 0)
		show_address("local", &a.sa, a.len);
	else
		say("local: %s\n", errno_name(errno));
	a.len = sizeof(a.storage);
	if (getpeername(fd, &a.sa, &a.len) == 0)
		show_address("peer", &a.sa, a.len);
	else
		say("peer: %s\n", errno_name(errno));
}

static int option(int fd, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, name, &value, &len) == 0 ? value : -1;
}

void show_fd(int fd)
{
	char text[256] = "";
	struct stat st;
	int flags = fcntl(fd, F_GETFD);
	int status = fcntl(fd, F_GETFL);

	if (flags == -1 || fstat(fd, &st) != 0) {
		say("fd %d: %s\n", fd, errno_name(errno));
		return;
	}
	if (S_ISSOCK(st.st_mode)) {
		struct address a = { .len = sizeof(a.storage) };
		size_t n = (size_t)snprintf(text, sizeof(text), "socket %d/%d%s ", option(fd, SO_DOMAIN),
					    option(fd, SO_TYPE),
					    option(fd, SO_ACCEPTCONN) == 1 ? " listening" : "");

		if (getsockname(fd, &a.sa, &a.len) == 0)
			address_text(&a.sa, a.len, text + n, sizeof(text) - n);
	} else {
		snprintf(text, sizeof(text), "mode %o", st.st_mode & S_IFMT);
	}
	say("fd %d: %s%s%s\n", fd, text, flags & FD_CLOEXEC ? " cloexec" : "",
	    status & O_NONBLOCK ? " nonblock" : "");
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

void show_fds(const char *when)
{
	int fds[1024];
	size_t n = 0;
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *entry;

	say("open %s:\n", when);
	if (dir == NULL) {
		say("%s\n", errno_name(errno));
		return;
	}
	while ((entry = readdir(dir)) != NULL && n < 1024) {
		int fd = atoi(entry->d_name);

		if (entry->d_name[0] != '.' && fd != dirfd(dir))
			fds[n++] = fd;
	}
	closedir(dir);
	qsort(fds, n, sizeof(fds[0]), by_number);
	/* What stdin, stdout and stderr are is the caller's matter. */
	for (size_t i = 0; i < n; i++) {
		if (fds[i] > 2)
			show_fd(fds[i]);
		else
			say("fd %d\n", fds[i]);
	}
}

void put(int fd, const char *text)
{
	CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

void get(int fd, const char *expected)
{
	char buf[256];
	size_t want = strlen(expected), got = 0;
	ssize_t n = 1;

	while (n > 0 && (got < want || want == 0)) {
		n = read(fd, buf + got, want == 0 ? 1 : want - got);
		if (n > 0)
			got += (size_t)n;
		if (want == 0)
			break;
	}
	say("read \"%.*s\"%s\n", (int)got, buf, n == 0 ? " and the end" : "");
	CHECK(got == want && memcmp(buf, expected, want) == 0);
}

void show_end(pid_t pid)
{
	int status = -1;

	CHECK(waitpid(pid, &status, 0) == pid || pid == -1);
	if (WIFEXITED(status))
		say("child exits with %d\n", WEXITSTATUS(status));
	else
		say("child dies of SIG%s\n", sigabbrev_np(WTERMSIG(status)));
	CHECK(!(WIFEXITED(status) && WEXITSTATUS(status) == 99));
}

void in_child(int (*fn)(void))
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		int status;

		has_failed = false;
		status = fn();

		_exit(has_failed ? 99 : status);
	}
	show_end(pid);
}

static void (*handler_fn)(void);
static volatile sig_atomic_t handled;

static void handler(int signal_number)
{
	int error = errno;

	handled++;
	if (handler_fn != NULL)
		handler_fn();
	errno = error;
}

static void set_handler(void (*fn)(void), int flags)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = flags };

	handler_fn = fn;
	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
}

void in_handler(void (*fn)(void))
{
	sig_atomic_t before = handled;

	set_handler(fn, 0);
	CHECK(raise(SIGUSR1) == 0);
	CHECK(handled == before + 1);
	handler_fn = NULL;
}

void catch_usr1(int flags)
{
	set_handler(NULL, flags);
}

static void *thread_main(void *arg)
{
	struct thread *t = arg;
	int low = open("/proc/thread-self/stat", O_RDONLY | O_CLOEXEC);
	int high = fcntl(low, F_DUPFD_CLOEXEC, 500);

	CHECK(low >= 0 && high >= 0);
	close(low);
	t->stat = high;
	t->fn(t->arg);
	return (void *)1;
}

/* Returns when the thread needs no more descriptors for its own start. */
void thread_start(struct thread *t, void (*fn)(void *), void *arg)
{
	t->stat = -1;
	t->fn = fn;
	t->arg = arg;
	CHECK(pthread_create(&t->id, NULL, thread_main, t) == 0);
	while (t->stat == -1)
		sched_yield();
}

void *thread_join(struct thread *t)
{
	void *result = NULL;

	CHECK(pthread_join(t->id, &result) == 0);
	close(t->stat);
	return result;
}

/* Ten looks in a row, so that a short sleep on the way there is not taken for the call.  It opens
 * nothing: a blocked accept has taken the number of its descriptor already. */
void thread_wait_blocked(const struct thread *t)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	unsigned asleep = 0;

	for (unsigned i = 0; i < 10000 && asleep < 10; i++) {
		char text[512], *state;
		ssize_t n = pread(t->stat, text, sizeof(text) - 1, 0);

		text[n > 0 ? n : 0] = '\0';
		state = strrchr(text, ')');
		asleep = state != NULL && state[2] == 'S' ? asleep + 1 : 0;
		nanosleep(&pause, NULL);
	}
	CHECK(asleep == 10);
}

void many_threads(unsigned n, void (*fn)(void *))
{
	struct thread threads[16];

	CHECK(n <= 16);
	for (unsigned i = 0; i < n; i++)
		thread_start(&threads[i], fn, (void *)(uintptr_t)i);
	for (unsigned i = 0; i < n; i++)
		CHECK(thread_join(&threads[i]) == (void *)1);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* LD_PRELOAD is shown without the shim's own entry, the rest as it is. */
static void show_preload(const char *value)
{
	char *copy = strdup(value), *rest = copy, *entry;
	bool any = false;

	while ((entry = strsep(&rest, ": ")) != NULL) {
		if (entry[0] == '\0' || strstr(entry, "libportshim.so") != NULL)
			continue;
		say("%s%s", any ? ":" : "  LD_PRELOAD=", entry);
		any = true;
	}
	if (any)
		say("\n");
	free(copy);
}

static int child_main(int argc, char **argv)
{
	char *sorted[256];
	size_t n = 0;

	say("child's arguments:");
	for (int i = 0; i < argc; i++)
		say(" '%s'", i == 0 && strcmp(argv[i], self) == 0 ? "SELF" : argv[i]);
	say("\nchild's environment:\n");
	for (char **e = environ; *e != NULL && n < 256; e++)
		sorted[n++] = *e;
	qsort(sorted, n, sizeof(sorted[0]), by_text);
	for (size_t i = 0; i < n; i++) {
		if (strncmp(sorted[i], "LD_PRELOAD=", 11) == 0)
			show_preload(sorted[i] + 11);
		else if (strncmp(sorted[i], "PORTSHIM_", 9) != 0)
			say("  %s\n", sorted[i]);
	}
	show_fds("in the child");
	return argc > 2 ? atoi(argv[2]) : 0;
}

int main(int argc, char **argv)
{
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	sigset_t none;

	if (n <= 0 && argv[0] != NULL)
		snprintf(self, sizeof(self), "%s", argv[0]);
	if (argc > 1 && strcmp(argv[1], "--child") == 0)
		return child_main(argc, argv);
	if (argc == 2 && strcmp(argv[1], "--list") == 0) {
		for (const struct test_case *c = cases; c->name != NULL; c++)
			puts(c->name);
		return 0;
	}
	if (argc != 2) {
		fprintf(stderr, "usage: %s --list | CASE\n", argv[0]);
		return 2;
	}

	for (const struct test_case *c = cases; c->name != NULL; c++) {
		if (strcmp(c->name, argv[1]) != 0)
			continue;
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		umask(022);
		if (mkdtemp(directory) == NULL || chmod(directory, 0777) != 0 || chdir(directory) != 0) {
			perror(directory);
			return 2;
		}
		show_fds("before");
		c->run();
		show_fds("after");
		clean_up();
		return has_failed ? 1 : 0;
	}
	fprintf(stderr, "%s: no case %s\n", argv[0], argv[1]);
	return 2;
}
