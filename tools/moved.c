/* SPDX-License-Identifier: MIT */
#include "moved.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "common/rules.h"
#include "common/session.h"
#include "util.h"

/* For the caller to free; NULL: there are none, or no such ones as `run` makes. */
static char *read_rules(const char *dir, uid_t uid, size_t *len)
{
	char path[PATH_MAX], *text = NULL;
	struct stat st;
	int fd = session_rules_path(dir, uid, path, sizeof(path)) == 0
			 ? open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
			 : -1;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= RULES_TEXT_MAX)
		text = malloc((size_t)st.st_size + 1);
	if (text != NULL && read(fd, text, (size_t)st.st_size) != st.st_size) {
		free(text);
		text = NULL;
	}
	*len = text != NULL ? (size_t)st.st_size : 0;
	close(fd);
	return text;
}

static const struct rule_where *redirect_of(const struct rule *r, const char *source)
{
	if (r->call != RULE_BIND || r->source.len != strlen(source) ||
	    memcmp(r->source.at, source, r->source.len) != 0)
		return NULL;
	for (unsigned i = 0; i < r->n_actions; i++) {
		if (r->actions[i].kind == ACT_REDIRECT)
			return &r->actions[i].where;
	}
	return NULL;
}

/* Two rules of one line have one name: of use only where both lead to one place. */
static bool find(const struct rules *rules, const char *source, const struct endpoint *asked,
		 struct endpoint *out)
{
	bool found = false;

	for (size_t i = 0; i < rules->n; i++) {
		const struct rule_where *where = redirect_of(&rules->rules[i], source);
		struct endpoint to;

		if (where == NULL)
			continue;
		if (rule_redirected(where, asked, &to) < 0 || (found && !endpoint_equal(&to, out)))
			return false;
		*out = to;
		found = true;
	}
	return found;
}

bool moved_to(const char *dir, uid_t uid, const char *source, const struct endpoint *asked,
	      struct endpoint *out)
{
	size_t len;
	CLEANUP_FREE char *text = read_rules(dir, uid, &len);
	CLEANUP_FREE void *room = text != NULL ? malloc(rules_room(len)) : NULL;
	struct rules rules;
	struct rules_error error;

	return room != NULL && rules_parse(text, len, NULL, NULL, room, &rules, &error) == 0 &&
	       find(&rules, source, asked, out);
}
