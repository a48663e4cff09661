/* SPDX-License-Identifier: MIT */
#include "our_rules.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/session.h"
#include "common/sys.h"
#include "common/text.h"
#include "common/unshared.h"
#include "emit.h"
#include "portshim/env.h"
#include "process.h"

#define EXE_MAX 4096u
#define ARGV_MAX 16384u

HOT struct our_rules our_rules;

static char *map(size_t size)
{
	long p = sys6(SYS_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p < 0 && p > -4096 ? NULL : (char *)p;
}

/* What `exe` and `arg` are matched against. */
static void describe(char *out)
{
	ssize_t n = sys4(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", out, EXE_MAX - 1);
	struct sys_file f;

	our_rules.exe = out;
	out[n > 0 ? n : 0] = '\0';
	our_rules.argv = out + EXE_MAX;
	f = sys_file_open(AT_FDCWD, "/proc/self/cmdline", O_RDONLY);
	if (f.fd < 0)
		return;
	n = sys_read(f.fd, out + EXE_MAX, ARGV_MAX - 1);
	our_rules.argv_len = n > 0 ? (size_t)n : 0;
	sys_file_close(&f);
}

static bool asks_uid(const struct rules *rules)
{
	for (size_t i = 0; i < rules->n; i++) {
		for (unsigned k = 0; k < rules->rules[i].n_matches; k++) {
			if (rules->rules[i].matches[k].matcher == MATCH_UID)
				return true;
		}
	}
	return false;
}

static void tell_problem(const char *name, int ret, const struct rules_error *error)
{
	char problem[384];
	struct text t = TEXT_IN(problem);

	text_add(&t, name);
	if (error != NULL) {
		text_add(&t, ":");
		text_add_u64(&t, error->line);
		text_add(&t, ":");
		text_add_u64(&t, error->column);
		text_add(&t, ": ");
		text_add(&t, error->text);
	} else {
		text_add(&t, ": cannot be read: error ");
		text_add_u64(&t, (uint64_t)-ret);
	}
	emit_rules(problem);
}

/* text is in memory of our own.  name: NULL where it says itself what its rules are called. */
static void use(const char *text, size_t len, const char *name)
{
	struct rules_error error;
	char *room = map(rules_room(len) + EXE_MAX + ARGV_MAX);
	int ret = room == NULL ? -ENOMEM
			       : rules_parse(text, len, name, NULL, room + EXE_MAX + ARGV_MAX,
					     &our_rules.rules, &error);

	if (ret < 0) {
		tell_problem(name != NULL ? name : "rules", ret, ret == -EINVAL ? &error : NULL);
		return;
	}
	describe(room);
	our_rules.asks_uid = asks_uid(&our_rules.rules);
	our_rules.text = text;
	our_rules.len = len;
	atomic_store_explicit(&our_rules.calls, our_rules.rules.calls, memory_order_release);
}

static int read_file(const struct sys_file *f, uid_t uid, char **text, size_t *len)
{
	struct stat st = { 0 };
	ssize_t n;
	char *p;

	if (sys2(SYS_fstat, f->fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != uid || (st.st_mode & 077))
		return -EPERM;
	if (st.st_size > RULES_TEXT_MAX)
		return -E2BIG;
	if (st.st_size == 0)
		return -ENODATA;
	p = map((size_t)st.st_size);
	if (p == NULL)
		return -ENOMEM;
	n = sys_read(f->fd, p, (size_t)st.st_size);
	if (n != st.st_size)
		return n < 0 ? (int)n : -EIO;
	*text = p;
	*len = (size_t)n;
	return 0;
}

/* False: the session has none. */
static bool load_session(void)
{
	char path[LOG_PATH_MAX];
	uid_t uid = log_uid(&self.log);
	struct sys_file f;
	char *text = NULL;
	size_t len = 0;
	int ret = session_rules_path(self.session, uid, path, sizeof(path));

	if (ret < 0)
		return true;
	f = sys_file_open(AT_FDCWD, path, O_RDONLY | O_NOFOLLOW);
	if (f.fd < 0) {
		if (f.fd != -ENOENT)
			tell_problem("rules", f.fd, NULL);
		return f.fd != -ENOENT;
	}
	ret = read_file(&f, uid, &text, &len);
	sys_file_close(&f);
	our_rules.of_session = ret == 0;
	if (ret == 0)
		use(text, len, NULL);
	else
		tell_problem("rules", ret, NULL);
	return true;
}

/* A copy: the environment is the program's to change. */
void our_rules_remember(const char *value)
{
	size_t name = sizeof(PS_ENV_RULES "=") - 1, len = value != NULL ? strlen(value) : 0;
	char *copy = len > 0 && len <= RULES_ENV_MAX ? map(name + len + 1) : NULL;

	our_rules.refused = len > RULES_ENV_MAX;
	if (copy == NULL)
		return;
	memcpy(copy, PS_ENV_RULES "=", name);
	memcpy(copy + name, value, len + 1);
	our_rules.variable = copy;
}

void our_rules_load(void)
{
	const char *value = our_rules.variable;

	if (load_session())
		return;
	if (our_rules.refused)
		tell_problem(PS_ENV_RULES, -E2BIG, NULL);
	if (value == NULL)
		return;
	value += sizeof(PS_ENV_RULES "=") - 1;
	use(value, strlen(value), PS_ENV_RULES);
}

void our_rules_give(uid_t uid)
{
	if (our_rules.of_session)
		session_rules_write(self.session, uid, our_rules.text, our_rules.len);
}
