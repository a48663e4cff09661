/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_RULE_TEXT_H
#define PORTSHIM_RULE_TEXT_H

/* Parsed rules as text again, each in the one form that says all of it: rules_parse() makes the same of
 * it.  Errors of the stream stay in it (ferror). */

#include <stdio.h>

#include "common/rules.h"

void rule_put(const struct rule *r, FILE *f);
void rule_put_action(const struct rule_action *a, FILE *f);

/* A word of a rule: in quotes if it needs them. */
void rule_put_word(const char *word, size_t len, FILE *f);

#endif
