/* SPDX-License-Identifier: MIT */
/*
 * storm fork|exec N [PROGRAM]: N children, at most 16 at once, that end at once or execute PROGRAM.
 * Prints how many ended with 0.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int n, running = 0, good = 0, status;

	if (argc < 3)
		return 2;
	n = atoi(argv[2]);
	/* So that there is something to hold, also without `portshim run`. */
	if (socket(AF_UNIX, SOCK_STREAM, 0) < 0)
		return 1;
	for (int i = 0; i < n || running > 0;) {
		pid_t pid;

		if (i < n && running < 16) {
			pid = fork();
			if (pid < 0)
				return 1;
			if (pid == 0) {
				if (argv[1][0] == 'e')
					execl(argv[3], argv[3], (char *)NULL);
				_exit(argv[1][0] == 'e' ? 127 : 0);
			}
			i++;
			running++;
			continue;
		}
		if (wait(&status) < 0)
			return 1;
		running--;
		good += status == 0;
	}
	printf("%d\n", good);
	return good == n ? 0 : 1;
}
