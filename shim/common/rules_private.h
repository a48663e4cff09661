/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_RULES_PRIVATE_H
#define PORTSHIM_RULES_PRIVATE_H

/* The parser's own: rules.c reads rules, rules_value.c their arguments, by means of rules_lex.c. */

#include "rules.h"
#include "text.h"

#define RULE_BYTES 11u /* "bind->pass\n": no text can have more rules than one in as many bytes */
#define SOURCE_MAX (RULES_NAME_MAX + sizeof(":65535"))

struct parser {
	const char *at, *end, *line_start;
	unsigned line;
	const char *name;
	rules_uid *uid_of;
	struct rules out;
	size_t rules_max;
	char *low, *high;	 /* the room left: structures from below, ranges and bytes from above */
	struct rule_text source; /* of the rules on source_line */
	unsigned source_line;
	struct rules_error *error;
};

/* What stands next in the text, blanks left out. */
enum sign { SIGN_END, SIGN_COMMA, SIGN_ARROW, SIGN_WORD };

struct word {
	struct rule_text raw;	/* as written */
	struct rule_text value; /* without quotes */
};

enum list { LIST_CALLS, LIST_MATCHERS, LIST_ACTIONS };

/* Room, zeroed from below; NULL if there is no more. */
void *parser_take_low(struct parser *p, size_t size);
void *parser_take_high(struct parser *p, size_t size, size_t align);

/* All of these fill in the error and return -EINVAL.  An empty `found` is the end of the rule.
 * "WHAT FOUND: PROBLEM", or what was expected instead of it. */
int parser_wrong(struct parser *p, const char *what, struct rule_text found, const char *problem);
int parser_wrong_argument(struct parser *p, const char *what, struct rule_text found,
			  enum rule_argument argument);
int parser_not_listed(struct parser *p, const char *what, struct rule_text found, enum list list);

/* "WHAT FOUND: ", to be gone on with. */
struct text parser_begin_error(struct parser *p, const char *what, struct rule_text found);
/* "a, b or c", of the bits in the mask. */
void parser_add_list(struct text *t, enum list list, unsigned mask);
unsigned parser_list_all(enum list list);

enum sign parser_look(struct parser *p);
/* What stands where a word should: empty at the end of the rule. */
struct rule_text parser_sign_text(const struct parser *p, enum sign sign);
/* commas: they are part of the word. */
int parser_take_word(struct parser *p, bool commas, struct word *w);
/* The word that must come next, as an argument of `what`. */
int parser_take_argument(struct parser *p, const char *what, enum rule_argument argument, struct word *w);
/* Where the list has it; the list's length if it has not.  No keyword is quoted. */
unsigned parser_find(enum list list, const struct word *w);

bool text_is(struct rule_text t, const char *word);

/* Reads what belongs to m->matcher. */
int parser_matcher_argument(struct parser *p, struct rule_match *m);
/* Reads what belongs to a->kind.  actions: the rule's so far, with *a behind them. */
int parser_action_argument(struct parser *p, const struct rule_action *actions, struct rule_action *a);

#endif
