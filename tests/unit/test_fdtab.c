/* SPDX-License-Identifier: MIT */
/* The fd table: where entries are, what a word says, and threads that make segments at once. */

#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "fdtab.h"

#define THREADS 4
#define FDS 20000

static void entries_start_as_no_socket(void **state)
{
	struct fd_entry *e = fdtab_entry(5, true);

	assert_non_null(e);
	assert_int_equal(FD_STATE(fd_word(e)), FD_NONE);
	assert_int_equal(FD_STATE(fd_word(NULL)), FD_NONE);
	assert_ptr_equal(fdtab_entry(5, false), e);
	assert_ptr_not_equal(fdtab_entry(6, false), e);
}

static void numbers_outside_have_none(void **state)
{
	assert_null(fdtab_entry(-1, true));
	assert_null(fdtab_entry(INT_MIN, true));
	assert_null(fdtab_entry(1 << 20, true));
	assert_null(fdtab_entry(INT_MAX, true));
}

static void looking_makes_no_segment(void **state)
{
	unsigned end = fdtab_end();

	assert_null(fdtab_entry(900000, false));
	assert_int_equal(fdtab_end(), end);
	assert_non_null(fdtab_entry(900000, true));
	assert_non_null(fdtab_entry(900000, false));
	assert_int_equal(fdtab_end(), 900001);
	fdtab_entry(7, true);
	assert_int_equal(fdtab_end(), 900001);
}

/* In a sandbox no segment is mapped, and what goes through the table must not pass by what is written. */
static void writing_without_mapping_counts(void **state)
{
	unsigned end = fdtab_end();

	assert_non_null(fdtab_find((int)end + 5));
	assert_int_equal(fdtab_end(), end);
	assert_non_null(fdtab_entry((int)end + 5, false));
	assert_int_equal(fdtab_end(), end + 6);
}

static void a_word_keeps_kind_and_raises_its_generation(void **state)
{
	uint64_t low = FD_SOCKET | FD_BOUND | FD_KIND(AF_INET6, SOCK_DGRAM, 17);
	uint64_t word = fd_word_next(UINT64_C(41) << 32 | FD_MAYBE, low);

	assert_int_equal(word >> 32, 42);
	assert_int_equal(FD_STATE(word), FD_SOCKET);
	assert_int_equal(FD_FAMILY(word), AF_INET6);
	assert_int_equal(FD_TYPE(word), SOCK_DGRAM);
	assert_int_equal(FD_PROTOCOL(word), 17);
	assert_true(word & FD_BOUND);
	assert_false(word & FD_LISTEN);
	/* A generation that wraps must not spill into anything. */
	assert_int_equal(fd_word_next(UINT64_MAX, FD_NONE), 0);
}

static void a_check_is_of_one_generation(void **state)
{
	uint64_t word = fd_word_next(0, FD_SOCKET), next = fd_word_next(word, FD_SOCKET);

	assert_int_equal(fd_check(word, 10, 20), fd_check(word | FD_BOUND, 10, 20));
	assert_int_not_equal(fd_check(word, 10, 20), fd_check(next, 10, 20));
	assert_int_not_equal(fd_check(word, 10, 20), fd_check(word, 20, 10));
	assert_int_not_equal(fd_check(word, 10, 20), fd_check(word, 11, 20));
}

static void *raise_all(void *arg)
{
	for (int fd = 0; fd < FDS; fd++) {
		struct fd_entry *e = fdtab_entry(fd + 100000, true);
		uint64_t word = fd_word(e);

		while (!atomic_compare_exchange_weak(&e->word, &word, fd_word_next(word, FD_MAYBE)))
			;
	}
	return NULL;
}

static void threads_agree_on_segments(void **state)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, raise_all, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int fd = 0; fd < FDS; fd++)
		assert_int_equal(fd_word(fdtab_entry(fd + 100000, false)) >> 32, THREADS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_start_as_no_socket),
		cmocka_unit_test(numbers_outside_have_none),
		cmocka_unit_test(looking_makes_no_segment),
		cmocka_unit_test(writing_without_mapping_counts),
		cmocka_unit_test(a_word_keeps_kind_and_raises_its_generation),
		cmocka_unit_test(a_check_is_of_one_generation),
		cmocka_unit_test(threads_agree_on_segments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
