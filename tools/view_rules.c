/* SPDX-License-Identifier: MIT */
/* Rules and what they decide as rows, for `portshim rules`. */
#include "view_private.h"

#define R ((const struct rule_row *)item)

GET(rule_action)
{
	set_text(out, R->action);
}

GET(rule_does)
{
	set_text(out, R->does);
}

GET(rule_result)
{
	set_text(out, R->result);
}

GET(rule_source)
{
	set_text(out, R->source);
}

GET(rule_text)
{
	set_text(out, R->rule);
}

static const struct column rule_columns[] = {
	{ "SOURCE", "source", 0, get_rule_source },
	{ "RULE", "rule", 0, get_rule_text },
	{ 0 },
};

static const struct column decision_columns[] = {
	{ NULL, "action", 0, get_rule_action },	    { "DOES", "does", 0, get_rule_does },
	{ "RESULT", "result", 0, get_rule_result }, { "SOURCE", "source", 0, get_rule_source },
	{ "RULE", "rule", 0, get_rule_text },	    { 0 },
};

int view_rules(const struct rule_row *rows, size_t n, bool decisions, struct view *out)
{
	struct view v = { .name = decisions ? "decisions" : "rules",
			  .columns = decisions ? decision_columns : rule_columns };

	for (size_t i = 0; i < n; i++) {
		if (add_row(&v, &rows[i], VIEW_NO_PARENT) < 0) {
			view_free(&v);
			return -ENOMEM;
		}
	}
	*out = v;
	return 0;
}
