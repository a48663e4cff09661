/* SPDX-License-Identifier: MIT */
#include "unshared.h"

#include <sys/auxv.h>
#include <sys/mman.h>

#include "sys.h"

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

struct unshared unshared;

bool unshared_watch(void)
{
	bool wiped = getauxval(AT_PAGESZ) <= sizeof(unshared) &&
		     sys3(SYS_madvise, &unshared, sizeof(unshared), MADV_WIPEONFORK) == 0;

	atomic_store(&unshared.epoch, 1);
	return wiped;
}
