/* SPDX-License-Identifier: MIT */
/* The rules' text parsed: what rules.h says of rules_parse(). */
#include "rules_private.h"

#include <errno.h>
#include <string.h>

/* A rule that is being read. */
struct draft {
	struct rule rule;
	struct rule_action *actions;
	unsigned kinds;		   /* bits: the actions so far */
	struct rule_text unmasked; /* where it says so */
};

static int parse_call(struct parser *p, struct draft *d)
{
	enum sign sign = parser_look(p);
	struct word w = { .raw = parser_sign_text(p, sign) };
	int ret = sign == SIGN_WORD ? parser_take_word(p, false, &w) : 0;

	if (ret < 0)
		return ret;
	d->rule.call = (uint8_t)parser_find(LIST_CALLS, &w);
	return d->rule.call < RULE_CALLS ? 0 : parser_not_listed(p, "call", w.raw, LIST_CALLS);
}

/* `not` is read; what must be a matcher is next. */
static int take_negated(struct parser *p, struct word *w)
{
	enum sign sign = parser_look(p);

	if (sign != SIGN_WORD)
		return parser_not_listed(p, "not", parser_sign_text(p, SIGN_WORD), LIST_MATCHERS);
	return parser_take_word(p, false, w);
}

static int parse_match(struct parser *p, struct draft *d)
{
	struct rule_match *m = parser_take_low(p, sizeof(*m));
	struct word w;
	int ret;

	if (m == NULL)
		return -E2BIG;
	ret = parser_take_word(p, false, &w);
	if (ret == 0 && text_is(w.raw, "not")) {
		m->negated = true;
		ret = take_negated(p, &w);
	}
	if (ret < 0)
		return ret;
	m->matcher = (uint8_t)parser_find(LIST_MATCHERS, &w);
	if (m->matcher == RULE_MATCHERS)
		return parser_not_listed(p, "matcher", w.raw, LIST_MATCHERS);
	m->kind = (uint8_t)rule_matcher_kind(m->matcher);
	m->pattern = rule_matcher_argument(m->matcher) == ARG_GLOB;
	d->rule.n_matches++;
	return parser_matcher_argument(p, m);
}

static int parse_matches(struct parser *p, struct draft *d)
{
	enum sign sign;
	struct text t;
	int ret;

	d->rule.matches = (const void *)p->low;
	while ((sign = parser_look(p)) == SIGN_WORD) {
		ret = parse_match(p, d);
		if (ret < 0)
			return ret;
	}
	if (sign == SIGN_ARROW) {
		p->at += 2;
		return 0;
	}
	t = parser_begin_error(p, "rule", parser_sign_text(p, sign));
	text_add(&t, sign == SIGN_END ? "ends too early; " : "");
	text_add(&t, "expected -> and actions, or ");
	parser_add_list(&t, LIST_MATCHERS, parser_list_all(LIST_MATCHERS));
	return -EINVAL;
}

static int wrong_pair(struct parser *p, struct rule_text action, const struct draft *d, unsigned kind)
{
	struct text t = parser_begin_error(p, "", action);

	text_add(&t, "not for ");
	text_add(&t, rule_call_word(d->rule.call));
	text_add(&t, ", only for ");
	parser_add_list(&t, LIST_CALLS, rule_action_calls(kind));
	return -EINVAL;
}

static int check_action(struct parser *p, struct rule_text word, const struct draft *d, unsigned kind)
{
	const unsigned deny = 1u << ACT_DENY, bit = 1u << kind;

	if ((rule_action_calls(kind) & 1u << d->rule.call) == 0)
		return wrong_pair(p, word, d, kind);
	if (kind != ACT_SET && (d->kinds & bit) != 0)
		return parser_wrong(p, "", word, "twice in one rule");
	if ((d->kinds & deny) != 0)
		return parser_wrong(p, "", word, "deny stands alone in its rule");
	if (kind == ACT_DENY && d->kinds != 0)
		return parser_wrong(p, "", word, "stands alone in its rule");
	return 0;
}

static int parse_action(struct parser *p, struct draft *d)
{
	struct rule_action *a = parser_take_low(p, sizeof(*a));
	struct word w;
	unsigned kind;
	int ret;

	if (a == NULL)
		return -E2BIG;
	ret = parser_take_word(p, false, &w);
	if (ret < 0)
		return ret;
	kind = parser_find(LIST_ACTIONS, &w);
	if (kind == RULE_ACTIONS)
		return parser_not_listed(p, "action", w.raw, LIST_ACTIONS);
	ret = check_action(p, w.raw, d, kind);
	if (ret < 0)
		return ret;
	a->kind = (uint8_t)kind;
	d->kinds |= 1u << kind;
	d->rule.n_actions++;
	if (kind == ACT_UNMASKED)
		d->unmasked = w.raw;
	return parser_action_argument(p, d->actions, a);
}

/* What cannot follow an action. */
static int no_comma(struct parser *p, enum sign sign)
{
	struct word w = { .raw = parser_sign_text(p, sign) };
	int ret = sign == SIGN_WORD ? parser_take_word(p, false, &w) : 0;

	if (ret < 0)
		return ret;
	return parser_wrong(p, "", w.raw, "expected ',' and another action, or the end of the rule");
}

static int parse_actions(struct parser *p, struct draft *d)
{
	const char *before = "->";
	enum sign sign;
	int ret;

	d->actions = (void *)p->low;
	for (;; before = ",", p->at++) {
		sign = parser_look(p);
		if (sign != SIGN_WORD)
			return parser_not_listed(p, before, parser_sign_text(p, sign), LIST_ACTIONS);
		ret = parse_action(p, d);
		if (ret < 0)
			return ret;
		d->rule.text.len = (size_t)(p->at - d->rule.text.at);
		sign = parser_look(p);
		if (sign != SIGN_COMMA)
			break;
	}
	return sign == SIGN_END ? 0 : no_comma(p, sign);
}

static struct rule_text source_of(struct parser *p)
{
	struct text t = { .size = SOURCE_MAX };

	if (p->name == NULL)
		return p->source_line == p->line ? p->source : (struct rule_text){ NULL, 0 };
	t.buf = parser_take_high(p, SOURCE_MAX, 1);
	if (t.buf == NULL)
		return (struct rule_text){ NULL, 0 };
	text_add(&t, p->name);
	text_add(&t, ":");
	text_add_u64(&t, p->line);
	return (struct rule_text){ t.buf, t.len };
}

static int check_rule(struct parser *p, const struct draft *d)
{
	if ((d->kinds & 1u << ACT_UNMASKED) == 0 || (d->kinds & 1u << ACT_REDIRECT) != 0)
		return 0;
	return parser_wrong(p, "", d->unmasked, "expected with redirect in one rule");
}

static int parse_rule(struct parser *p)
{
	struct draft d = { .rule = { .line = p->line, .text.at = p->at, .source = source_of(p) } };
	int ret;

	if (p->out.n == p->rules_max)
		return -E2BIG;
	ret = parse_call(p, &d);
	if (ret == 0)
		ret = parse_matches(p, &d);
	if (ret == 0)
		ret = parse_actions(p, &d);
	if (ret == 0)
		ret = check_rule(p, &d);
	if (ret < 0)
		return ret;
	d.rule.actions = d.actions;
	p->out.rules[p->out.n++] = d.rule;
	p->out.calls |= (uint8_t)(1u << d.rule.call);
	return 0;
}

static const char *line_end(const struct parser *p)
{
	const char *end = memchr(p->at, '\n', (size_t)(p->end - p->at));

	return end != NULL ? end : p->end;
}

static void skip_comment(struct parser *p)
{
	const char *end = line_end(p);

	if (p->at == p->line_start && end - p->at > 3 && memcmp(p->at, "#: ", 3) == 0) {
		p->source = (struct rule_text){ p->at + 3, (size_t)(end - p->at) - 3 };
		p->source_line = p->line + 1;
	}
	p->at = end;
}

static void next_line(struct parser *p)
{
	p->at++;
	p->line++;
	p->line_start = p->at;
}

static int parse_all(struct parser *p)
{
	int ret = 0;

	while (ret == 0) {
		if (parser_look(p) != SIGN_END)
			ret = parse_rule(p);
		else if (p->at == p->end)
			break;
		else if (*p->at == '#')
			skip_comment(p);
		else if (*p->at == ';')
			p->at++;
		else
			next_line(p);
	}
	return ret;
}

static int refuse_nul(struct parser *p)
{
	const char *nul = memchr(p->at, '\0', (size_t)(p->end - p->at));

	if (nul == NULL)
		return 0;
	for (const char *end; (end = line_end(p)) < nul;) {
		p->at = end;
		next_line(p);
	}
	return parser_wrong(p, "a NUL byte", (struct rule_text){ nul, 0 }, "expected text");
}

int rules_parse(const char *text, size_t len, const char *name, rules_uid *uid_of, void *room,
		struct rules *out, struct rules_error *error)
{
	struct parser p = { .at = text, .end = text + len, .line_start = text, .line = 1, .name = name };
	int ret;

	if (len > RULES_TEXT_MAX || (name != NULL && strlen(name) > RULES_NAME_MAX))
		return -E2BIG;
	p.uid_of = uid_of;
	p.error = error;
	p.out.rules = room;
	p.rules_max = len / RULE_BYTES + 1;
	p.low = (char *)room + p.rules_max * sizeof(struct rule);
	p.high = (char *)room + rules_room(len);
	ret = refuse_nul(&p);
	if (ret == 0)
		ret = parse_all(&p);
	if (ret == 0)
		*out = p.out;
	return ret;
}
