/* SPDX-License-Identifier: MIT */
/* setuid and its kin, chroot, prctl, unshare, setns: each in a child, for there is no way back. */
#include "cases.h"

#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define NOBODY 65534

static void show_ids(void)
{
	uid_t r, e, s;
	gid_t rg, eg, sg, groups[64];
	int n;

	CHECK(getresuid(&r, &e, &s) == 0);
	CHECK(getresgid(&rg, &eg, &sg) == 0);
	n = getgroups(64, groups);
	say("uid %u %u %u gid %u %u %u groups", r, e, s, rg, eg, sg);
	for (int i = 0; i < n; i++)
		say(" %u", groups[i]);
	say("\n");
}

/* Everything that needs a socket works on. */
static void work(void)
{
	struct address a;
	int s = tcp_listener(&a), c = tcp_connected(&a), got = OK(accept4(s, NULL, NULL, SOCK_CLOEXEC));
	int copy = OK(dup(s)), u[2];

	put(c, "hello");
	get(got, "hello");
	IS(0, close(copy));
	unix_pair(u);
	put(u[0], "pair");
	get(u[1], "pair");
	IS(0, close(u[0]));
	IS(0, close(u[1]));
	IS(0, close(got));
	IS(0, close(c));
	show_fd(s);
}

/* More records than any first chunk holds. */
static void much_work(unsigned n)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	CHECK(fd >= 0);
	for (unsigned i = 0; i < n; i++) {
		int copy = dup(fd);

		CHECK(copy > fd);
		CHECK(close(copy) == 0);
	}
	CHECK(close(fd) == 0);
}

static int work_in_child(void)
{
	work();
	return 5;
}

static int exec_child(void)
{
	char *argv[] = { self, (char *)"--child", (char *)"6", NULL };

	work();
	execv(self, argv);
	return 98;
}

static void work_and_exec(void)
{
	work();
	much_work(500);
	in_child(work_in_child);
	in_child(exec_child);
}

/* ---- setuid and its kin ---- */

#define DROPS(name, ...)                \
	static int name##_drops(void)   \
	{                               \
		work();                 \
		__VA_ARGS__             \
		show_ids();             \
		work_and_exec();        \
		return exec_child();    \
	}                               \
	static void name##_case(void)   \
	{                               \
		need_root();            \
		in_child(name##_drops); \
		show_ids();             \
		work();                 \
	}

/* The first hooked call of the process is the drop itself. */
static int drop_at_once(void)
{
	IS(0, setuid(NOBODY));
	return exec_child();
}

static void setuid_at_once(void)
{
	need_root();
	in_child(drop_at_once);
}

DROPS(setuid, IS(0, setuid(NOBODY)); FAILS(EPERM, setuid(0)); IS(0, setuid(NOBODY));)
DROPS(setresuid, IS(0, setresuid(-1, -1, -1)); IS(0, setresuid(NOBODY, NOBODY, NOBODY));
      FAILS(EPERM, setresuid(-1, 0, -1));)
DROPS(setreuid, IS(0, setreuid(-1, -1)); IS(0, setreuid(NOBODY, NOBODY)); FAILS(EPERM, setreuid(0, 0));)
DROPS(seteuid, IS(0, seteuid(NOBODY)); FAILS(EPERM, seteuid(1)); IS(0, seteuid(0)); IS(0, setuid(NOBODY));
      FAILS(EPERM, seteuid(0));)
DROPS(setegid, IS(0, setegid(NOBODY)); IS(0, setegid(0)); IS(0, setegid(NOBODY)); IS(0, setgid(NOBODY));)
DROPS(setgid, IS(0, setgid(NOBODY)); IS(0, setuid(NOBODY)); FAILS(EPERM, setgid(0));)
DROPS(setresgid, IS(0, setresgid(-1, NOBODY, -1)); IS(0, setresgid(NOBODY, NOBODY, NOBODY));)
DROPS(setregid, IS(0, setregid(NOBODY, NOBODY)); IS(0, setregid(-1, -1));)
DROPS(initgroups, IS(0, initgroups("nobody", NOBODY)); IS(0, setgid(NOBODY)); IS(0, setuid(NOBODY));
      FAILS(EPERM, initgroups("root", 0));)

static int wrong_ids(void)
{
	FAILS(EINVAL, setuid((uid_t)-1));
	FAILS(EINVAL, setgid((gid_t)-1));
	IS(0, setgid(NOBODY));
	IS(0, setuid(NOBODY));
	FAILS(EPERM, setuid(0));
	FAILS(EPERM, setgid(0));
	FAILS(EPERM, setresuid(0, 0, 0));
	FAILS(EPERM, setresgid(0, 0, 0));
	FAILS(EPERM, setreuid(0, -1));
	FAILS(EPERM, setregid(0, -1));
	FAILS(EPERM, initgroups("root", 0));
	FAILS(EPERM, chroot("/"));
	FAILS(EPERM, unshare(CLONE_NEWNET));
	work();
	show_ids();
	return 0;
}

static void ids_errors(void)
{
	need_root();
	in_child(wrong_ids);
}

/* Down for a while and up again, as servers do that bind in between. */
static int down_and_up(void)
{
	struct address low = ip4("127.0.0.1", 0);
	int s;

	IS(0, setresuid(-1, NOBODY, 0));
	show_ids();
	work();
	s = OK(socket(AF_INET, SOCK_STREAM, 0));
	IS(0, bind(s, &low.sa, low.len));
	IS(0, setresuid(-1, 0, -1));
	show_ids();
	work();
	IS(0, setreuid(0, NOBODY));
	work();
	IS(0, setreuid(0, 0));
	return exec_child();
}

static void setresuid_and_back(void)
{
	need_root();
	in_child(down_and_up);
}

static atomic_int stage;

static void other_thread(void *arg)
{
	uid_t r, e, s;

	stage = 1;
	while (stage != 2)
		usleep(100);
	/* glibc changes every thread. */
	CHECK(getresuid(&r, &e, &s) == 0 && r == NOBODY && e == NOBODY && s == NOBODY);
	much_work(300);
}

static int drop_with_threads(void)
{
	struct thread t;

	thread_start(&t, other_thread, NULL);
	while (stage != 1)
		usleep(100);
	IS(0, setuid(NOBODY));
	stage = 2;
	CHECK(thread_join(&t) == (void *)1);
	work();
	return 0;
}

static void setuid_threads(void)
{
	need_root();
	in_child(drop_with_threads);
}

/* Passes root's listener on to what it executes after the drop. */
static int drop_and_serve(void)
{
	struct address a;
	char *argv[] = { self, (char *)"--child", (char *)"7", NULL };

	tcp_listener(&a);
	IS(0, setgid(NOBODY));
	IS(0, setuid(NOBODY));
	execv(self, argv);
	return 98;
}

static void setuid_exec(void)
{
	need_root();
	in_child(drop_and_serve);
}

/* ---- chroot ---- */

static int in_jail(void)
{
	struct address path = unix_path("/x.sock");
	char *argv[] = { (char *)"true", NULL };
	int s;

	work();
	IS(0, mkdir("jail", 0755));
	IS(0, chroot("jail"));
	IS(0, chdir("/"));
	work();
	s = OK(socket(AF_UNIX, SOCK_STREAM, 0));
	IS(0, bind(s, &path.sa, path.len));
	show_fd(s);
	much_work(500);
	in_child(work_in_child);
	FAILS(ENOENT, execv("/bin/true", argv));
	FAILS(ENOENT, execvp("true", argv));
	IS(0, setuid(NOBODY));
	work();
	return 0;
}

static void chroot_empty(void)
{
	need_root();
	in_child(in_jail);
	IS(0, access("jail/x.sock", F_OK));
}

/* The first hooked call is the chroot itself. */
static int in_jail_at_once(void)
{
	IS(0, mkdir("jail", 0755));
	IS(0, chroot("jail"));
	work();
	return 0;
}

static void chroot_at_once(void)
{
	need_root();
	in_child(in_jail_at_once);
}

static int to_the_same_root(void)
{
	IS(0, chroot("/"));
	return exec_child();
}

static void chroot_same(void)
{
	need_root();
	in_child(to_the_same_root);
}

static int chroot_wrong(void)
{
	CHECK(close(open("file", O_CREAT | O_WRONLY, 0644)) == 0);
	FAILS(ENOENT, chroot("no such directory"));
	FAILS(ENOTDIR, chroot("file"));
	FAILS(EFAULT, chroot(bad_pointer));
	FAILS(ENOENT, chroot(""));
	work();
	return exec_child();
}

static void chroot_errors(void)
{
	need_root();
	in_child(chroot_wrong);
}

/* ---- prctl ---- */

static void prctl_names(void)
{
	char name[16] = "";

	IS(0, prctl(PR_SET_NAME, "a name"));
	IS(0, prctl(PR_GET_NAME, name));
	say("%s\n", name);
	CHECK(strcmp(name, "a name") == 0);
	IS(0, prctl(PR_SET_PDEATHSIG, SIGTERM));
	IS(0, prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
	IS(1, prctl(PR_GET_DUMPABLE));
	IS(0, prctl(PR_SET_TIMERSLACK, 50000));
	IS(0, prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
	IS(0, prctl(PR_GET_SECCOMP));
	FAILS(EINVAL, prctl(-1, 1, 2, 3, 4));
	FAILS(EFAULT, prctl(PR_SET_NAME, bad_pointer));
	FAILS(EINVAL, prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
	FAILS(EINVAL, prctl(PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0));
	IS(0, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	FAILS(EFAULT, prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, bad_pointer));
	FAILS(EINVAL, prctl(PR_SET_SECCOMP, 99));
	work();
}

static int no_new_privileges(void)
{
	work();
	IS(0, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	IS(1, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	work_and_exec();
	return exec_child();
}

static void prctl_no_new_privs(void)
{
	in_child(no_new_privileges);
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

	CHECK(n < 50);
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
	IS(0, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	IS(0, prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}
#define ALLOW_ONLY(...)                                                 \
	do {                                                            \
		static const int calls_[] = { __VA_ARGS__ };            \
		allow_only(calls_, sizeof(calls_) / sizeof(calls_[0])); \
	} while (0)

static int jail_listener;

/* A worker that from now on only serves. */
static int serves_in_sandbox(void)
{
	ALLOW_ONLY(SYS_accept4, SYS_close, SYS_write, SYS_exit_group);
	for (int i = 0; i < 60; i++) {
		int fd = accept4(jail_listener, NULL, NULL, SOCK_CLOEXEC);

		CHECK(fd >= 0);
		CHECK(write(fd, "x", 1) == 1);
		CHECK(close(fd) == 0);
	}
	FAILS(EBADF, close(99));
	return 9;
}

static void seccomp_serve(void)
{
	struct address a;

	jail_listener = tcp_listener(&a);
	for (int i = 0; i < 60; i++)
		tcp_connected(&a);
	in_child(serves_in_sandbox);
}

static int works_in_sandbox(void)
{
	struct address a = ip4("127.0.0.1", 0);
	int on = 1, u[2], s;

	ALLOW_ONLY(SYS_socket, SYS_socketpair, SYS_bind, SYS_listen, SYS_connect, SYS_shutdown,
		   SYS_setsockopt, SYS_dup, SYS_dup2, SYS_dup3, SYS_fcntl, SYS_close, SYS_close_range,
		   SYS_sendmsg, SYS_recvmsg, SYS_write, SYS_exit_group);
	s = OK(socket(AF_INET, SOCK_STREAM, 0));
	IS(0, setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
	IS(0, bind(s, &a.sa, a.len));
	IS(0, listen(s, 5));
	IS(0, socketpair(AF_UNIX, SOCK_STREAM, 0, u));
	IS(30, dup2(s, 30));
	IS(31, dup3(s, 31, O_CLOEXEC));
	IS(32, fcntl(s, F_DUPFD, 32));
	IS(0, close_range(30, 40, 0));
	IS(0, shutdown(u[0], SHUT_RDWR));
	/* More than any reserve holds. */
	for (int i = 0; i < 20000; i++)
		CHECK(close(dup(s)) == 0);
	IS(0, close(s));
	FAILS(EBADF, close(s));
	return 8;
}

static void seccomp_work(void)
{
	in_child(works_in_sandbox);
}

static int forks_in_sandbox(void)
{
	pid_t pid;

	ALLOW_ONLY(SYS_clone, SYS_set_robust_list, SYS_wait4, SYS_accept4, SYS_dup, SYS_close, SYS_write,
		   SYS_exit_group);
	pid = fork();
	if (pid == 0) {
		int fd = accept4(jail_listener, NULL, NULL, 0);

		for (int i = 0; i < 200; i++)
			CHECK(close(dup(fd)) == 0);
		_exit(fd >= 0 && close(fd) == 0 && !failed() ? 4 : 99);
	}
	show_end(pid);
	return 7;
}

static void seccomp_fork(void)
{
	struct address a;

	jail_listener = tcp_listener(&a);
	tcp_connected(&a);
	in_child(forks_in_sandbox);
}

/* What the filter forbids still kills, and nothing else is what it dies of. */
static int forbidden(void)
{
	ALLOW_ONLY(SYS_write, SYS_exit_group);
	say("so far\n");
	socket(AF_INET, SOCK_STREAM, 0);
	return 98;
}

static void seccomp_kills(void)
{
	in_child(forbidden);
}

static int strict(void)
{
	work();
	IS(0, prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
	say("only read, write and exit\n");
	syscall(SYS_exit, 3);
	return 98;
}

static void seccomp_strict(void)
{
	in_child(strict);
}

/* A filter that forbids nothing, and an exec behind it. */
static int exec_in_sandbox(void)
{
	struct sock_filter filter[] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
	struct sock_fprog program = { .len = 1, .filter = filter };

	IS(0, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	IS(0, prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
	return exec_child();
}

static void seccomp_exec(void)
{
	in_child(exec_in_sandbox);
}

/* ---- unshare, setns ---- */

static int other_network(void)
{
	struct address a = ip4("0.0.0.0", 4711);
	int s = OK(socket(AF_INET, SOCK_STREAM, 0)), t,
	    home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	CHECK(home >= 0);
	IS(0, unshare(CLONE_NEWNET));
	/* The older socket stays where it was made. */
	show_fd(s);
	t = OK(socket(AF_INET, SOCK_STREAM, 0));
	IS(0, bind(t, &a.sa, a.len));
	IS(0, listen(t, 5));
	show_fd(t);
	IS(0, setns(home, CLONE_NEWNET));
	work();
	IS(0, unshare(CLONE_NEWNS));
	IS(0, unshare(CLONE_NEWUTS | CLONE_NEWIPC));
	return exec_child();
}

static void unshare_network(void)
{
	need_root();
	in_child(other_network);
}

static int in_new_pids(void)
{
	CHECK(getpid() == 1);
	work();
	return 3;
}

static int other_pids(void)
{
	IS(0, unshare(CLONE_NEWPID));
	work();
	in_child(in_new_pids);
	return 2;
}

static void unshare_pids(void)
{
	need_root();
	in_child(other_pids);
}

static int other_user(void)
{
	IS(0, setuid(NOBODY));
	IS(0, unshare(CLONE_NEWUSER));
	work();
	return exec_child();
}

/* user_namespaces(7): refused in a chroot, and where the system forbids it. */
static bool may_have_user_namespace(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(syscall(SYS_unshare, CLONE_NEWUSER) != 0);
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void unshare_user(void)
{
	need_root();
	if (!may_have_user_namespace())
		skip("no user namespaces here");
	in_child(other_user);
}

static int private_files(void)
{
	IS(0, unshare(CLONE_FILES));
	IS(0, unshare(CLONE_FS));
	IS(0, unshare(0));
	FAILS(EINVAL, unshare(-1));
	FAILS(EINVAL, unshare(0x1));
	work();
	return exec_child();
}

static void unshare_files(void)
{
	in_child(private_files);
}

static int comes_back(void)
{
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), away;

	IS(0, unshare(CLONE_NEWNET));
	away = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	IS(0, setns(home, 0));
	work();
	IS(0, setns(away, CLONE_NEWNET));
	OK(socket(AF_INET, SOCK_STREAM, 0));
	IS(0, setns(home, CLONE_NEWNET));
	work();
	return exec_child();
}

static void setns_network(void)
{
	need_root();
	in_child(comes_back);
}

static int setns_wrong(void)
{
	int s = OK(socket(AF_INET, SOCK_STREAM, 0)), home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	FAILS(EBADF, setns(-1, 0));
	FAILS(EBADF, setns(99, CLONE_NEWNET));
	FAILS(EINVAL, setns(s, CLONE_NEWNET));
	FAILS(EINVAL, setns(home, CLONE_NEWPID));
	FAILS(EINVAL, setns(home, -1));
	work();
	return 0;
}

static void setns_errors(void)
{
	need_root();
	in_child(setns_wrong);
}

const struct test_case cases[] = {
	{ "setuid", setuid_case },
	{ "setuid/at once", setuid_at_once },
	{ "setuid/errors", ids_errors },
	{ "setuid/threads", setuid_threads },
	{ "setuid/exec", setuid_exec },
	{ "seteuid", seteuid_case },
	{ "setegid", setegid_case },
	{ "setgid", setgid_case },
	{ "setresuid", setresuid_case },
	{ "setresuid/and back", setresuid_and_back },
	{ "setresgid", setresgid_case },
	{ "setreuid", setreuid_case },
	{ "setregid", setregid_case },
	{ "initgroups", initgroups_case },
	{ "chroot", chroot_empty },
	{ "chroot/at once", chroot_at_once },
	{ "chroot/same", chroot_same },
	{ "chroot/errors", chroot_errors },
	{ "prctl", prctl_names },
	{ "prctl/PR_SET_NO_NEW_PRIVS", prctl_no_new_privs },
	{ "prctl/seccomp serve", seccomp_serve },
	{ "prctl/seccomp work", seccomp_work },
	{ "prctl/seccomp fork", seccomp_fork },
	{ "prctl/seccomp kills", seccomp_kills },
	{ "prctl/seccomp strict", seccomp_strict },
	{ "prctl/seccomp exec", seccomp_exec },
	{ "unshare", unshare_network },
	{ "unshare/pid namespace", unshare_pids },
	{ "unshare/user namespace", unshare_user },
	{ "unshare/files", unshare_files },
	{ "setns", setns_network },
	{ "setns/errors", setns_errors },
	{ NULL, NULL },
};
