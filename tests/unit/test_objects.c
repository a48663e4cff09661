/* SPDX-License-Identifier: MIT */
/* The search of our own against the dynamic linker's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <string.h>

#include "objects.h"

/* What is wrapped, and what has several versions, is weak, is missing, or is no function. */
static const char *const symbols[] = {
#define HOOK(symbol, returns, parameters) #symbol,
#define ALIAS(symbol, target) #symbol,
#include "hooks.def"
	"memcpy",   "realpath",	      "pthread_cond_wait",
	"fmemopen", "regexec",	      "sched_getaffinity",
	"environ",  "no_such_symbol", "",
};

static struct objects behind;

static int find_behind(void **state)
{
	return objects_behind(&behind) ? 0 : -1;
}

static void says_what_dlsym_says(void **state)
{
	unsigned found = 0;

	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
		void *p = objects_find(&behind, symbols[i]);

		if (strcmp(symbols[i], "environ") == 0)
			continue;
		if (p != dlsym(RTLD_NEXT, symbols[i]))
			print_error("%s\n", symbols[i]);
		assert_ptr_equal(p, dlsym(RTLD_NEXT, symbols[i]));
		found += p != NULL;
	}
	assert_true(found > 80);
}

static void data_is_no_function(void **state)
{
	assert_null(objects_find(&behind, "environ"));
}

static void what_comes_later_is_not_behind(void **state)
{
	void *later = dlopen("libcrypt.so.1", RTLD_NOW | RTLD_GLOBAL);

	if (later == NULL || dlsym(later, "crypt_checksalt") == NULL)
		skip();
	assert_null(objects_find(&behind, "crypt_checksalt"));
	dlclose(later);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_what_dlsym_says),
		cmocka_unit_test(data_is_no_function),
		cmocka_unit_test(what_comes_later_is_not_behind),
	};

	return cmocka_run_group_tests(tests, find_behind, NULL);
}
