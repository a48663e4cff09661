/* SPDX-License-Identifier: MIT */
#ifndef BENCH_ARENA_H
#define BENCH_ARENA_H

#include "common/log.h"

/* Makes the session at dir if there is none, and opens a log in it. */
void arena_open(struct log *log, const char *dir, uint64_t process);

#endif
