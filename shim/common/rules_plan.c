/* SPDX-License-Identifier: MIT */
/* What the rules decide for one call: what rules.h says of rules_plan() and rule_redirected(). */
#include "rules.h"

#include <errno.h>
#include <string.h>

#include "glob.h"

static bool is_ip(uint16_t family)
{
	return family == AF_INET || family == AF_INET6;
}

/* ---- matching ---- */

static bool is_ipv4(const struct endpoint *ep)
{
	struct in6_addr ip;

	if (!is_ip(ep->family))
		return false;
	ip = endpoint_as_ipv6(ep);
	return IN6_IS_ADDR_V4MAPPED(&ip);
}

/* Of what the call names; a call may name nothing. */
static bool match_family(const struct rule_query *q, bool ipv4)
{
	if (is_ip(q->address->family))
		return is_ipv4(q->address) == ipv4;
	return q->address->family == 0 && q->family == (ipv4 ? AF_INET : AF_INET6);
}

static bool match_protocol(const struct rule_query *q, uint16_t type, uint16_t protocol)
{
	return is_ip(q->family) && q->type == type && (q->protocol == 0 || q->protocol == protocol);
}

static bool same_prefix(const struct in6_addr *a, const struct in6_addr *b, unsigned bits)
{
	unsigned whole = bits / 8, left = bits % 8;

	if (memcmp(a, b, whole) != 0)
		return false;
	return left == 0 || (a->s6_addr[whole] ^ b->s6_addr[whole]) >> (8 - left) == 0;
}

/* "::/0" is any IPv6 address, though IPv4's are mapped into it here. */
static bool match_addr(const struct rule_match *m, const struct endpoint *ep)
{
	struct in6_addr ip;

	if (!is_ip(ep->family))
		return false;
	ip = endpoint_as_ipv6(ep);
	return (m->addr.bits >= 96 && IN6_IS_ADDR_V4MAPPED(&m->addr.ip)) == IN6_IS_ADDR_V4MAPPED(&ip) &&
	       same_prefix(&m->addr.ip, &ip, m->addr.bits);
}

static bool match_port(const struct rule_match *m, const struct endpoint *ep)
{
	if (!is_ip(ep->family))
		return false;
	for (unsigned i = 0; i < m->n_ports; i++) {
		if (m->ports[i].from <= ep->port && ep->port <= m->ports[i].to)
			return true;
	}
	return false;
}

static bool match_text(const struct rule_match *m, const char *s, size_t len)
{
	return glob_match(m->glob.at, m->glob.len, s, len);
}

static bool match_path(const struct rule_match *m, const struct endpoint *ep)
{
	char name[ENDPOINT_TEXT_MAX];

	if (ep->family != AF_UNIX || ep->port == 0)
		return false;
	endpoint_text(ep, name);
	return match_text(m, name, strlen(name));
}

static bool match_exe(const struct rule_match *m, const char *exe)
{
	const char *slash = strrchr(exe, '/');

	return match_text(m, exe, strlen(exe)) ||
	       (slash != NULL && match_text(m, slash + 1, strlen(slash + 1)));
}

static bool match_arg(const struct rule_match *m, const char *argv, size_t len)
{
	for (size_t n; len > 0; argv += n, len -= n) {
		n = strnlen(argv, len);
		if (match_text(m, argv, n))
			return true;
		n += n < len;
	}
	return false;
}

static bool match_one(const struct rule_match *m, const struct rule_query *q)
{
	switch ((enum rule_matcher)m->matcher) {
	case MATCH_TCP:
		return match_protocol(q, SOCK_STREAM, IPPROTO_TCP);
	case MATCH_UDP:
		return match_protocol(q, SOCK_DGRAM, IPPROTO_UDP);
	case MATCH_UNIX:
		return q->family == AF_UNIX;
	case MATCH_IPV4:
		return match_family(q, true);
	case MATCH_IPV6:
		return match_family(q, false);
	case MATCH_ADDR:
		return match_addr(m, q->address);
	case MATCH_PORT:
		return match_port(m, q->address);
	case MATCH_PATH:
		return match_path(m, q->address);
	case MATCH_EXE:
		return match_exe(m, q->exe);
	case MATCH_ARG:
		return match_arg(m, q->argv, q->argv_len);
	case MATCH_UID:
		return m->uid == q->euid;
	default:
		return false;
	}
}

/* Which kinds of matchers are asked for, and which have been satisfied. */
struct kinds {
	unsigned wanted, got;
};

static bool match_some(const struct rule *r, const struct rule_query *q, bool patterns, struct kinds *k)
{
	for (unsigned i = 0; i < r->n_matches; i++) {
		const struct rule_match *m = &r->matches[i];
		unsigned kind = 1u << m->kind;

		if (m->pattern != patterns)
			continue;
		if (m->negated) {
			if (match_one(m, q))
				return false;
			continue;
		}
		k->wanted |= kind;
		if ((k->got & kind) == 0 && match_one(m, q))
			k->got |= kind;
	}
	return k->wanted == k->got;
}

/* Patterns last, as they cost most. */
static bool rule_matches(const struct rule *r, const struct rule_query *q)
{
	struct kinds k = { 0 };

	return match_some(r, q, false, &k) && match_some(r, q, true, &k);
}

/* ---- planning ---- */

static void plan_set(struct rule_plan *plan, const struct rule *r, const struct rule_action *a)
{
	for (size_t i = 0; i < plan->n_sets; i++) {
		if (plan->sets[i]->set.option == a->set.option)
			return;
	}
	plan->sets[plan->n_sets] = a;
	plan->set_rule[plan->n_sets++] = r;
}

static bool changes_part(const struct rule_where *w)
{
	return w->family == 0 || (w->family != AF_UNIX && w->how != WHERE_PORT);
}

static void plan_action(struct rule_plan *plan, const struct rule_query *q, const struct rule *r,
			const struct rule_action *a)
{
	if (a->kind == ACT_SET) {
		plan_set(plan, r, a);
		return;
	}
	if (plan->rule[a->kind] != NULL)
		return;
	if (a->kind == ACT_REDIRECT && changes_part(&a->where) && !is_ip(q->address->family))
		return;
	plan->rule[a->kind] = r;
	plan->action[a->kind] = a->kind != ACT_PASS ? a : NULL;
}

static const struct rule_action *action_of(const struct rule *r, enum rule_action_kind kind)
{
	for (unsigned i = 0; r != NULL && i < r->n_actions; i++) {
		if (r->actions[i].kind == kind)
			return &r->actions[i];
	}
	return NULL;
}

static void clear(struct rule_plan *plan)
{
	memset(plan->action, 0, sizeof(plan->action));
	memset(plan->rule, 0, sizeof(plan->rule));
	plan->n_sets = 0;
	plan->any = false;
}

/* `unmasked` is the redirect's, and `deny` leaves nothing else to do. */
static void settle(struct rule_plan *plan)
{
	const struct rule *redirect = plan->rule[ACT_REDIRECT], *deny = plan->rule[ACT_DENY];
	const struct rule_action *denial = plan->action[ACT_DENY];

	if (denial != NULL) {
		clear(plan);
		plan->action[ACT_DENY] = denial;
		plan->rule[ACT_DENY] = deny;
	} else {
		plan->action[ACT_UNMASKED] = action_of(redirect, ACT_UNMASKED);
		plan->rule[ACT_UNMASKED] = plan->action[ACT_UNMASKED] != NULL ? redirect : NULL;
	}
	plan->any = plan->n_sets > 0;
	for (unsigned i = 0; i < RULE_ACTIONS; i++)
		plan->any = plan->any || plan->action[i] != NULL;
}

bool rules_plan(const struct rules *rules, const struct rule_query *query, struct rule_plan *out)
{
	bool matched = false;

	clear(out);
	if ((rules->calls & 1u << query->call) == 0)
		return false;
	for (size_t i = 0; i < rules->n && out->rule[ACT_PASS] == NULL; i++) {
		const struct rule *r = &rules->rules[i];

		if (r->call != query->call || !rule_matches(r, query))
			continue;
		matched = true;
		for (unsigned j = 0; j < r->n_actions; j++)
			plan_action(out, query, r, &r->actions[j]);
	}
	if (matched)
		settle(out);
	return out->any;
}

/* ---- redirecting ---- */

static int moved_port(const struct rule_where *where, uint16_t asked, uint16_t *out)
{
	int port = asked;

	if (where->how == WHERE_PORT) {
		*out = where->port;
		return 0;
	}
	if (where->how == WHERE_SAME || asked == 0) {
		*out = asked;
		return 0;
	}
	port += where->how == WHERE_PLUS ? where->port : -where->port;
	if (port < 1 || port > UINT16_MAX)
		return -EADDRNOTAVAIL;
	*out = (uint16_t)port;
	return 0;
}

int rule_redirected(const struct rule_where *where, const struct endpoint *asked, struct endpoint *out)
{
	struct endpoint ep = { .family = where->family };
	int ret;

	if (where->family == AF_UNIX) {
		ep.port = (uint16_t)where->name.len;
		memcpy(ep.name, where->name.at, where->name.len);
		*out = ep;
		return 0;
	}
	if (changes_part(where) && !is_ip(asked->family))
		return -EAFNOSUPPORT;
	if (where->family == 0)
		ep = *asked;
	else
		memcpy(ep.ip, where->ip, sizeof(ep.ip));
	ret = moved_port(where, asked->port, &ep.port);
	if (ret == 0)
		*out = ep;
	return ret;
}
