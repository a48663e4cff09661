/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_RULESET_H
#define PORTSHIM_RULESET_H

/*
 * Rules from all the places where they can be given, as one text: the form in which a session carries
 * them, and the same whatever the order of the options.  First -r, then -f, the short forms, then the
 * environment's; a rule a line, each behind a line "#: SOURCE" that says where it comes from; users are
 * numbers.
 */

#include <stdbool.h>
#include <stddef.h>

#include "common/rules.h"

enum ruleset_origin {
	RULESET_RULE,	  /* a rule: "-r #2" */
	RULESET_FILE,	  /* a path, "-" for stdin: "web.rules:7" */
	RULESET_SHARE,	  /* PORTS or NULL: "--share=80" */
	RULESET_REDIRECT, /* FROM=TO: "--redirect 80=8080" */
	RULESET_DENY,	  /* PORTS: "--deny 80" */
	RULESET_CLOEXEC,  /* NULL: "--cloexec" */
};

struct ruleset_given {
	enum ruleset_origin origin;
	const char *argument;
};

struct ruleset {
	struct ruleset_given *given;
	size_t n_given, given_room;
	char *text; /* NUL-terminated, besides; NULL until made */
	size_t len; /* 0 if there is no rule */
	char *why;  /* what is wrong: "web.rules:3:14: port 70000: not in 0-65535" */
};

/* An option as it was given; argument must outlive the set.  0 or -ENOMEM. */
int ruleset_give(struct ruleset *s, enum ruleset_origin origin, const char *argument);

/* Makes the text of all that was given, and of the environment's rules (NULL: none).  0; -EINVAL, and why
 * is set; -ENOMEM. */
int ruleset_make(struct ruleset *s, const char *environment);

/* Parses the text.  *room, to be freed, holds what *out points to, as does the text.  0 or -ENOMEM. */
int ruleset_rules(const struct ruleset *s, void **room, struct rules *out);

void ruleset_free(struct ruleset *s);

/* A user by name or number. */
bool ruleset_uid(const char *name, uid_t *out);

#endif
