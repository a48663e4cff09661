/* SPDX-License-Identifier: MIT */
#include "lines.h"

#include <string.h>

#include "common/sys.h"

int lines_find(const char *path, line_matcher *matches, const void *arg)
{
	char buf[4096];
	struct sys_file f = sys_file_open(AT_FDCWD, path, O_RDONLY);
	size_t have = 0;
	bool found = false;
	ssize_t n;

	if (f.fd < 0)
		return f.fd;
	while (!found && (n = sys_read(f.fd, buf + have, sizeof(buf) - 1 - have)) > 0) {
		char *line = buf, *end;

		have += (size_t)n;
		buf[have] = '\0';
		for (; !found && (end = strchr(line, '\n')) != NULL; line = end + 1) {
			*end = '\0';
			found = matches(line, arg);
		}
		have -= (size_t)(line - buf);
		memmove(buf, line, have);
	}
	sys_file_close(&f);
	return found;
}
