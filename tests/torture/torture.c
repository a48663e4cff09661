/* SPDX-License-Identifier: MIT */
/*
 * torture BOARD SLOT SEED: one process of a tree that moves its sockets in every way there is, at
 * random, until the board says that it is over.  Started by check, under `portshim run`.
 */
#include "torture.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#define PARK_MS 50
#define ROOM_FROM (FD_LIMIT - 14)

struct board *board;
struct slot *me;
bool careful;
_Atomic bool exiting;
_Atomic uint32_t in_shell;
_Atomic uint32_t execing;
char own_path[4096], board_path[4096];

static _Thread_local uint64_t dice_state;
static _Atomic int hints[HINTS][8];

/* The symbols that are wrapped: what the others do inside libc, nobody can know. */
static const char *const wrapped[] = {
#define HOOK(symbol, returns, parameters) #symbol,
#define ALIAS(symbol, target)
#include "hooks.def"
};

uint32_t dice(uint32_t sides)
{
	uint64_t x = dice_state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	dice_state = x;
	return (uint32_t)((x * 0x2545f4914f6cdd1du) >> 33) % sides;
}

void dice_start(uint64_t seed)
{
	dice_state = seed | 1;
}

uint64_t dice_seed(void)
{
	return ((uint64_t)dice(1u << 30) << 30 | dice(1u << 30)) | 1;
}

/* Low numbers mostly, so that they are fought over. */
int any_fd(void)
{
	return (int)dice(dice(4) == 0 ? FD_LIMIT : 24);
}

void trace(const char *name, int a, int b)
{
	uint64_t n = atomic_fetch_add(&board->traces, 1);
	struct trace *t = &board->trace[n % TRACES];

	t->pid = getpid();
	t->tid = (int32_t)gettid();
	t->a = a;
	t->b = b;
	strncpy(t->name, name, sizeof(t->name) - 1);
	atomic_store(&t->stamp, board_now());
}

struct slot *slot_take(void)
{
	if (atomic_fetch_add(&board->live, 1) >= LIVE_MAX) {
		atomic_fetch_sub(&board->live, 1);
		return NULL;
	}
	for (int i = 0; i < SLOTS; i++) {
		struct slot *s = &board->slots[i];

		if (atomic_load(&s->taken) != 0 || atomic_exchange(&s->taken, 1) != 0)
			continue;
		atomic_store(&s->pid, 0);
		atomic_store(&s->leaving, 0);
		atomic_store(&s->parked, 0);
		atomic_store(&s->threads, 1);
		atomic_fetch_add(&board->taken, 1);
		return s;
	}
	atomic_fetch_sub(&board->live, 1);
	return NULL;
}

void slot_give_back(struct slot *s)
{
	atomic_fetch_sub(&board->live, 1);
	atomic_store(&s->threads, 0);
	atomic_store(&s->taken, 0);
}

void hint_add(enum hint h, int fd)
{
	if (fd < 0)
		return;
	trace("got", fd, -1);
	atomic_store(&hints[h][dice(8)], fd + 1);
}

int hint_any(enum hint h)
{
	int fd = dice(8) == 0 ? 0 : atomic_load(&hints[h][dice(8)]);

	return fd == 0 ? any_fd() : fd - 1;
}

bool slot_leave(struct slot *s)
{
	if (atomic_exchange(&s->leaving, 1) != 0)
		return false;
	atomic_fetch_sub(&board->live, 1);
	return true;
}

void slot_stay(struct slot *s)
{
	if (atomic_exchange(&s->leaving, 0) != 0)
		atomic_fetch_add(&board->live, 1);
}

void slot_enter(struct slot *s, uint64_t seed)
{
	me = s;
	dice_start(seed);
	atomic_store(&execing, 0);
	atomic_store(&s->parked, 0);
	atomic_store(&s->threads, 1);
	atomic_store(&s->pid, getpid());
	/* Another thread may have wanted to end when this one's exec ended that thread. */
	slot_stay(s);
}

void leave(bool politely)
{
	bool first = slot_leave(me);

	atomic_store(&exiting, true);
	/* exit(3) may be called once only. */
	if (politely && first && !careful)
		exit(0);
	_exit(0);
}

void keep_signals(bool blocked)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(blocked ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

static void wait_while(uint32_t phase)
{
	struct timespec at_most = { .tv_nsec = PARK_MS * 1000000 };

	syscall(SYS_futex, &board->phase, FUTEX_WAIT, phase, &at_most, NULL, 0);
	if (board_now() > board->deadline)
		_exit(4);
}

static void stand_still_if_asked(void)
{
	if (!(atomic_load(&board->phase) & 1))
		return;
	keep_signals(true);
	do {
		uint32_t phase;

		atomic_fetch_add(&me->parked, 1);
		while ((phase = atomic_load(&board->phase)) & 1)
			wait_while(phase);
		atomic_fetch_sub(&me->parked, 1);
	} while (atomic_load(&board->phase) & 1);
	keep_signals(false);
}

/* What can be done in a handler, anywhere in the middle of anything. */
void on_signal(int sig)
{
	uint64_t outer = dice_state;
	int saved = errno, fd = any_fd();

	trace("signal", sig, fd);
	switch (dice(6)) {
	case 0:
		if (atomic_load(&execing) == 0)
			hint_add(HINT_SOCKET, dup(fd));
		break;
	case 1:
		if (atomic_load(&execing) == 0)
			dup2(fd, any_fd());
		break;
	case 2:
		if (atomic_load(&execing) == 0)
			hint_add(HINT_SOCKET, socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0));
		break;
	default:
		close(fd);
	}
	dice_state ^= outer << 1 | 1;
	errno = saved;
}

static bool is_wrapped(const char *symbol)
{
	for (size_t i = 0; i < sizeof(wrapped) / sizeof(wrapped[0]); i++) {
		if (strcmp(wrapped[i], symbol) == 0)
			return true;
	}
	return false;
}

static bool names(const char *list, const char *name)
{
	char word[64];

	snprintf(word, sizeof(word), ",%s,", name);
	return strstr(list, word) != NULL;
}

static bool is_on(const struct op *op)
{
	if (board->only[0] != '\0')
		return names(board->only, op->name);
	if (names(board->without, op->name))
		return false;
	return op->wrapped == NULL || is_wrapped(op->wrapped) || names(board->also, op->name);
}

static const struct op *deck[4096]; /* each as often as it weighs */
static uint32_t n_deck;

static void deck_add(const struct op *ops)
{
	for (; ops->name != NULL; ops++) {
		for (uint32_t i = 0; is_on(ops) && i < ops->weight && n_deck < 4096; i++)
			deck[n_deck++] = ops;
	}
}

static void one_op(void)
{
	const struct op *op = deck[dice(n_deck)];

	if ((op->needs & NEED_MALLOC) && careful)
		return;
	if ((op->needs & NEED_NOT_FIRST) && me == &board->slots[0])
		return;
	trace(op->name, -1, -1);
	op->run();
}

static void breathe(void)
{
	struct timespec little = { .tv_nsec = 100000 };

	nanosleep(&little, NULL);
}

void run_thread(uint32_t steps)
{
	for (uint32_t i = 0; i < steps; i++) {
		stand_still_if_asked();
		if (atomic_load(&board->end) != 0)
			leave(dice(2) == 0);
		if (atomic_load(&execing) != 0 || dice(16) == 0)
			breathe();
		else
			one_op();
	}
}

/* The tree may have left no descriptor for it. */
static int open_board(void)
{
	int fd = open(board_path, O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		close_range(ROOM_FROM, FD_LIMIT - 1, 0);
		fd = open(board_path, O_RDWR | O_CLOEXEC);
	}
	return fd;
}

static bool map_board(void)
{
	int fd = open_board();

	if (fd < 0)
		return false;
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return board != MAP_FAILED;
}

static void take_signals(void)
{
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	sigaction(SIGUSR1, &act, NULL);
	sigaction(SIGALRM, &act, NULL);
	signal(SIGPIPE, SIG_IGN);
	keep_signals(false);
}

int main(int argc, char **argv)
{
	ssize_t n = readlink("/proc/self/exe", own_path, sizeof(own_path) - 1);

	if (argc != 4 || n <= 0 || strlen(argv[1]) >= sizeof(board_path))
		return 2;
	strcpy(board_path, argv[1]);
	if (!map_board())
		return errno;
	slot_enter(&board->slots[(unsigned)atoi(argv[2]) % SLOTS], strtoull(argv[3], NULL, 10) | 1);
	deck_add(socket_ops);
	deck_add(fd_ops);
	deck_add(process_ops);
	take_signals();
	/* A first socket, and something in the deck whatever was switched off. */
	hint_add(HINT_SOCKET, socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
	while (n_deck > 0)
		run_thread(UINT32_MAX);
	return 5;
}
