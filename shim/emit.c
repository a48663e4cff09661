/* SPDX-License-Identifier: MIT */
#include "emit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <string.h>
#include <sys/un.h>

#include "common/endpoint.h"
#include "common/sys.h"
#include "process.h"
#include "track.h"

#define RULE_SOURCE_MAX 120 /* two slots */

#define NEW_EVENT(_kind, _fd)                                                                           \
	{                                                                                               \
		.kind = (_kind), .slots = 1, .process = process_id(), .fd = (_fd), .stamp = log_stamp() \
	}
#define NEW_EVENT_AT(_kind, _fd, _stamp)                                                             \
	{                                                                                            \
		.kind = (_kind), .slots = 1, .process = process_id(), .fd = (_fd), .stamp = (_stamp) \
	}

/* Where records are missing before this one the table is told anew, or the relation would be wrong. */
static void make_good(enum log_result appended)
{
	if (appended == LOG_RECOVERED && thread.vfork_child == 0)
		track_stock(PS_STOCK_LOST, false);
}

/* Returns whether the record is in a ring, where it will be overwritten some day. */
static bool append_tail(struct ps_event *ev, const void *tail, size_t len, bool ring)
{
	struct ps_event *place = NULL;

	make_good(log_append(&self.log, ev, tail, len, ring, &place));
	return ring && place != NULL && log_in_ring(&self.log, place);
}

static bool append(struct ps_event *ev, bool ring)
{
	return append_tail(ev, NULL, 0, ring);
}

static bool append_addr(struct ps_event *ev, struct ps_addr *field, const struct sockaddr *addr,
			socklen_t len, bool ring)
{
	char tail[ADDR_TAIL_MAX];
	size_t tail_len = addr_pack(addr, len, field, tail);

	return append_tail(ev, tail, tail_len, ring);
}

/* An address that a failed call was given, if the kernel came as far as reading it: net/socket.c,
 * move_addr_to_kernel, comes after the look-up of the fd.  What it could not read would kill us. */
static const struct sockaddr *addr_if_read(const struct sockaddr *addr, socklen_t len, int error)
{
	bool unread = error == EBADF || error == ENOTSOCK || error == EFAULT ||
		      len > sizeof(struct sockaddr_storage);

	return unread ? NULL : addr;
}

static size_t read_file(const char *path, char *out, size_t size)
{
	int fd = sys_open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return 0;
	n = sys_read(fd, out, size);
	sys_close(fd);
	return n > 0 ? (size_t)n : 0;
}

/* As /proc/self/cmdline has them. */
static size_t join(char *const argv[], char *out, size_t size)
{
	size_t len = 0;

	for (; *argv != NULL && len < size; argv++) {
		size_t n = strlen(*argv) + 1;

		n = n < size - len ? n : size - len;
		memcpy(out + len, *argv, n);
		len += n;
	}
	return len;
}

/* exe, comm and arguments, each ended by NUL; what does not fit a record is cut off. */
static size_t describe_image(const struct image *image, char out[static PS_TAIL_MAX], bool *cut)
{
	enum { EXE_MAX = PS_TAIL_MAX / 2 };
	ssize_t n = sys4(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", out, EXE_MAX);
	size_t len = n > 0 ? (size_t)n : 0;

	out[len++] = '\0';
	memset(out + len, 0, 16);
	if (image->command[0] != '\0')
		memcpy(out + len, image->command, sizeof(image->command));
	else
		sys2(SYS_prctl, PR_GET_NAME, out + len);
	len += strnlen(out + len, 15) + 1;
	len += image->argv != NULL ? join(image->argv, out + len, PS_TAIL_MAX - len)
				   : read_file("/proc/self/cmdline", out + len, PS_TAIL_MAX - len);
	*cut = n == EXE_MAX || len == PS_TAIL_MAX;
	return len;
}

void emit_start(const struct image *image, uint64_t parent, uint32_t flags, bool session_start)
{
	struct ps_event ev = NEW_EVENT(PS_START, -1);
	char text[PS_TAIL_MAX];
	bool cut;
	size_t len = describe_image(image, text, &cut);

	ev.flags = flags | (cut ? PS_F_TRUNCATED : 0);
	ev.start.parent = parent;
	ev.start.start = atomic_load(&unshared.start);
	ev.start.pid = atomic_load(&unshared.pid);
	ev.start.ppid = (uint32_t)sys0(SYS_getppid);
	ev.start.uid = log_uid(&self.log);
	ev.start.session_start = session_start;
	append_tail(&ev, text, len, false);
}

void emit_fork(uint64_t child, uint64_t ordinal, uint32_t flags)
{
	struct ps_event ev = NEW_EVENT(PS_FORK, -1);

	ev.flags = flags;
	ev.fork.child = child;
	ev.fork.ordinal = ordinal;
	append(&ev, false);
}

void emit_forked(uint64_t child, pid_t pid, int error)
{
	struct ps_event ev = NEW_EVENT(PS_FORKED, -1);

	ev.error = (uint16_t)error;
	ev.forked.child = child;
	ev.forked.pid = (uint32_t)pid;
	append(&ev, false);
}

void emit_born(uint64_t parent, uint64_t ordinal, uint32_t flags)
{
	struct ps_event ev = NEW_EVENT(PS_BORN, -1);

	ev.flags = flags;
	ev.born.parent = parent;
	ev.born.ordinal = ordinal;
	/* In a sandbox the parent's FORKED has to do. */
	if (!atomic_load_explicit(&self.quiet, memory_order_relaxed)) {
		ev.born.pid = (uint32_t)sys_getpid();
		atomic_store_explicit(&unshared.pid, ev.born.pid, memory_order_relaxed);
		ev.born.uid = (uint32_t)sys0(SYS_geteuid);
	}
	append(&ev, false);
}

void emit_exec(uint64_t process, const char *path, uint32_t seen)
{
	struct ps_event ev = NEW_EVENT(PS_EXEC, -1);

	ev.process = process;
	ev.exec.seen = seen;
	append_tail(&ev, path, strlen(path) + 1, false);
}

void emit_exec_failed(int error)
{
	struct ps_event ev = NEW_EVENT(PS_EXEC_FAILED, -1);

	ev.error = (uint16_t)error;
	append(&ev, false);
}

void emit_exec_closes(uint64_t process, int fd, uint64_t cookie)
{
	struct ps_event ev = NEW_EVENT(PS_EXEC_CLOSES, fd);

	ev.process = process;
	ev.exec_closes.cookie = cookie;
	append(&ev, false);
}

void emit_exit(int status)
{
	struct ps_event ev = NEW_EVENT(PS_EXIT, -1);

	ev.exit.status = status;
	append(&ev, false);
}

void emit_credentials(void)
{
	struct ps_event ev = NEW_EVENT(PS_CREDENTIALS, -1);

	if (atomic_load_explicit(&self.quiet, memory_order_relaxed))
		return;
	ev.credentials.uid = (uint32_t)sys0(SYS_getuid);
	ev.credentials.euid = (uint32_t)sys0(SYS_geteuid);
	ev.credentials.gid = (uint32_t)sys0(SYS_getgid);
	ev.credentials.egid = (uint32_t)sys0(SYS_getegid);
	append(&ev, false);
}

void emit_sandbox(uint32_t what)
{
	struct ps_event ev = NEW_EVENT(PS_SANDBOX, -1);

	ev.sandbox.what = what;
	append(&ev, false);
}

void emit_stock(uint64_t stamp, uint32_t why, uint32_t sockets)
{
	struct ps_event ev = NEW_EVENT_AT(PS_STOCK, -1, stamp);

	ev.stock.why = why;
	ev.stock.sockets = sockets;
	append(&ev, false);
}

void emit_set(uint64_t stamp, int fd, const struct identity *id, uint32_t flags)
{
	struct ps_event ev = NEW_EVENT_AT(PS_SET, fd, stamp);

	ev.flags = flags;
	if (id != NULL) {
		ev.set.cookie = id->cookie;
		ev.set.family = id->family;
		ev.set.type = id->type;
		ev.set.protocol = id->protocol;
		ev.set.listening = id->listening;
		ev.set.accepted = id->accepted;
	}
	append(&ev, false);
}

void emit_name(enum ps_kind local_or_peer, int fd, uint64_t cookie, const struct sockaddr *addr,
	       socklen_t len, bool ring)
{
	struct ps_event ev = NEW_EVENT((uint8_t)local_or_peer, fd);

	/* LOCAL and PEER have the same payload. */
	ev.local.cookie = cookie;
	append_addr(&ev, &ev.local.address, addr, len, ring);
}

bool emit_socket(uint64_t stamp, int fd, const struct identity *id, bool pair, bool ring, uint32_t flags)
{
	struct ps_event ev = NEW_EVENT_AT(PS_SOCKET, fd, stamp);

	ev.flags = flags;
	ev.socket.cookie = id->cookie;
	ev.socket.family = id->family;
	ev.socket.type = id->type;
	ev.socket.protocol = id->protocol;
	ev.socket.pair = pair;
	return append(&ev, ring);
}

void emit_no_socket(int family, int type, int protocol, int error)
{
	struct ps_event ev = NEW_EVENT(PS_SOCKET, -1);

	ev.error = (uint16_t)error;
	ev.socket.family = (uint16_t)family;
	ev.socket.type = (uint16_t)type;
	ev.socket.protocol = (uint16_t)protocol;
	append(&ev, false);
}

/* An IPv4 socket takes an address of no family for one of its own: act.c.  Others refuse it, by these. */
static bool is_taken_for_ipv4(const struct sockaddr *addr, socklen_t len, int error)
{
	return addr != NULL && len >= sizeof(struct sockaddr_in) && addr->sa_family == AF_UNSPEC &&
	       error != EAFNOSUPPORT && error != EINVAL;
}

void emit_bind(int fd, uint64_t cookie, const struct sockaddr *addr, socklen_t len, int error)
{
	struct ps_event ev = NEW_EVENT(PS_BIND, fd);
	struct sockaddr_in in;

	ev.error = (uint16_t)error;
	ev.bind.cookie = cookie;
	addr = addr_if_read(addr, len, error);
	if (is_taken_for_ipv4(addr, len, error)) {
		memcpy(&in, addr, sizeof(in));
		in.sin_family = AF_INET;
		addr = (const struct sockaddr *)&in;
	}
	append_addr(&ev, &ev.bind.address, addr, len, false);
}

void emit_listen(int fd, uint64_t cookie, int backlog, int error)
{
	struct ps_event ev = NEW_EVENT(PS_LISTEN, fd);

	ev.error = (uint16_t)error;
	ev.listen.cookie = cookie;
	ev.listen.backlog = backlog;
	append(&ev, false);
}

void emit_connect(int fd, uint64_t cookie, const struct sockaddr *addr, socklen_t len, int error, bool ring)
{
	struct ps_event ev = NEW_EVENT(PS_CONNECT, fd);

	ev.error = (uint16_t)error;
	ev.connect.cookie = cookie;
	append_addr(&ev, &ev.connect.address, addr_if_read(addr, len, error), len, ring);
}

bool emit_accept(uint64_t stamp, int fd, uint64_t listener, const struct sockaddr *addr, socklen_t len,
		 int error, bool ring, uint32_t flags)
{
	struct ps_event ev = NEW_EVENT_AT(PS_ACCEPT, fd, stamp);

	ev.error = (uint16_t)error;
	ev.flags = flags;
	ev.accept.listener = listener;
	return append_addr(&ev, &ev.accept.address, addr, len, ring);
}

void emit_shutdown(int fd, uint64_t cookie, int how, int error, bool ring)
{
	struct ps_event ev = NEW_EVENT(PS_SHUTDOWN, fd);

	ev.error = (uint16_t)error;
	ev.shutdown.cookie = cookie;
	ev.shutdown.how = how;
	append(&ev, ring);
}

void emit_option(int fd, uint64_t cookie, int level, int name, int value)
{
	struct ps_event ev = NEW_EVENT(PS_OPTION, fd);

	ev.option.cookie = cookie;
	ev.option.level = level;
	ev.option.name = name;
	ev.option.value = value;
	append(&ev, false);
}

void emit_dup(uint64_t stamp, int fd, int from, uint64_t cookie, uint32_t flags)
{
	struct ps_event ev = NEW_EVENT_AT(PS_DUP, fd, stamp);

	ev.flags = flags;
	ev.dup.cookie = cookie;
	ev.dup.from = from;
	append(&ev, false);
}

void emit_close(uint64_t stamp, int fd, uint64_t cookie, bool ring, uint32_t flags)
{
	struct ps_event ev = NEW_EVENT_AT(PS_CLOSE, fd, stamp);

	ev.flags = flags;
	ev.close.cookie = cookie;
	append(&ev, ring);
}

void emit_close_range(uint64_t stamp, unsigned first, unsigned last)
{
	struct ps_event ev = NEW_EVENT_AT(PS_CLOSE_RANGE, -1, stamp);

	ev.close_range.first = first;
	ev.close_range.last = last;
	append(&ev, false);
}

void emit_send_fd(uint64_t stamp, int over, int passed, uint64_t cookie)
{
	struct ps_event ev = NEW_EVENT_AT(PS_SEND_FD, over, stamp);

	ev.send_fd.cookie = cookie;
	ev.send_fd.passed = passed;
	append(&ev, false);
}

void emit_rules(const char *problem)
{
	struct ps_event ev = NEW_EVENT(PS_RULES, -1);

	append_tail(&ev, problem, strlen(problem) + 1, false);
}

void emit_act(int fd, uint64_t cookie, const struct ps_act *act, const char *source, size_t len, int error,
	      bool ring)
{
	struct ps_event ev = NEW_EVENT(PS_ACT, fd);
	char text[RULE_SOURCE_MAX] = "";

	ev.error = (uint16_t)error;
	ev.act = *act;
	ev.act.cookie = cookie;
	len = len < sizeof(text) ? len : sizeof(text) - 1;
	memcpy(text, source, len);
	append_tail(&ev, text, len + 1, ring);
}

void emit_forget_counters(void)
{
	for (unsigned fd = 0; fd < fdtab_end(); fd++) {
		struct fd_entry *e = fdtab_find((int)fd);

		if (e != NULL)
			atomic_store(&e->counter, NULL);
	}
}

void emit_count(int fd, struct fd_entry *e, uint64_t cookie, bool found)
{
	struct ps_event *counter = e == NULL ? NULL : atomic_load_explicit(&e->counter, memory_order_acquire);
	enum log_result appended;
	struct ps_event ev;

	/* A counter of the parent's is not ours to count on, and its chunk may not even be mapped here. */
	if (counter != NULL && atomic_load_explicit(&e->counter_of, memory_order_relaxed) == process_id() &&
	    counter->count.cookie == cookie) {
		_Atomic uint64_t *n =
			(_Atomic uint64_t *)(found ? &counter->count.accepts : &counter->count.empty);

		atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
		return;
	}
	ev = (struct ps_event)NEW_EVENT(PS_COUNT, fd);
	ev.count.cookie = cookie;
	ev.count.accepts = found;
	ev.count.empty = !found;
	appended = log_append(&self.log, &ev, NULL, 0, false, &counter);
	if (appended != LOG_DROPPED && e != NULL && thread.vfork_child == 0) {
		atomic_store_explicit(&e->counter, NULL, memory_order_relaxed);
		atomic_store_explicit(&e->counter_of, ev.process, memory_order_release);
		atomic_store_explicit(&e->counter, counter, memory_order_release);
	}
	/* A server that finds nothing to accept may make no other record for long. */
	make_good(appended);
}
