/* SPDX-License-Identifier: MIT */
#include "ruleset.h"

#include <pwd.h>
#include <stdarg.h>
#include <string.h>

#include "portshim/env.h"
#include "rule_text.h"
#include "util.h"

/* A piece of rules as it was given, and how to speak of it. */
struct piece {
	const char *text;
	size_t len;
	const char *name;
	bool lines; /* the line is part of the source's name */
	bool whole; /* line and column would tell nobody anything */
};

void ruleset_free(struct ruleset *s)
{
	free(s->given);
	free(s->text);
	free(s->why);
	*s = (struct ruleset){ 0 };
}

int ruleset_give(struct ruleset *s, enum ruleset_origin origin, const char *argument)
{
	struct ruleset_given *given = array_room(s->given, &s->given_room, s->n_given + 1, sizeof(*given));

	if (given == NULL)
		return -ENOMEM;
	s->given = given;
	given[s->n_given++] = (struct ruleset_given){ origin, argument };
	return 0;
}

__attribute__((format(printf, 2, 3))) static int refuse(struct ruleset *s, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vasprintf(&s->why, fmt, args);
	va_end(args);
	if (n >= 0)
		return -EINVAL;
	s->why = NULL;
	return -ENOMEM;
}

bool ruleset_uid(const char *name, uid_t *out)
{
	const struct passwd *pw = getpwnam(name);

	if (pw != NULL)
		*out = pw->pw_uid;
	return pw != NULL;
}

/* ---- a piece, and what becomes of it ---- */

static int refuse_at(struct ruleset *s, const struct piece *p, unsigned line, unsigned column,
		     const char *problem)
{
	if (p->whole)
		return refuse(s, "%s: %s", p->name, problem);
	return refuse(s, "%s:%u:%u: %s", p->name, line, column, problem);
}

static unsigned column_of(const struct piece *p, const char *at)
{
	const char *newline = memrchr(p->text, '\n', (size_t)(at - p->text));

	return (unsigned)(at - (newline != NULL ? newline + 1 : p->text)) + 1;
}

/* Parsed, so that rules for it can be written; but nobody is there to carry it out. */
static int refuse_adopt(struct ruleset *s, const struct piece *p, const struct rule *r)
{
	for (unsigned i = 0; i < r->n_actions; i++) {
		if (r->actions[i].kind == ACT_ADOPT)
			return refuse_at(s, p, r->line, column_of(p, r->text.at),
					 "adopt: not in this version; reuseport shares a port too");
	}
	return 0;
}

/* A file's name may hold anything; the line must stay one. */
static void put_source(const struct piece *p, const struct rule *r, FILE *f)
{
	fputs("#: ", f);
	for (const char *c = p->name; *c != '\0'; c++)
		fputc((unsigned char)*c < ' ' || *c == 0x7f ? '?' : *c, f);
	if (p->lines)
		fprintf(f, ":%u", r->line);
	fputc('\n', f);
}

static int put_rules(struct ruleset *s, const struct piece *p, const struct rules *rules, FILE *f)
{
	for (size_t i = 0; i < rules->n; i++) {
		const struct rule *r = &rules->rules[i];
		int ret = refuse_adopt(s, p, r);

		if (ret < 0)
			return ret;
		put_source(p, r, f);
		rule_put(r, f);
		fputc('\n', f);
	}
	return 0;
}

static int put_piece(struct ruleset *s, const struct piece *p, FILE *f)
{
	CLEANUP_FREE void *room = malloc(rules_room(p->len));
	struct rules_error error;
	struct rules rules;
	int ret;

	if (room == NULL)
		return -ENOMEM;
	ret = rules_parse(p->text, p->len, NULL, ruleset_uid, room, &rules, &error);
	if (ret == -EINVAL)
		return refuse_at(s, p, error.line, error.column, error.text);
	if (ret < 0)
		return refuse(s, "%s: longer than %d bytes", p->name, RULES_TEXT_MAX);
	return put_rules(s, p, &rules, f);
}

/* ---- where pieces come from ---- */

static int put_rule(struct ruleset *s, const char *rule, unsigned n, FILE *f)
{
	char name[32];
	const struct piece p = { .text = rule, .len = strlen(rule), .name = name };

	snprintf(name, sizeof(name), "-r #%u", n);
	return put_piece(s, &p, f);
}

/* One byte more than may be, so that too long a text is seen to be. */
static int put_file(struct ruleset *s, const char *path, FILE *f)
{
	bool is_stdin = strcmp(path, "-") == 0;
	CLEANUP_FREE char *text = malloc(RULES_TEXT_MAX + 1);
	CLEANUP_FILE FILE *in = is_stdin ? fdopen(dup(STDIN_FILENO), "re") : fopen(path, "re");
	struct piece p = { .text = text, .name = is_stdin ? "stdin" : path, .lines = true };

	if (text == NULL)
		return -ENOMEM;
	if (in == NULL)
		return refuse(s, "%s: %s", p.name, strerror(errno));
	p.len = fread(text, 1, RULES_TEXT_MAX + 1, in);
	if (ferror(in))
		return refuse(s, "%s: %s", p.name, strerror(errno));
	return put_piece(s, &p, f);
}

static int put_environment(struct ruleset *s, const char *rules, FILE *f)
{
	const struct piece p = { .text = rules, .len = strlen(rules), .name = PS_ENV_RULES, .lines = true };

	if (p.len > RULES_ENV_MAX)
		return refuse(s, PS_ENV_RULES ": longer than %d bytes", RULES_ENV_MAX);
	return put_piece(s, &p, f);
}

/* ---- the short forms ---- */

static void put_cstring(const char *word, FILE *f)
{
	rule_put_word(word, strlen(word), f);
}

static void put_share(const char *ports, FILE *f)
{
	fputs("bind ", f);
	if (ports != NULL) {
		fputs("port ", f);
		put_cstring(ports, f);
	}
	fputs(" -> reuseport\n", f);
}

static void put_deny(const char *ports, FILE *f)
{
	fputs("bind port ", f);
	put_cstring(ports, f);
	fputs(" -> deny\n", f);
}

/* FROM taken apart: IP and PORTS, either may be missing. */
struct from {
	const char *ip, *ports;
	size_t ip_len, ports_len;
};

static bool is_ports(const char *s, size_t len)
{
	return len > 0 && strspn(s, "0123456789,-") >= len;
}

/* An address of IPv6 without brackets has no port behind it. */
static bool parse_from(const char *s, size_t len, struct from *out)
{
	const char *end = s + len, *colon = memchr(s, ':', len);
	struct from from = { .ip = s, .ip_len = len };

	if (is_ports(s, len)) {
		from = (struct from){ .ports = s, .ports_len = len };
	} else if (s[0] == '[') {
		const char *close = memchr(s, ']', len);

		if (close == NULL || end - close < 2 || close[1] != ':')
			return false;
		from = (struct from){ s + 1, close + 2, (size_t)(close - s) - 1, (size_t)(end - close) - 2 };
	} else if (colon != NULL && memchr(colon + 1, ':', (size_t)(end - colon) - 1) == NULL) {
		from = (struct from){ s, colon + 1, (size_t)(colon - s), (size_t)(end - colon) - 1 };
	}
	*out = from;
	return (from.ip == NULL || from.ip_len > 0) && (from.ports == NULL || from.ports_len > 0);
}

static void put_redirects(const struct from *from, const char *to, FILE *f)
{
	static const enum rule_call calls[] = { RULE_BIND, RULE_CONNECT, RULE_SEND };

	for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
		fputs(rule_call_word(calls[i]), f);
		if (from->ip != NULL) {
			fputs(" addr ", f);
			rule_put_word(from->ip, from->ip_len, f);
		}
		if (from->ports != NULL) {
			fputs(" port ", f);
			rule_put_word(from->ports, from->ports_len, f);
		}
		fputs(" -> redirect ", f);
		fputs(is_ports(to, strlen(to)) ? ":" : "", f);
		put_cstring(to, f);
		fputc('\n', f);
	}
}

static int put_redirect(struct ruleset *s, const char *name, const char *argument, FILE *f)
{
	const char *equals = strchr(argument, '=');
	struct from from;

	if (equals == NULL || equals == argument || equals[1] == '\0' ||
	    !parse_from(argument, (size_t)(equals - argument), &from))
		return refuse(s,
			      "%s: expected FROM=TO, as 80=8080, 80=unix:/run/web.sock or "
			      "0.0.0.0=127.0.0.1",
			      name);
	put_redirects(&from, equals + 1, f);
	return 0;
}

static int expand(struct ruleset *s, const struct ruleset_given *g, const char *name, FILE *f)
{
	switch (g->origin) {
	case RULESET_SHARE:
		put_share(g->argument, f);
		return 0;
	case RULESET_REDIRECT:
		return put_redirect(s, name, g->argument, f);
	case RULESET_DENY:
		put_deny(g->argument, f);
		return 0;
	default:
		fputs("bind -> cloexec\nlisten -> cloexec\n", f);
		return 0;
	}
}

static char *short_name(const struct ruleset_given *g)
{
	static const char *const words[] = { [RULESET_SHARE] = "--share",
					     [RULESET_REDIRECT] = "--redirect",
					     [RULESET_DENY] = "--deny",
					     [RULESET_CLOEXEC] = "--cloexec" };
	const char *between = g->argument == NULL ? "" : g->origin == RULESET_SHARE ? "=" : " ";
	char *name;

	if (asprintf(&name, "%s%s%s", words[g->origin], between, g->argument != NULL ? g->argument : "") < 0)
		return NULL;
	return name;
}

static int put_short(struct ruleset *s, const struct ruleset_given *g, FILE *f)
{
	CLEANUP_FREE char *name = short_name(g);
	CLEANUP_FREE char *text = NULL;
	struct piece p = { .name = name, .whole = true };
	FILE *expanded = open_memstream(&text, &p.len);
	int ret;

	if (expanded == NULL)
		return -ENOMEM;
	ret = name != NULL ? expand(s, g, name, expanded) : -ENOMEM;
	if (fclose(expanded) != 0 && ret == 0)
		ret = -ENOMEM;
	p.text = text;
	return ret == 0 ? put_piece(s, &p, f) : ret;
}

/* ---- all of it ---- */

static int put_given(struct ruleset *s, const struct ruleset_given *g, unsigned n, FILE *f)
{
	if (g->origin == RULESET_RULE)
		return put_rule(s, g->argument, n, f);
	return g->origin == RULESET_FILE ? put_file(s, g->argument, f) : put_short(s, g, f);
}

static bool comes(const struct ruleset_given *g, enum ruleset_origin turn)
{
	return turn == RULESET_SHARE ? g->origin >= RULESET_SHARE : g->origin == turn;
}

static int put_turn(struct ruleset *s, enum ruleset_origin turn, FILE *f)
{
	unsigned n = 0;
	int ret = 0;

	for (size_t i = 0; i < s->n_given && ret == 0; i++) {
		if (comes(&s->given[i], turn))
			ret = put_given(s, &s->given[i], ++n, f);
	}
	return ret;
}

static int put_all(struct ruleset *s, const char *environment, FILE *f)
{
	int ret = put_turn(s, RULESET_RULE, f);

	if (ret == 0)
		ret = put_turn(s, RULESET_FILE, f);
	if (ret == 0)
		ret = put_turn(s, RULESET_SHARE, f);
	if (ret == 0 && environment != NULL)
		ret = put_environment(s, environment, f);
	return ret;
}

int ruleset_make(struct ruleset *s, const char *environment)
{
	FILE *f = open_memstream(&s->text, &s->len);
	int ret;

	if (f == NULL)
		return -ENOMEM;
	ret = put_all(s, environment, f);
	if (fclose(f) != 0 && ret == 0)
		ret = -ENOMEM;
	if (ret == 0 && s->len > RULES_TEXT_MAX)
		ret = refuse(s, "all rules together: longer than %d bytes when written out", RULES_TEXT_MAX);
	return ret;
}

int ruleset_rules(const struct ruleset *s, void **room, struct rules *out)
{
	struct rules_error error;
	int ret;

	*room = malloc(rules_room(s->len));
	if (*room == NULL)
		return -ENOMEM;
	ret = rules_parse(s->text, s->len, NULL, NULL, *room, out, &error);
	return ret;
}
