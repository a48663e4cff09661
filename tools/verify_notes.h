/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_VERIFY_NOTES_H
#define PORTSHIM_VERIFY_NOTES_H

/* What verify wants of the records beyond the model.  Single-threaded; -errno. */

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

#include "reader.h"

/* What the records say of a process and the model does not keep. */
struct note {
	uint64_t id;
	bool lapped; /* its ring has overwritten records */
	UT_hash_handle hh;
};

/* Takes note of records.  0 or -ENOMEM. */
int notes_add(struct note **notes, const struct record *records, size_t n);

/* Of a process, by its id; NULL: nothing noted. */
const struct note *notes_find(const struct note *notes, uint64_t id);

void notes_free(struct note **notes);

#endif
