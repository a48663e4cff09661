/* SPDX-License-Identifier: MIT */
/* sendmsg, recvmsg and their kin, for the descriptors that travel in them.  Async-signal-safe. */

#include <errno.h>
#include <string.h>

#include "emit.h"
#include "process.h"
#include "real.h"
#include "track.h"

typedef void fd_visitor(int over, int fd, uint64_t stamp);

/* The control data is the program's: any length in it may be wrong. */
static void each_fd(int over, const struct msghdr *msg, uint64_t stamp, fd_visitor *visit)
{
	size_t at = 0, all = msg->msg_controllen;
	const char *control = msg->msg_control;

	while (control != NULL && all - at >= sizeof(struct cmsghdr)) {
		struct cmsghdr head;
		size_t data = at + CMSG_LEN(0), end;

		memcpy(&head, control + at, sizeof(head));
		if (head.cmsg_len < sizeof(head) || head.cmsg_len > all - at)
			return;
		end = at + head.cmsg_len;
		for (; head.cmsg_level == SOL_SOCKET && head.cmsg_type == SCM_RIGHTS &&
		       data + sizeof(int) <= end;
		     data += sizeof(int)) {
			int fd;

			memcpy(&fd, control + data, sizeof(fd));
			visit(over, fd, stamp);
		}
		if (CMSG_ALIGN(head.cmsg_len) >= all - at)
			return;
		at += CMSG_ALIGN(head.cmsg_len);
	}
}

/*
 * A message is looked at only after the kernel has taken it: before, a pointer in it may be bad, which
 * is EFAULT for the kernel and would be the program's death here.  The stamp is of before the call, as
 * the receiver may have the descriptor earlier than the call returns.
 */
static void sent(int over, int fd, uint64_t stamp)
{
	uint64_t cookie;

	if (thread.vfork_child == 0 && FD_STATE(fd_word(fdtab_find(fd))) == FD_NONE)
		return;
	cookie = track_cookie(fd);
	track_promote(fd);
	if (cookie != 0)
		emit_send_fd(stamp, over, fd, cookie);
}

static void received(int over, int fd, uint64_t stamp)
{
	track_look(fd, PS_F_RECEIVED);
}

ssize_t hook_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	bool recorded = process_enter();
	uint64_t stamp = recorded ? log_stamp() : 0;
	ssize_t ret = REAL(sendmsg)(fd, msg, flags);

	if (recorded && ret >= 0)
		each_fd(fd, msg, stamp, sent);
	return ret;
}

int hook_sendmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags)
{
	bool recorded = process_enter();
	uint64_t stamp = recorded ? log_stamp() : 0;
	int ret = REAL(sendmmsg)(fd, msgs, n, flags);

	for (int i = 0; recorded && i < ret; i++)
		each_fd(fd, &msgs[i].msg_hdr, stamp, sent);
	return ret;
}

ssize_t hook_recvmsg(int fd, struct msghdr *msg, int flags)
{
	ssize_t ret;

	if (!process_enter())
		return REAL(recvmsg)(fd, msg, flags);
	track_begin(&self.changes);
	ret = REAL(recvmsg)(fd, msg, flags);
	if (ret >= 0)
		each_fd(fd, msg, 0, received);
	track_end(&self.changes);
	return ret;
}

int hook_recvmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags, struct timespec *timeout)
{
	int ret;

	if (!process_enter())
		return REAL(recvmmsg)(fd, msgs, n, flags, timeout);
	track_begin(&self.changes);
	ret = REAL(recvmmsg)(fd, msgs, n, flags, timeout);
	for (int i = 0; i < ret; i++)
		each_fd(fd, &msgs[i].msg_hdr, 0, received);
	track_end(&self.changes);
	return ret;
}
