/* SPDX-License-Identifier: MIT */
#include "environ.h"

#include <string.h>

#include "common/program.h"
#include "common/text.h"
#include "mask.h"
#include "our_rules.h"
#include "portshim/env.h"
#include "process.h"

#define PRELOAD "LD_PRELOAD"

size_t environ_count(char *const envp[])
{
	size_t n = 0;

	while (envp != NULL && envp[n] != NULL)
		n++;
	return n;
}

static const char *value_of(const char *entry, const char *name)
{
	size_t len = strlen(name);

	return strncmp(entry, name, len) == 0 && entry[len] == '=' ? entry + len + 1 : NULL;
}

const char *environ_get(char *const envp[], const char *name)
{
	for (; envp != NULL && *envp != NULL; envp++) {
		const char *value = value_of(*envp, name);

		if (value != NULL)
			return value;
	}
	return NULL;
}

/* ld.so(8): entries are separated by blanks and colons.  strspn(3) is two pages of libc that nobody else
 * touches at the start. */
static bool is_separator(char c)
{
	return c == ' ' || c == ':';
}

static const char *next_entry(const char *p, size_t *len)
{
	const char *end;

	while (is_separator(*p))
		p++;
	for (end = p; *end != '\0' && !is_separator(*end);)
		end++;
	*len = (size_t)(end - p);
	return *len > 0 ? p : NULL;
}

static bool is_ours(const char *entry, size_t len)
{
	size_t own = sizeof(PS_LIBRARY) - 1;

	return len >= own && memcmp(entry + len - own, PS_LIBRARY, own) == 0 &&
	       (len == own || entry[len - own - 1] == '/');
}

const char *environ_own_entry(const char *preload, size_t *len)
{
	for (const char *p = preload; p != NULL && (p = next_entry(p, len)) != NULL; p += *len) {
		if (is_ours(p, *len))
			return p;
	}
	return NULL;
}

static void add_entry(struct text *t, const char *entry, size_t len)
{
	if (t->buf[t->len - 1] != '=')
		text_add(t, ":");
	text_add_bytes(t, entry, len);
}

static void add_theirs(struct text *t, const char *theirs, bool first)
{
	size_t len;

	for (const char *p = theirs; p != NULL && (p = next_entry(p, &len)) != NULL; p += len) {
		if (!is_ours(p, len) && preload_goes_first(p, len) == first)
			add_entry(t, p, len);
	}
}

/* "LD_PRELOAD=" with the program's entries, ours in front or left out; false if it does not fit. */
static bool write_preload(const char *theirs, bool ours, struct text *t)
{
	text_add(t, PRELOAD "=");
	add_theirs(t, theirs, true);
	if (ours)
		add_entry(t, self.preload, strlen(self.preload));
	add_theirs(t, theirs, false);
	return !t->full;
}

static void write_process(const struct environ_identity *id, struct text *t)
{
	text_add(t, PS_ENV_PROCESS "=");
	text_add_hex(t, id->process);
	text_add(t, ".");
	text_add_hex(t, id->pid);
	text_add(t, ".");
	text_add_hex(t, id->pid != 0 ? id->start : id->parent);
	text_add(t, ".");
	text_add_hex(t, id->forks);
	if (atomic_load_explicit(&self.quiet, memory_order_relaxed))
		text_add(t, "s");
}

static void write_session(struct text *t)
{
	text_add(t, PS_ENV_SESSION "=");
	text_add(t, self.session);
}

/* Whether LD_PRELOAD is already as it has to be. */
static bool preload_is_right(const char *value, bool ours)
{
	size_t len;
	const char *own = environ_own_entry(value, &len);

	if (!ours || own == NULL)
		return ours == (own != NULL);
	for (const char *p = value; (p = next_entry(p, &len)) != own; p += len) {
		if (!preload_goes_first(p, len))
			return false;
	}
	for (const char *p = own; (p = next_entry(p, &len)) != NULL; p += len) {
		if (preload_goes_first(p, len))
			return false;
	}
	return true;
}

struct environ_plan environ_plan(char *const envp[], size_t pointers, bool preload,
				 const struct environ_identity *id)
{
	const char *theirs = environ_get(envp, PRELOAD), *session = environ_get(envp, PS_ENV_SESSION);
	struct environ_plan plan = { .pointers = pointers };
	size_t len = sizeof(PRELOAD "=");

	if (pointers == 0)
		return plan;
	plan.drop_preload = !preload_is_right(theirs, preload);
	if (plan.drop_preload) {
		len += (theirs != NULL ? strlen(theirs) + 1 : 0) + (preload ? strlen(self.preload) : 0);
		if (len > ENVIRON_PRELOAD_MAX)
			return (struct environ_plan){ 0 };
		plan.preload = (uint16_t)len;
	}
	if (environ_get(envp, PS_ENV_RULES) == NULL)
		plan.rules = our_rules.variable;
	/* Another session than ours was asked for: the new image is a stranger there. */
	if (id == NULL || (session != NULL && strcmp(session, self.session) != 0))
		return plan;
	plan.process = ENVIRON_PROCESS_MAX;
	if (session == NULL)
		plan.session = (uint16_t)(sizeof(PS_ENV_SESSION "=") + strlen(self.session));
	if (mask_any()) {
		len = sizeof(PS_ENV_MASKS "=") + mask_length();
		plan.masks = len < ENVIRON_MASKS_MAX ? (uint16_t)len : ENVIRON_MASKS_MAX;
	}
	return plan;
}

static struct text next_string(char **strings, size_t size)
{
	struct text t = { .buf = *strings, .size = size };

	*strings += size;
	return t;
}

/* Other threads may change what was planned for meanwhile: nothing is written that there is no room for. */
char *const *environ_complete(char *const envp[], const struct environ_plan *plan, bool preload,
			      const struct environ_identity *id, char **out, char *strings)
{
	struct text t;
	size_t n = 0;

	for (char *const *p = envp; p != NULL && *p != NULL; p++) {
		if ((plan->drop_preload && value_of(*p, PRELOAD) != NULL) ||
		    value_of(*p, PS_ENV_PROCESS) != NULL || value_of(*p, PS_ENV_MASKS) != NULL)
			continue;
		if (n + ENVIRON_ADDED >= plan->pointers)
			return envp;
		out[n++] = *p;
	}
	if (plan->rules != NULL)
		out[n++] = (char *)(uintptr_t)plan->rules;
	if (plan->masks > 0) {
		t = next_string(&strings, plan->masks);
		text_add(&t, PS_ENV_MASKS "=");
		mask_write(&t);
		out[n++] = t.buf;
	}
	if (plan->preload > 0) {
		t = next_string(&strings, plan->preload);
		if (!write_preload(environ_get(envp, PRELOAD), preload, &t))
			return envp;
		if (t.len > sizeof(PRELOAD))
			out[n++] = t.buf;
	}
	if (plan->process > 0) {
		t = next_string(&strings, plan->process);
		write_process(id, &t);
		out[n++] = t.buf;
	}
	if (plan->session > 0) {
		t = next_string(&strings, plan->session);
		write_session(&t);
		out[n++] = t.buf;
	}
	out[n] = NULL;
	return out;
}

bool environ_identity(const char *value, struct environ_identity *out, bool *sandboxed)
{
	uint64_t process, pid, start, forks;
	const char *p = value;

	if (!text_take_u64(&p, 16, &process) || *p++ != '.' || !text_take_u64(&p, 16, &pid) || *p++ != '.' ||
	    !text_take_u64(&p, 16, &start) || *p++ != '.' || !text_take_u64(&p, 16, &forks) ||
	    pid > INT32_MAX)
		return false;
	*sandboxed = *p == 's';
	if (p[*sandboxed] != '\0')
		return false;
	*out = (struct environ_identity){ .process = process,
					  .forks = forks,
					  .pid = (uint32_t)pid,
					  .start = pid != 0 ? start : 0,
					  .parent = pid != 0 ? 0 : (uint32_t)start };
	return true;
}
