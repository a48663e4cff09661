/* SPDX-License-Identifier: MIT */
/*
 * The inodes of sockets that are known by their cookies.  No record has them, as asking for both would
 * double what socket(2) costs; the kernel tells them as long as the socket is open, and after that an
 * inode names nothing.  Always by the cookie: what is at a descriptor now may be another socket.
 */
#include "model_private.h"

#include <errno.h>
#include <unistd.h>

#include "kernel.h"
#include "kernel_diag.h"
#include "util.h"

#define ASKED_MAX 8 /* holders of one socket */

static bool is_wanted(const struct socket *s)
{
	return s->inode == 0 && s->cookie != 0 && socket_node((struct socket *)(uintptr_t)s)->held > 0;
}

/* Without touching anybody: those that are bound or connected, in our own network namespace. */
static int learn_by_diag(struct model *m)
{
	CLEANUP(kernel_diag_free) struct kernel_diag diag = { 0 };
	int err = kernel_diag(getpid(), &diag);

	for (size_t i = 0; err == 0 && i < diag.n; i++) {
		const struct diag_socket *d = &diag.sockets[i];
		struct socket *s = d->cookie != 0 ? socket_by_cookie(m, d->cookie) : NULL;

		if (s != NULL && s->inode == 0)
			s->inode = d->socket.inode;
	}
	return err == -ENOMEM ? err : 0;
}

static bool learn_from(struct socket *s, const struct holder *h)
{
	uint64_t cookie, inode;

	if (kernel_fd_socket(h->process->pid, h->fds[0], &cookie, &inode) < 0 || cookie != s->cookie)
		return false;
	s->inode = inode;
	return true;
}

static void learn_by_copy(struct socket *s)
{
	unsigned asked = 0;

	for (const struct holder *h = s->holders; h != NULL && asked < ASKED_MAX; h = h->next_of_socket) {
		if (!holder_live(h))
			continue;
		if (learn_from(s, h))
			return;
		asked++;
	}
}

int model_learn_inodes(struct model *m)
{
	struct socket *s = m->sockets;
	int err;

	while (s != NULL && !is_wanted(s))
		s = s->next;
	if (s == NULL)
		return 0;
	err = learn_by_diag(m);
	for (; err == 0 && s != NULL; s = s->next) {
		if (is_wanted(s))
			learn_by_copy(s);
	}
	return err;
}
