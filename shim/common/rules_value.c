/* SPDX-License-Identifier: MIT */
/* The arguments of matchers and actions. */
#include "rules_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#define TEXT_VALUE_MAX 15 /* IFNAMSIZ and TCP_CA_NAME_MAX less the NUL */
#define USER_MAX 256

/* A part of the word's value for a message, which can point only at what was written. */
static struct rule_text found(const struct word *w, struct rule_text part)
{
	return w->value.at == w->raw.at && part.len > 0 ? part : w->raw;
}

static bool starts_with(struct rule_text t, const char *prefix)
{
	return t.len >= strlen(prefix) && memcmp(t.at, prefix, strlen(prefix)) == 0;
}

static struct rule_text rest(struct rule_text t, size_t from)
{
	return (struct rule_text){ t.at + from, t.len - from };
}

static bool split(struct rule_text t, char c, struct rule_text *before, struct rule_text *after)
{
	const char *at = memchr(t.at, c, t.len);

	if (at == NULL)
		return false;
	*before = (struct rule_text){ t.at, (size_t)(at - t.at) };
	*after = rest(t, before->len + 1);
	return true;
}

/* ---- values ---- */

static int digit_of(char c, unsigned base)
{
	int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;

	return digit < (int)base ? digit : -1;
}

/* Digits and nothing else. */
static bool number_in(struct rule_text t, unsigned base, uint64_t max, uint64_t *out)
{
	uint64_t n = 0;

	if (t.len == 0)
		return false;
	for (size_t i = 0; i < t.len; i++) {
		int digit = digit_of(t.at[i], base);

		if (digit < 0)
			return false;
		n = n * base + (unsigned)digit;
		if (n > max)
			return false;
	}
	*out = n;
	return true;
}

static bool number(struct rule_text t, uint64_t max, uint64_t *out)
{
	return number_in(t, 10, max, out);
}

static bool is_number(struct rule_text t)
{
	size_t i = 0;

	while (i < t.len && digit_of(t.at[i], 10) >= 0)
		i++;
	return i > 0 && i == t.len;
}

static bool port_number(struct rule_text t, uint16_t *out)
{
	uint64_t n;

	if (!number(t, UINT16_MAX, &n))
		return false;
	*out = (uint16_t)n;
	return true;
}

static bool integer(struct rule_text t, int *out)
{
	bool negative = t.len > 0 && t.at[0] == '-';
	uint64_t n;

	if (negative)
		t = rest(t, 1);
	if (starts_with(t, "0x") ? !number_in(rest(t, 2), 16, INT_MAX, &n)
				 : !number(t, (uint64_t)INT_MAX + negative, &n))
		return false;
	*out = (int)(negative ? -(int64_t)n : (int64_t)n);
	return true;
}

static bool ip_of_family(int family, struct rule_text t, uint8_t ip[static 16])
{
	char buf[INET6_ADDRSTRLEN];

	if (t.len >= sizeof(buf))
		return false;
	memcpy(buf, t.at, t.len);
	buf[t.len] = '\0';
	return inet_pton(family, buf, ip) == 1;
}

static bool ip_address(struct rule_text t, uint16_t *family, uint8_t ip[static 16])
{
	uint16_t as = memchr(t.at, ':', t.len) != NULL ? AF_INET6 : AF_INET;

	if (!ip_of_family(as, t, ip))
		return false;
	*family = as;
	return true;
}

/* ---- matchers ---- */

static int parse_addr(struct parser *p, const char *what, const struct word *w, struct rule_match *m)
{
	struct endpoint ep = { 0 };
	struct rule_text ip = w->value, bits_text;
	bool prefix = split(w->value, '/', &ip, &bits_text);
	uint64_t bits;

	if (!ip_address(ip, &ep.family, ep.ip))
		return parser_wrong_argument(p, what, w->raw, ARG_ADDR);
	bits = ep.family == AF_INET ? 32 : 128;
	if (prefix && !number(bits_text, bits, &bits))
		return parser_wrong(p, what, w->raw,
				    ep.family == AF_INET ? "the prefix is not in 0-32"
							 : "the prefix is not in 0-128");
	m->addr.ip = endpoint_as_ipv6(&ep);
	m->addr.bits = (uint8_t)(ep.family == AF_INET ? bits + 96 : bits);
	return 0;
}

static int parse_range(struct parser *p, const char *what, const struct word *w, struct rule_text t,
		       struct rule_range *out)
{
	struct rule_text from = t, to = t;

	split(t, '-', &from, &to);
	if (!is_number(from) || !is_number(to))
		return parser_wrong_argument(p, what, found(w, t), ARG_PORTS);
	if (!port_number(from, &out->from))
		return parser_wrong(p, what, found(w, from), "not in 0-65535");
	if (!port_number(to, &out->to))
		return parser_wrong(p, what, found(w, to), "not in 0-65535");
	if (out->from > out->to)
		return parser_wrong(p, what, found(w, t), "its end comes before its start");
	return 0;
}

static size_t count_ranges(struct rule_text t)
{
	size_t n = 1;

	for (size_t i = 0; i < t.len; i++)
		n += t.at[i] == ',';
	return n;
}

static int parse_ports(struct parser *p, const char *what, const struct word *w, struct rule_match *m)
{
	size_t n = count_ranges(w->value);
	struct rule_range *ranges = parser_take_high(p, n * sizeof(*ranges), _Alignof(struct rule_range));
	struct rule_text t, left = w->value;

	if (ranges == NULL)
		return -E2BIG;
	for (size_t i = 0; i < n; i++) {
		t = left;
		split(left, ',', &t, &left);
		if (parse_range(p, what, w, t, &ranges[i]) < 0)
			return -EINVAL;
	}
	m->ports = ranges;
	m->n_ports = (uint16_t)n;
	return 0;
}

static int user_named(struct parser *p, const char *what, const struct word *w, uid_t *out)
{
	char name[USER_MAX];

	if (p->uid_of == NULL)
		return parser_wrong(p, what, w->raw,
				    "names are known to 'portshim run' only; expected the number");
	if (w->value.len > 0 && w->value.len < sizeof(name)) {
		memcpy(name, w->value.at, w->value.len);
		name[w->value.len] = '\0';
		if (p->uid_of(name, out))
			return 0;
	}
	return parser_wrong(p, what, w->raw, "no such user; expected a number or a name");
}

static int parse_uid(struct parser *p, const char *what, const struct word *w, struct rule_match *m)
{
	uint64_t n;

	if (!is_number(w->value))
		return user_named(p, what, w, &m->uid);
	if (!number(w->value, (uid_t)-1 - 1u, &n))
		return parser_wrong(p, what, w->raw, "not in 0-4294967294");
	m->uid = (uid_t)n;
	return 0;
}

int parser_matcher_argument(struct parser *p, struct rule_match *m)
{
	const char *what = rule_matcher_word(m->matcher);
	enum rule_argument argument = rule_matcher_argument(m->matcher);
	struct word w;
	int ret;

	if (argument == ARG_NONE)
		return 0;
	ret = parser_take_argument(p, what, argument, &w);
	if (ret < 0)
		return ret;
	switch (argument) {
	case ARG_ADDR:
		return parse_addr(p, what, &w, m);
	case ARG_PORTS:
		return parse_ports(p, what, &w, m);
	case ARG_UID:
		return parse_uid(p, what, &w, m);
	default:
		m->glob = w.value;
		return 0;
	}
}

/* ---- actions ---- */

static int parse_unix_where(struct parser *p, const char *what, const struct word *w, struct rule_where *out)
{
	struct rule_text name = rest(w->value, strlen("unix:"));
	bool abstract = name.len > 0 && name.at[0] == '@';
	char *copy;

	if (name.len <= abstract)
		return parser_wrong(p, what, w->raw, "a name is missing; expected unix:PATH or unix:@NAME");
	if (!abstract && name.at[0] != '/')
		return parser_wrong(p, what, w->raw, "expected an absolute path behind unix:");
	if (name.len >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return parser_wrong(p, what, w->raw, "the name is longer than 107 bytes");
	copy = parser_take_high(p, name.len, 1);
	if (copy == NULL)
		return -E2BIG;
	memcpy(copy, name.at, name.len);
	if (abstract)
		copy[0] = '\0';
	out->family = AF_UNIX;
	out->name = (struct rule_text){ copy, name.len };
	return 0;
}

/* ":PORT", ":+N", ":-N" without the colon. */
static int parse_where_port(struct parser *p, const char *what, const struct word *w, struct rule_text t,
			    struct rule_where *out)
{
	out->how = WHERE_PORT;
	if (out->family == 0 && t.len > 0 && (t.at[0] == '+' || t.at[0] == '-')) {
		out->how = t.at[0] == '+' ? WHERE_PLUS : WHERE_MINUS;
		t = rest(t, 1);
	}
	if (!is_number(t))
		return parser_wrong_argument(p, what, w->raw, ARG_WHERE);
	return port_number(t, &out->port) ? 0 : parser_wrong(p, what, found(w, t), "not in 0-65535");
}

/* "[IP6]:PORT" or "IP:PORT" taken apart. */
static bool split_address(struct rule_text t, struct rule_text *ip, struct rule_text *port)
{
	if (t.len == 0 || t.at[0] != '[')
		return split(t, ':', ip, port);
	return split(rest(t, 1), ']', ip, port) && starts_with(*port, ":") && (*port = rest(*port, 1), true);
}

static int parse_where(struct parser *p, const char *what, const struct word *w, struct rule_where *out)
{
	struct rule_text t = w->value, ip, port;
	bool bracket = starts_with(t, "[");

	if (starts_with(t, "unix:"))
		return parse_unix_where(p, what, w, out);
	if (starts_with(t, ":") && !starts_with(t, "::"))
		return parse_where_port(p, what, w, rest(t, 1), out);
	if (ip_address(t, &out->family, out->ip))
		return 0;
	if (!split_address(t, &ip, &port) || !ip_of_family(bracket ? AF_INET6 : AF_INET, ip, out->ip))
		return parser_wrong_argument(p, what, w->raw, ARG_WHERE);
	out->family = bracket ? AF_INET6 : AF_INET;
	return parse_where_port(p, what, w, port, out);
}

static int parse_errno(struct parser *p, const char *what, struct rule_action *a)
{
	const struct rule_errno *e;
	struct word w;
	int ret;

	a->error = EACCES;
	if (parser_look(p) != SIGN_WORD)
		return 0;
	ret = parser_take_word(p, false, &w);
	if (ret < 0)
		return ret;
	for (size_t i = 0; (e = rule_errno(i)) != NULL; i++) {
		if (text_is(w.value, e->name)) {
			a->error = e->number;
			return 0;
		}
	}
	return parser_wrong_argument(p, what, w.raw, ARG_ERRNO);
}

static int parse_name(struct parser *p, struct rule_action *a)
{
	struct word w;
	int ret;

	if (parser_look(p) != SIGN_WORD)
		return 0;
	ret = parser_take_word(p, false, &w);
	if (ret == 0)
		a->name = w.value;
	return ret;
}

static int parse_backlog(struct parser *p, const char *what, const struct word *w, struct rule_action *a)
{
	uint64_t n;

	if (!number(w->value, INT_MAX, &n))
		return parser_wrong_argument(p, what, w->raw, ARG_NUMBER);
	a->backlog = (int)n;
	return 0;
}

static bool find_option(struct rule_text name, uint16_t *out)
{
	const struct rule_option *o;

	for (uint16_t i = 0; (o = rule_option(i)) != NULL; i++) {
		if (text_is(name, o->name)) {
			*out = i;
			return true;
		}
	}
	return false;
}

static int parse_option_value(struct parser *p, const struct word *w, struct rule_text value,
			      struct rule_action *a)
{
	const struct rule_option *o = rule_option(a->set.option);

	if (o->type == OPTION_TEXT) {
		if (value.len == 0 || value.len > TEXT_VALUE_MAX)
			return parser_wrong(p, "set", w->raw, "expected a value of 1 to 15 bytes");
		a->set.text = value;
		return 0;
	}
	if (!integer(value, &a->set.value))
		return parser_wrong(p, "set", w->raw, "expected a number as value");
	if (o->type == OPTION_TIMEVAL && a->set.value < 0)
		return parser_wrong(p, "set", w->raw, "expected milliseconds as value");
	return 0;
}

static int parse_option(struct parser *p, const struct rule_action *actions, const struct word *w,
			struct rule_action *a)
{
	struct rule_text name, value;

	if (!split(w->value, '=', &name, &value))
		return parser_wrong_argument(p, "set", w->raw, ARG_OPTION);
	if (!find_option(name, &a->set.option))
		return parser_wrong(p, "set", found(w, name),
				    "no option known here; 'portshim rules --help' lists them");
	for (const struct rule_action *b = actions; b < a; b++) {
		if (b->kind == ACT_SET && b->set.option == a->set.option)
			return parser_wrong(p, "set", found(w, name), "twice in one rule");
	}
	return parse_option_value(p, w, value, a);
}

int parser_action_argument(struct parser *p, const struct rule_action *actions, struct rule_action *a)
{
	const char *what = rule_action_word(a->kind);
	enum rule_argument argument = rule_action_argument(a->kind);
	struct word w;
	int ret;

	if (argument == ARG_NONE)
		return 0;
	if (argument == ARG_ERRNO)
		return parse_errno(p, what, a);
	if (argument == ARG_NAME)
		return parse_name(p, a);
	ret = parser_take_argument(p, what, argument, &w);
	if (ret < 0)
		return ret;
	if (argument == ARG_WHERE)
		return parse_where(p, what, &w, &a->where);
	if (argument == ARG_OPTION)
		return parse_option(p, actions, &w, a);
	return parse_backlog(p, what, &w, a);
}
