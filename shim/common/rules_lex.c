/* SPDX-License-Identifier: MIT */
/* What the rules' parser is made of: its room, its messages, the words of a text. */
#include "rules_private.h"

#include <errno.h>
#include <string.h>

/* The shortest of each, with what must stand before it: no text can have more of them. */
#define MATCH_BYTES 4u	/* " tcp" */
#define ACTION_BYTES 5u /* ",pass" */
#define RANGE_BYTES 2u	/* ",1" */
#define FOUND_MAX 64

/* ---- room ---- */

size_t rules_room(size_t len)
{
	return (len / RULE_BYTES + 1) * (sizeof(struct rule) + SOURCE_MAX) +
	       len / MATCH_BYTES * sizeof(struct rule_match) +
	       len / ACTION_BYTES * sizeof(struct rule_action) +
	       len / RANGE_BYTES * sizeof(struct rule_range) + len + sizeof(struct rule);
}

void *parser_take_low(struct parser *p, size_t size)
{
	char *at = p->low;

	if (size > (size_t)(p->high - p->low))
		return NULL;
	p->low += size;
	return memset(at, 0, size);
}

void *parser_take_high(struct parser *p, size_t size, size_t align)
{
	if (size + align > (size_t)(p->high - p->low))
		return NULL;
	p->high -= size;
	p->high -= (uintptr_t)p->high % align;
	return p->high;
}

/* ---- errors ---- */

/* Of what was found, as much as a message can hold, and nothing that a terminal would obey. */
static void add_found(struct text *t, struct rule_text found)
{
	size_t len = found.len < FOUND_MAX ? found.len : FOUND_MAX;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)found.at[i];

		text_add_bytes(t, c < ' ' || c == 0x7f ? "?" : &found.at[i], 1);
	}
	if (len < found.len)
		text_add(t, "...");
}

struct text parser_begin_error(struct parser *p, const char *what, struct rule_text found)
{
	struct text t = TEXT_IN(p->error->text);

	p->error->line = p->line;
	p->error->column = (unsigned)(found.at - p->line_start) + 1;
	p->error->text[0] = '\0';
	text_add(&t, what);
	if (what[0] != '\0' && found.len > 0)
		text_add(&t, " ");
	add_found(&t, found);
	text_add(&t, ": ");
	return t;
}

int parser_wrong(struct parser *p, const char *what, struct rule_text found, const char *problem)
{
	struct text t = parser_begin_error(p, what, found);

	text_add(&t, problem);
	return -EINVAL;
}

static const char *expected(enum rule_argument argument)
{
	switch (argument) {
	case ARG_ADDR:
		return "an IP address, as 127.0.0.1, ::1 or 10.0.0.0/8";
	case ARG_PORTS:
		return "ports without blanks, as 80 or 80,8000-8010";
	case ARG_GLOB:
		return "a pattern, as nginx or \"/opt/my app/*\"";
	case ARG_UID:
		return "the number or the name of a user";
	case ARG_WHERE:
		return "IP, :PORT, IP:PORT, [IP6]:PORT, :+N, :-N, unix:PATH or unix:@NAME";
	case ARG_ERRNO:
		return "an error that these calls have, as EACCES or EADDRINUSE";
	case ARG_OPTION:
		return "OPTION=VALUE without blanks, as SO_KEEPALIVE=1";
	case ARG_NUMBER:
		return "a number up to 2147483647";
	default:
		return "a name";
	}
}

int parser_wrong_argument(struct parser *p, const char *what, struct rule_text found,
			  enum rule_argument argument)
{
	struct text t = parser_begin_error(p, what, found);

	text_add(&t, found.len == 0 ? "nothing behind it; expected " : "expected ");
	text_add(&t, expected(argument));
	return -EINVAL;
}

static const char *listed(enum list list, unsigned i)
{
	if (list == LIST_CALLS)
		return rule_call_word(i);
	return list == LIST_MATCHERS ? rule_matcher_word(i) : rule_action_word(i);
}

static unsigned list_length(enum list list)
{
	static const uint8_t lengths[] = { RULE_CALLS, RULE_MATCHERS, RULE_ACTIONS };

	return lengths[list];
}

void parser_add_list(struct text *t, enum list list, unsigned mask)
{
	bool first = true;

	for (unsigned i = 0; mask != 0; i++) {
		if ((mask & 1u << i) == 0)
			continue;
		mask &= ~(1u << i);
		if (!first)
			text_add(t, mask == 0 ? " or " : ", ");
		text_add(t, listed(list, i));
		first = false;
	}
}

unsigned parser_list_all(enum list list)
{
	return (1u << list_length(list)) - 1;
}

int parser_not_listed(struct parser *p, const char *what, struct rule_text found, enum list list)
{
	struct text t = parser_begin_error(p, what, found);

	text_add(&t, found.len == 0 ? "nothing behind it; expected " : "expected ");
	parser_add_list(&t, list, parser_list_all(list));
	return -EINVAL;
}

/* ---- words ---- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static bool at_arrow(const struct parser *p)
{
	return p->end - p->at >= 2 && p->at[0] == '-' && p->at[1] == '>';
}

enum sign parser_look(struct parser *p)
{
	while (p->at < p->end && is_blank(*p->at))
		p->at++;
	if (p->at == p->end || *p->at == '\n' || *p->at == ';' || *p->at == '#')
		return SIGN_END;
	if (*p->at == ',')
		return SIGN_COMMA;
	return at_arrow(p) ? SIGN_ARROW : SIGN_WORD;
}

struct rule_text parser_sign_text(const struct parser *p, enum sign sign)
{
	static const size_t lengths[] = { [SIGN_COMMA] = 1, [SIGN_ARROW] = 2, [SIGN_WORD] = 0 };

	return (struct rule_text){ p->at, lengths[sign] };
}

static bool ends_word(const struct parser *p, bool commas)
{
	char c = *p->at;

	return is_blank(c) || c == '\n' || c == ';' || c == '#' || (c == ',' && !commas) || at_arrow(p);
}

static int skip_quoted(struct parser *p)
{
	const char *start = p->at++;

	for (; p->at < p->end && *p->at != '\n'; p->at++) {
		if (*p->at == '"') {
			p->at++;
			return 0;
		}
		if (*p->at != '\\')
			continue;
		if (p->end - p->at < 2 || (p->at[1] != '"' && p->at[1] != '\\'))
			return parser_wrong(p, "quote", (struct rule_text){ p->at, 1 },
					    "in quotes a backslash stands before \" or another one only");
		p->at++;
	}
	return parser_wrong(p, "quote", (struct rule_text){ start, (size_t)(p->at - start) },
			    "not finished; expected \" on the same line");
}

static int unquote(struct parser *p, struct word *w)
{
	const char *from = w->raw.at, *end = from + w->raw.len;
	char *to = parser_take_high(p, w->raw.len, 1);
	bool quoted = false;

	if (to == NULL)
		return -E2BIG;
	w->value = (struct rule_text){ to, 0 };
	for (; from < end; from++) {
		if (*from == '"') {
			quoted = !quoted;
			continue;
		}
		if (*from == '\\' && quoted)
			from++;
		to[w->value.len++] = *from;
	}
	return 0;
}

int parser_take_word(struct parser *p, bool commas, struct word *w)
{
	const char *start = p->at;
	bool quotes = false;

	while (p->at < p->end && !ends_word(p, commas)) {
		if (*p->at != '"') {
			p->at++;
			continue;
		}
		quotes = true;
		if (skip_quoted(p) < 0)
			return -EINVAL;
	}
	w->raw = w->value = (struct rule_text){ start, (size_t)(p->at - start) };
	return quotes ? unquote(p, w) : 0;
}

int parser_take_argument(struct parser *p, const char *what, enum rule_argument argument, struct word *w)
{
	enum sign sign = parser_look(p);

	if (sign != SIGN_WORD)
		return parser_wrong_argument(p, what, (struct rule_text){ p->at, 0 }, argument);
	return parser_take_word(p, argument == ARG_PORTS, w);
}

bool text_is(struct rule_text t, const char *word)
{
	return strlen(word) == t.len && memcmp(word, t.at, t.len) == 0;
}

unsigned parser_find(enum list list, const struct word *w)
{
	unsigned i = 0;

	while (i < list_length(list) && !text_is(w->raw, listed(list, i)))
		i++;
	return i;
}
