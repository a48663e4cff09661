/* SPDX-License-Identifier: MIT */
/*
 * The rule parser on any text, for libFuzzer.  What it understands, written out and parsed again, must be
 * the same, and planning with it must not read beyond what was parsed.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rules.h"
#include "rule_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct parsed {
	char *text;
	size_t len;
	void *room;
	struct rules rules;
};

static void check(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "not so: %s\n", what);
	abort();
}

static bool one_user(const char *name, uid_t *out)
{
	*out = 33;
	return name[0] == 'w';
}

static void check_error(const struct rules_error *e, const char *text, size_t len)
{
	size_t lines = 1;

	for (size_t i = 0; i < len; i++)
		lines += text[i] == '\n';
	check(e->line >= 1 && e->line <= lines, "the error's line is one of the text");
	check(e->column >= 1 && e->column <= len + 1, "the error's column is one of the text");
	check(strnlen(e->text, sizeof(e->text)) < sizeof(e->text) && e->text[0] != '\0', "the error is told");
}

/* Takes text over. */
static bool parse(char *text, size_t len, const char *name, struct parsed *out)
{
	struct rules_error error;
	int ret;

	*out = (struct parsed){ .text = text, .len = len, .room = malloc(rules_room(len)) };
	check(out->room != NULL, "memory");
	ret = rules_parse(text, len, name, one_user, out->room, &out->rules, &error);
	check(ret == 0 || ret == -EINVAL || len > RULES_TEXT_MAX, "the room suffices");
	if (ret == -EINVAL)
		check_error(&error, text, len);
	return ret == 0;
}

static void parsed_free(struct parsed *p)
{
	free(p->text);
	free(p->room);
}

static char *write_out(const struct rules *rules, size_t *len)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, len);

	check(f != NULL, "memory");
	for (size_t i = 0; i < rules->n; i++) {
		rule_put(&rules->rules[i], f);
		fputc('\n', f);
	}
	check(fclose(f) == 0, "memory");
	return text;
}

static void plan(const struct rules *rules)
{
	static const struct endpoint endpoints[] = {
		{ .family = 0 },
		{ .family = AF_INET, .port = 80, .ip = { 127, 0, 0, 1 } },
		{ .family = AF_INET6, .port = 65535, .ip = { [15] = 1 } },
		{ .family = AF_UNIX, .port = 4, .name = { '/', 'a', '/', 'b' } },
		{ .family = AF_UNIX, .port = 3, .name = { '\0', 'a', '\0' } },
	};
	struct rule_plan out;
	struct endpoint to;

	for (size_t i = 0; i < sizeof(endpoints) / sizeof(endpoints[0]); i++) {
		struct rule_query q = { .family = endpoints[i].family,
					.type = SOCK_STREAM,
					.address = &endpoints[i],
					.exe = "/usr/bin/a",
					.argv = "a\0b\0c",
					.argv_len = 5 };

		for (unsigned call = 0; call < RULE_CALLS; call++) {
			q.call = call;
			if (rules_plan(rules, &q, &out) && out.action[ACT_REDIRECT] != NULL)
				rule_redirected(&out.action[ACT_REDIRECT]->where, &endpoints[i], &to);
		}
	}
}

static void check_again(const struct rules *rules)
{
	struct parsed again;
	size_t len, len_again;
	char *text = write_out(rules, &len), *text_again;

	/* Written out, a rule can be longer. */
	if (len > RULES_TEXT_MAX) {
		free(text);
		return;
	}
	check(parse(text, len, NULL, &again), "what was written out is understood");
	check(again.rules.n == rules->n && again.rules.calls == rules->calls, "as many rules");
	text_again = write_out(&again.rules, &len_again);
	check(len == len_again && memcmp(text, text_again, len) == 0, "the same text");
	free(text_again);
	parsed_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size > 0 ? size : 1);
	struct parsed p;

	check(text != NULL, "memory");
	memcpy(text, data, size);
	if (parse(text, size, size % 2 == 0 ? "PORTSHIM_RULES" : NULL, &p)) {
		plan(&p.rules);
		check_again(&p.rules);
	}
	parsed_free(&p);
	return 0;
}
