/* SPDX-License-Identifier: MIT */
#include "kernel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util.h"

#define PROC_PATH_MAX 64
#define STAT_MAX 2048 /* one line: 52 numbers and 64 bytes of comm at most */

/* A directory of /proc/PID that has gone says ENOENT, a file of it opened before says ESRCH. */
static int gone(int err)
{
	return err == ENOENT ? -ESRCH : -err;
}

/* Fields are separated by one blank; *at is left behind the number. */
static bool take_number(const char **at, uint64_t *out)
{
	char *end;

	if (**at == '-') /* no field that is asked for can be */
		return false;
	*out = strtoull(*at, &end, 10);
	if (end == *at)
		return false;
	*at = end;
	return true;
}

static const char *skip_fields(const char *at, int n)
{
	for (; n > 0 && at != NULL; n--) {
		at = strchr(at, ' ');
		if (at != NULL)
			at++;
	}
	return at;
}

/* comm may hold anything, blanks and ')' too: the fields start behind the last ')'. */
static int parse_stat(const char *line, struct kernel_process *out)
{
	const char *at = strrchr(line, ')');
	uint64_t ppid;

	if (at == NULL || at[1] != ' ' || at[2] == '\0')
		return -EPROTO;
	at += 2; /* field 3 */
	out->state = *at;
	at = skip_fields(at, 1);
	if (at == NULL || !take_number(&at, &ppid))
		return -EPROTO;
	out->ppid = (pid_t)ppid;
	at = skip_fields(at, 22 - 4);
	return at != NULL && take_number(&at, &out->start) ? 0 : -EPROTO;
}

int kernel_process(pid_t pid, struct kernel_process *out)
{
	struct kernel_process p = { 0 };
	char path[PROC_PATH_MAX], line[STAT_MAX];
	ssize_t n;
	int fd, err;

	if (pid <= 0)
		return -ESRCH;
	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return gone(errno);
	n = read(fd, line, sizeof(line) - 1);
	err = n < 0 ? gone(errno) : 0;
	(void)close(fd);
	if (err < 0)
		return err;
	line[n] = '\0';
	err = parse_stat(line, &p);
	if (err == 0)
		*out = p;
	return err;
}

/* Its number in the innermost of the namespaces it is in, 0 if that is ours or it is gone. */
static pid_t own_pid(pid_t pid)
{
	static const char head[] = "NSpid:";
	char path[PROC_PATH_MAX];
	CLEANUP_FREE char *line = NULL;
	CLEANUP_FILE FILE *f = NULL;
	size_t size = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	while (f != NULL && getline(&line, &size, f) > 0) {
		const char *last = strrchr(line, '\t');

		if (strncmp(line, head, sizeof(head) - 1) == 0)
			return last == NULL || last == strchr(line, '\t') ? 0 : atoi(last + 1);
	}
	return 0;
}

int kernel_inner_pids(struct kernel_inner **list, size_t *n)
{
	CLEANUP_FREE struct kernel_inner *found = NULL;
	CLEANUP_DIR DIR *dir = opendir("/proc");
	const struct dirent *d;
	size_t count = 0, room = 0;

	if (dir == NULL)
		return -errno;
	while ((d = readdir(dir)) != NULL) {
		struct kernel_inner one = { .pid = atoi(d->d_name) };
		struct kernel_inner *wider;

		one.own = one.pid > 0 ? own_pid(one.pid) : 0;
		if (one.own <= 0)
			continue;
		wider = array_room(found, &room, count + 1, sizeof(*found));
		if (wider == NULL)
			return -ENOMEM;
		found = wider;
		found[count++] = one;
	}
	*list = found;
	*n = count;
	found = NULL;
	return 0;
}

int kernel_uid(pid_t pid, uid_t *out)
{
	char path[PROC_PATH_MAX];
	struct stat st;

	/* Not of a file in it: those are root's where the process cannot be dumped. */
	(void)snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	if (pid <= 0 || stat(path, &st) < 0)
		return pid <= 0 ? -ESRCH : gone(errno);
	*out = st.st_uid;
	return 0;
}

/* "socket:[123]" */
static bool socket_inode(const char *link, uint64_t *inode)
{
	static const char head[] = "socket:[";
	const char *at = link + sizeof(head) - 1;

	return strncmp(link, head, sizeof(head) - 1) == 0 && take_number(&at, inode) && *at == ']';
}

int kernel_fds(pid_t pid, kernel_fd_fn *fn, void *arg)
{
	CLEANUP_DIR DIR *dir = NULL;
	char path[PROC_PATH_MAX];
	struct dirent *d;
	int err = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	if (dir == NULL)
		return gone(errno);
	while (err == 0 && (errno = 0, d = readdir(dir)) != NULL) {
		const char *at = d->d_name;
		char link[PROC_PATH_MAX];
		uint64_t fd, inode;
		ssize_t n;

		if (!take_number(&at, &fd) || *at != '\0' || fd > INT32_MAX)
			continue;
		n = readlinkat(dirfd(dir), d->d_name, link, sizeof(link) - 1);
		if (n < 0)
			continue; /* closed meanwhile; or the process is gone, and readdir ends */
		link[n] = '\0';
		if (socket_inode(link, &inode))
			err = fn((int32_t)fd, inode, arg);
	}
	return err == 0 && d == NULL && errno != 0 ? gone(errno) : err;
}

int kernel_fd_socket(pid_t pid, int32_t fd, uint64_t *cookie, uint64_t *inode)
{
	CLEANUP_CLOSE int pidfd = -1, copy = -1;
	uint64_t asked;
	socklen_t len = sizeof(asked);
	struct stat st;

	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		return -errno;
	copy = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	if (copy < 0 || getsockopt(copy, SOL_SOCKET, SO_COOKIE, &asked, &len) < 0 || fstat(copy, &st) < 0)
		return -errno;
	*cookie = asked;
	*inode = st.st_ino;
	return 0;
}

static int namespace_of(pid_t pid, const char *kind, uint64_t *out)
{
	char path[PROC_PATH_MAX];
	struct stat st;

	(void)snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, kind);
	if (stat(path, &st) < 0)
		return gone(errno);
	*out = st.st_ino;
	return 0;
}

int kernel_netns(pid_t pid, uint64_t *netns)
{
	return namespace_of(pid, "net", netns);
}

int kernel_pidns(pid_t pid, uint64_t *pidns)
{
	return namespace_of(pid, "pid", pidns);
}

/* A file of /proc whole: its size is not known beforehand. */
static int read_whole(const char *path, char **out)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	CLEANUP_FREE char *text = NULL;
	size_t size = 0, len = 0;

	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t n;

		if (size - len < 4096) {
			char *wider;

			size = size == 0 ? 65536 : 2 * size;
			wider = realloc(text, size);
			if (wider == NULL)
				return -ENOMEM;
			text = wider;
		}
		n = read(fd, text + len, size - len - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	text[len] = '\0';
	*out = text;
	text = NULL;
	return 0;
}

struct net_file {
	const char *name;
	uint16_t family, type;
};

static int add(struct kernel_net *net, size_t *size, const struct kernel_socket *s)
{
	if (net->n == *size) {
		size_t more = *size == 0 ? 64 : 2 * *size;
		struct kernel_socket *wider = realloc(net->sockets, more * sizeof(*wider));

		if (wider == NULL)
			return -ENOMEM;
		net->sockets = wider;
		*size = more;
	}
	net->sockets[net->n++] = *s;
	return 0;
}

/* "0100007F:1F90": the address as 32-bit words of this machine's order, the port as a number. */
static bool parse_endpoint(const char *text, uint16_t family, struct endpoint *out)
{
	struct endpoint ep = { .family = family };
	unsigned words = family == AF_INET ? 1 : 4, port;

	for (unsigned i = 0; i < words; i++, text += 8) {
		unsigned word;

		if (sscanf(text, "%8x", &word) != 1)
			return false;
		memcpy(ep.ip + (size_t)4 * i, &word, 4);
	}
	if (*text != ':' || sscanf(text + 1, "%4x", &port) != 1)
		return false;
	ep.port = (uint16_t)port;
	*out = ep;
	return true;
}

static bool nowhere(const struct endpoint *ep)
{
	static const uint8_t zeros[sizeof(ep->ip)];

	return ep->port == 0 && memcmp(ep->ip, zeros, sizeof(zeros)) == 0;
}

static enum kernel_state inet_state(uint16_t type, unsigned state, const struct kernel_socket *s)
{
	if (state == TCP_LISTEN && type == SOCK_STREAM)
		return KERNEL_LISTEN;
	if (!nowhere(&s->peer))
		return KERNEL_CONNECTED;
	return s->local.port != 0 ? KERNEL_BOUND : KERNEL_OPEN;
}

/* "  sl  local_address rem_address   st tx_queue:rx_queue tr:tm->when retrnsmt   uid  timeout inode" */
static bool parse_inet(const char *line, const struct net_file *f, struct kernel_socket *out)
{
	struct kernel_socket s = { .family = f->family, .type = f->type };
	char local[48], peer[48];
	unsigned state;
	unsigned long long inode;

	if (sscanf(line, " %*u: %47[0-9A-F:] %47[0-9A-F:] %x %*x:%*x %*x:%*x %*x %*u %*u %llu", local, peer,
		   &state, &inode) != 4 ||
	    inode == 0) /* TIME_WAIT and the like belong to nobody */
		return false;
	if (!parse_endpoint(local, f->family, &s.local) || !parse_endpoint(peer, f->family, &s.peer))
		return false;
	s.inode = inode;
	s.state = inet_state(f->type, state, &s);
	if (nowhere(&s.peer))
		s.peer.family = 0;
	*out = s;
	return true;
}

static void unix_name(const char *text, struct endpoint *out)
{
	size_t len = strlen(text);

	if (len > sizeof(out->name))
		len = sizeof(out->name);
	out->family = AF_UNIX;
	out->port = (uint16_t)len;
	memcpy(out->name, text, len);
	if (len > 0 && text[0] == '@') /* a path that begins with one looks the same */
		out->name[0] = '\0';
}

#define UNIX_ACCEPTCON 0x10000u
#define UNIX_CONNECTED 3u /* SS_CONNECTED */

/* "Num       RefCount Protocol Flags    Type St Inode Path" */
static bool parse_unix(const char *line, const struct net_file *f, struct kernel_socket *out)
{
	struct kernel_socket s = { .family = f->family };
	unsigned flags, type, state;
	unsigned long long inode;
	int end = 0;

	if (sscanf(line, "%*x: %*x %*x %x %x %x %llu%n", &flags, &type, &state, &inode, &end) != 4 ||
	    inode == 0 || end == 0)
		return false;
	s.type = (uint16_t)type;
	s.inode = inode;
	s.local.family = AF_UNIX;
	if (line[end] == ' ')
		unix_name(line + end + 1, &s.local);
	if (flags & UNIX_ACCEPTCON)
		s.state = KERNEL_LISTEN;
	else if (state == UNIX_CONNECTED)
		s.state = KERNEL_CONNECTED;
	else
		s.state = s.local.port > 0 ? KERNEL_BOUND : KERNEL_OPEN;
	*out = s;
	return true;
}

static int read_net_file(pid_t pid, const struct net_file *f, struct kernel_net *net, size_t *size)
{
	CLEANUP_FREE char *text = NULL;
	char path[PROC_PATH_MAX], *line, *next;
	int err;

	(void)snprintf(path, sizeof(path), "/proc/%d/net/%s", (int)pid, f->name);
	err = read_whole(path, &text);
	if (err < 0)
		return err;
	for (line = text; line != NULL && err == 0; line = next) {
		struct kernel_socket s;

		next = strchr(line, '\n');
		if (next != NULL)
			*next++ = '\0';
		if (f->family == AF_UNIX ? parse_unix(line, f, &s) : parse_inet(line, f, &s))
			err = add(net, size, &s);
	}
	return err;
}

static int by_inode(const void *a, const void *b)
{
	const struct kernel_socket *x = a, *y = b;

	return x->inode < y->inode ? -1 : x->inode > y->inode;
}

int kernel_net(pid_t pid, struct kernel_net *out)
{
	static const struct net_file files[] = {
		{ "unix", AF_UNIX, 0 },
		{ "tcp", AF_INET, SOCK_STREAM },
		{ "tcp6", AF_INET6, SOCK_STREAM },
		{ "udp", AF_INET, SOCK_DGRAM },
		{ "udp6", AF_INET6, SOCK_DGRAM },
		{ "raw", AF_INET, SOCK_RAW },
		{ "raw6", AF_INET6, SOCK_RAW },
	};
	struct kernel_net net = { 0 };
	size_t size = 0;
	int err = kernel_netns(pid, &net.netns);

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]) && err == 0; i++) {
		err = read_net_file(pid, &files[i], &net, &size);
		if (err == -ENOENT && i > 0) /* IPv6 may be left out of a kernel; UNIX sockets never are */
			err = 0;
	}
	if (err < 0) {
		kernel_net_free(&net);
		return err == -ENOENT || err == -EINVAL ? -ESRCH : err;
	}
	if (net.n > 1)
		qsort(net.sockets, net.n, sizeof(*net.sockets), by_inode);
	*out = net;
	return 0;
}

void kernel_net_free(struct kernel_net *net)
{
	free(net->sockets);
	*net = (struct kernel_net){ 0 };
}

const struct kernel_socket *kernel_net_find(const struct kernel_net *net, uint64_t inode)
{
	struct kernel_socket key = { .inode = inode };

	if (net->n == 0)
		return NULL;
	return bsearch(&key, net->sockets, net->n, sizeof(key), by_inode);
}
