/* SPDX-License-Identifier: MIT */
/* Processes and threads: every way to make one, to become another program, and to end. */

#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "torture.h"

#define STACK (256 * 1024)
#define THREADS_MAX 4
#define ROOM 14

/* Threads of this process: one that counts as gone may still be in the middle of ending. */
static bool had_threads;

/* Child: a copy of this process, with this thread alone in it. */
static void become_child(struct slot *s, uint64_t seed, bool locks_as_they_were)
{
	/* Not even fork(2) renews all of libc's locks. */
	careful = careful || (locks_as_they_were && had_threads) || atomic_load(&exiting) ||
		  atomic_load(&in_shell) != 0;
	had_threads = false;
	slot_enter(s, seed);
}

/* Whatever thread of the parent's it was: it goes on to the process's end. */
static void enter_child(struct slot *s, uint64_t seed, bool locks_as_they_were)
{
	become_child(s, seed, locks_as_they_were);
	run_thread(UINT32_MAX);
	leave(false);
}

static void op_fork(void)
{
	struct slot *s = slot_take();
	uint64_t seed = dice_seed();
	pid_t pid;

	if (s == NULL)
		return;
	pid = fork();
	if (pid == 0)
		enter_child(s, seed, false);
	if (pid < 0)
		slot_give_back(s);
	trace("forked", pid, -1);
}

static void op__Fork(void)
{
	struct slot *s = slot_take();
	uint64_t seed = dice_seed();
	pid_t pid;

	if (s == NULL)
		return;
	pid = _Fork();
	if (pid == 0)
		enter_child(s, seed, true);
	if (pid < 0)
		slot_give_back(s);
	trace("_Forked", pid, -1);
}

/* The one in the middle does next to nothing, and has a slot that it leaves at once. */
static void op_double_fork(void)
{
	struct slot *middle = slot_take(), *s = slot_take();
	uint64_t seed = dice_seed();
	pid_t pid;

	if (s == NULL || middle == NULL) {
		if (middle != NULL)
			slot_give_back(middle);
		if (s != NULL)
			slot_give_back(s);
		return;
	}
	pid = fork();
	if (pid == 0) {
		become_child(middle, seed, false);
		pid = fork();
		if (pid == 0)
			enter_child(s, seed + 2, false);
		if (pid < 0)
			slot_give_back(s);
		leave(false);
	}
	if (pid < 0) {
		slot_give_back(s);
		slot_give_back(middle);
	}
}

/* Ends as soon as it is there. */
static void op_fork_exit(void)
{
	struct slot *s = slot_take();
	uint64_t seed = dice_seed();
	pid_t pid;

	if (s == NULL)
		return;
	pid = fork();
	if (pid == 0) {
		become_child(s, seed, false);
		close(any_fd());
		leave(dice(2) == 0);
	}
	if (pid < 0)
		slot_give_back(s);
}

/* Without libc's knowledge.  What has happened is known to nobody before the child's first call. */
static long bare_fork(void)
{
#if defined(__x86_64__)
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(SYS_fork) : "rcx", "r11", "memory");
	return ret;
#else
	return syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
#endif
}

static void fork_by(long (*call)(void))
{
	struct slot *s = slot_take();
	uint64_t seed = dice_seed();
	long pid;

	if (s == NULL)
		return;
	pid = call();
	if (pid == 0) {
		close(-1);
		enter_child(s, seed, true);
	}
	if (pid < 0)
		slot_give_back(s);
	trace("bare", (int)pid, -1);
}

static void op_bare_fork(void)
{
	fork_by(bare_fork);
}

static long fork_by_syscall(void)
{
	return syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
}

static void op_syscall_fork(void)
{
	fork_by(fork_by_syscall);
}

/* clone(2): the child starts in a function, on a stack of its own. */
struct clone_start {
	struct slot *slot;
	uint64_t seed;
};

static int cloned(void *arg)
{
	const struct clone_start *start = arg;

	close(-1);
	enter_child(start->slot, start->seed, true);
	return 0;
}

static void op_clone(void)
{
	struct clone_start start = { slot_take(), dice_seed() };
	char *stack;

	if (start.slot == NULL)
		return;
	stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (stack == MAP_FAILED || clone(cloned, stack + STACK, SIGCHLD, &start) < 0)
		slot_give_back(start.slot);
	if (stack != MAP_FAILED)
		munmap(stack, STACK);
}

/* Programs: this one again. */

struct next {
	char slot[16], seed[32];
	char *argv[5];
};

static void next_of(struct next *n, const struct slot *s)
{
	snprintf(n->slot, sizeof(n->slot), "%d", (int)(s - board->slots));
	snprintf(n->seed, sizeof(n->seed), "%llu", (unsigned long long)dice_seed());
	n->argv[0] = own_path;
	n->argv[1] = board_path;
	n->argv[2] = n->slot;
	n->argv[3] = n->seed;
	n->argv[4] = NULL;
}

/* ld.so needs a descriptor to load anything. */
static void begin_exec(void)
{
	atomic_fetch_add(&execing, 1);
	keep_signals(true);
	close_range(FD_LIMIT - ROOM, FD_LIMIT - 1, 0);
}

static void end_exec(void)
{
	keep_signals(false);
	atomic_fetch_sub(&execing, 1);
}

static void exec_in_some_way(struct next *n, uint32_t way)
{
	char *none[] = { NULL };
	int fd;

	switch (way) {
	case 0:
		execve(own_path, n->argv, none);
		break;
	case 1:
		execl(own_path, own_path, board_path, n->slot, n->seed, (char *)NULL);
		break;
	case 2:
		execle(own_path, own_path, board_path, n->slot, n->seed, (char *)NULL, none);
		break;
	case 3:
		fd = open(own_path, O_RDONLY | O_CLOEXEC);
		fexecve(fd, n->argv, environ);
		close(fd);
		break;
	case 4:
		execvp(own_path, n->argv);
		break;
	case 5:
		execveat(AT_FDCWD, own_path, n->argv, none, 0);
		break;
	default:
		execv(own_path, n->argv);
	}
}

static void op_exec(void)
{
	struct next n;

	next_of(&n, me);
	begin_exec();
	exec_in_some_way(&n, dice(8));
	end_exec();
}

static void op_exec_fails(void)
{
	char *argv[] = { own_path, NULL };

	if (dice(2) == 0)
		execv("/nowhere/at-all", argv);
	else
		execve("/dev/null", argv, environ);
}

/* The child runs on this stack: what it does is what this function's frame can hold. */
static void op_vfork(void)
{
	struct slot *s = slot_take();
	uint32_t way = dice(8);
	int fd = any_fd(), from = any_fd(), to = any_fd();
	struct next n;
	pid_t pid;

	if (s == NULL)
		return;
	next_of(&n, s);
	begin_exec();
	pid = vfork();
	if (pid == 0) {
		atomic_store(&s->pid, getpid());
		close(fd);
		dup2(from, to);
		exec_in_some_way(&n, way);
		slot_leave(s);
		_exit(0);
	}
	end_exec();
	if (pid < 0)
		slot_give_back(s);
	trace("vforked", pid, -1);
}

/* Ends without an exec: nothing that it did is its parent's. */
static void op_vfork_exit(void)
{
	int fd = any_fd(), from = any_fd(), to = any_fd();
	bool nested = dice(3) == 0;
	pid_t pid;

	keep_signals(true);
	pid = vfork();
	if (pid == 0) {
		close(fd);
		dup2(from, to);
		close_range((unsigned)to, (unsigned)to + 4, 0);
		socket(AF_INET, SOCK_STREAM, 0);
		if (nested && vfork() == 0) {
			close(fd);
			_exit(0);
		}
		close(from);
		_exit(0);
	}
	keep_signals(false);
}

static void op_spawn(void)
{
	struct slot *s = slot_take();
	posix_spawn_file_actions_t actions;
	char *none[] = { NULL };
	struct next n;
	pid_t pid;
	int ret;

	if (s == NULL)
		return;
	next_of(&n, s);
	posix_spawn_file_actions_init(&actions);
	for (uint32_t i = dice(3); i > 0; i--)
		posix_spawn_file_actions_addclose(&actions, any_fd());
	for (uint32_t i = dice(3); i > 0; i--)
		posix_spawn_file_actions_adddup2(&actions, any_fd(), any_fd());
	if (dice(3) == 0)
		posix_spawn_file_actions_addopen(&actions, any_fd(), "/dev/null", O_RDONLY, 0);
	begin_exec();
	ret = (dice(2) == 0 ? posix_spawn : posix_spawnp)(&pid, own_path, &actions, NULL, n.argv,
							  dice(3) == 0 ? none : environ);
	end_exec();
	posix_spawn_file_actions_destroy(&actions);
	if (ret != 0)
		slot_give_back(s);
}

/* Inside libc, and by other programs. */

static void op_daemon(void)
{
	struct slot *s = slot_take();
	uint64_t seed = dice_seed();
	pid_t before = getpid();
	bool done;

	if (s == NULL)
		return;
	/* The one who calls it ends inside. */
	slot_leave(me);
	done = daemon(1, dice(2) == 0) == 0;
	/* It may fail in the child, where no descriptor is left for its /dev/null. */
	if (done || getpid() != before)
		enter_child(s, seed, false);
	slot_stay(me);
	slot_give_back(s);
}

static void begin_shell(void)
{
	atomic_fetch_add(&in_shell, 1);
	begin_exec();
}

static void end_shell(void)
{
	end_exec();
	atomic_fetch_sub(&in_shell, 1);
}

static void op_system(void)
{
	begin_shell();
	if (system(dice(2) == 0 ? "exit 0" : "/bin/true") < 0)
		trace("no system", -1, -1);
	end_shell();
}

static void op_popen(void)
{
	FILE *f;

	begin_shell();
	f = popen("exit 0", "r");
	if (f != NULL)
		pclose(f);
	end_shell();
}

static void op_fetch(void)
{
	int pid = atomic_load(&board->slots[dice(LIVE_MAX)].pid), pidfd;

	pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	if (pidfd < 0)
		return;
	hint_add(HINT_SOCKET, pidfd_getfd(pidfd, any_fd(), 0));
	close(pidfd);
}

/* Threads and signals. */

static void *threaded(void *arg)
{
	dice_start((uint64_t)(uintptr_t)arg);
	run_thread(20 + dice(200));
	keep_signals(true);
	atomic_fetch_sub(&me->threads, 1);
	return NULL;
}

static void op_thread(void)
{
	pthread_attr_t attr;
	pthread_t thread;

	if (atomic_fetch_add(&me->threads, 1) >= THREADS_MAX) {
		atomic_fetch_sub(&me->threads, 1);
		return;
	}
	had_threads = true;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK);
	if (pthread_create(&thread, &attr, threaded, (void *)(uintptr_t)dice_seed()) != 0)
		atomic_fetch_sub(&me->threads, 1);
	pthread_attr_destroy(&attr);
}

static void op_signal(void)
{
	kill(getpid(), SIGUSR1);
}

static void op_timer(void)
{
	struct itimerval once = { .it_value.tv_usec = 10 + dice(500) };

	setitimer(ITIMER_REAL, &once, NULL);
}

static void op_reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		trace("reaped", pid, status);
}

static void op_exit(void)
{
	leave(dice(2) == 0);
}

const struct op process_ops[] = {
	{ "fork", op_fork, 10, NEED_MALLOC, NULL },
	{ "_Fork", op__Fork, 3, 0, NULL },
	{ "double_fork", op_double_fork, 2, NEED_MALLOC, NULL },
	{ "fork_exit", op_fork_exit, 2, NEED_MALLOC, NULL },
	{ "bare_fork", op_bare_fork, 2, 0, NULL },
	{ "syscall_fork", op_syscall_fork, 2, 0, NULL },
	{ "clone", op_clone, 2, 0, NULL },
	{ "vfork", op_vfork, 3, 0, NULL },
	{ "vfork_exit", op_vfork_exit, 5, 0, NULL },
	{ "spawn", op_spawn, 3, NEED_MALLOC, NULL },
	{ "exec", op_exec, 4, 0, NULL },
	{ "exec_fails", op_exec_fails, 2, 0, NULL },
	{ "daemon", op_daemon, 3, NEED_MALLOC | NEED_NOT_FIRST, "daemon" },
	{ "system", op_system, 1, NEED_MALLOC, "system" },
	{ "popen", op_popen, 1, NEED_MALLOC, "popen" },
	{ "fetch", op_fetch, 16, 0, "pidfd_getfd" },
	{ "thread", op_thread, 16, NEED_MALLOC, NULL },
	{ "signal", op_signal, 8, 0, NULL },
	{ "timer", op_timer, 4, 0, NULL },
	{ "reap", op_reap, 8, 0, NULL },
	{ "exit", op_exit, 6, NEED_NOT_FIRST, NULL },
	{ 0 },
};
