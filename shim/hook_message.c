/* SPDX-License-Identifier: MIT */
/* sendmsg, recvmsg and their kin, for the descriptors that travel in them.  Async-signal-safe. */

#include <errno.h>
#include <string.h>

#include "act.h"
#include "believe.h"
#include "emit.h"
#include "mask.h"
#include "path.h"
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
	path_sent(cookie);
}

static void received(int over, int fd, uint64_t stamp)
{
	track_look(fd, PS_F_RECEIVED);
}

static ssize_t send_plain(int fd, const struct msghdr *msg, int flags)
{
	bool recorded = process_enter();
	uint64_t stamp = recorded ? log_stamp() : 0;
	ssize_t ret = REAL(sendmsg)(fd, msg, flags);

	if (recorded && ret >= 0)
		each_fd(fd, msg, stamp, sent);
	return ret;
}

/* With a name that a rule may be about, and that can be read as the rest of the message can. */
static bool is_ruled(const struct msghdr *msg, struct msghdr *copy)
{
	return (our_rules_wants(RULE_SEND) || mask_any()) && process_enter_socket() &&
	       act_copy(copy, msg, sizeof(*copy)) && copy->msg_name != NULL && copy->msg_namelen > 0;
}

ssize_t hook_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct msghdr copy;
	struct act act;
	ssize_t ret;
	int error;

	if (!is_ruled(msg, &copy))
		return send_plain(fd, msg, flags);
	act.flags = flags;
	error = act_before(&act, RULE_SEND, fd, copy.msg_name, copy.msg_namelen);
	copy.msg_name = (void *)(uintptr_t)act.addr;
	copy.msg_namelen = act.len;
	ret = error == 0 ? send_plain(fd, &copy, flags) : act_refused(error);
	act_after(&act, ret < 0 ? errno : 0);
	return ret;
}

/* Each by itself where rules are to be asked: what was sent before an error counts. */
static int send_each(int fd, struct mmsghdr *msgs, unsigned n, int flags)
{
	unsigned done = 0;

	for (; done < n; done++) {
		ssize_t sent_bytes = hook_sendmsg(fd, &msgs[done].msg_hdr, flags);

		if (sent_bytes < 0)
			return done > 0 ? (int)done : -1;
		msgs[done].msg_len = (unsigned)sent_bytes;
	}
	return (int)done;
}

int hook_sendmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags)
{
	struct msghdr copy;
	bool recorded = process_enter();
	uint64_t stamp = recorded ? log_stamp() : 0;
	int ret;

	if (n > 0 && is_ruled(&msgs->msg_hdr, &copy))
		return send_each(fd, msgs, n, flags);
	ret = REAL(sendmmsg)(fd, msgs, n, flags);

	for (int i = 0; recorded && i < ret; i++)
		each_fd(fd, &msgs[i].msg_hdr, stamp, sent);
	return ret;
}

ssize_t hook_recvmsg(int fd, struct msghdr *msg, int flags)
{
	struct msghdr before = { 0 };
	ssize_t ret;

	if (!process_enter()) {
		ret = REAL(recvmsg)(fd, msg, flags);
		/* Another thread may have joined a session meanwhile. */
		if (ret >= 0 && process_enter())
			each_fd(fd, msg, 0, received);
		return ret;
	}
	if (mask_any())
		act_copy(&before, msg, sizeof(before));
	track_begin(&self.changes);
	ret = REAL(recvmsg)(fd, msg, flags);
	if (ret >= 0)
		each_fd(fd, msg, 0, received);
	if (ret >= 0 && before.msg_name != NULL && before.msg_namelen > 0)
		believe_source(fd, msg->msg_name, before.msg_namelen, &msg->msg_namelen);
	track_end(&self.changes);
	return ret;
}

#define MESSAGES_MAX 1024 /* recvmmsg(2): UIO_MAXIOV */

/* Of each message, how much room its name has: 0 where nothing is masked. */
static void find_rooms(const struct mmsghdr *msgs, unsigned n, socklen_t rooms[static MESSAGES_MAX])
{
	for (unsigned i = 0; mask_any() && i < n && i < MESSAGES_MAX; i++) {
		struct msghdr msg = { 0 };

		rooms[i] = act_copy(&msg, &msgs[i].msg_hdr, sizeof(msg)) && msg.msg_name != NULL
				   ? msg.msg_namelen
				   : 0;
	}
}

int hook_recvmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags, struct timespec *timeout)
{
	socklen_t rooms[MESSAGES_MAX];
	int ret;

	if (!process_enter()) {
		ret = REAL(recvmmsg)(fd, msgs, n, flags, timeout);
		for (int i = 0; i < ret && process_enter(); i++)
			each_fd(fd, &msgs[i].msg_hdr, 0, received);
		return ret;
	}
	find_rooms(msgs, n, rooms);
	track_begin(&self.changes);
	ret = REAL(recvmmsg)(fd, msgs, n, flags, timeout);
	for (int i = 0; i < ret; i++) {
		struct msghdr *msg = &msgs[i].msg_hdr;

		each_fd(fd, msg, 0, received);
		if (mask_any() && i < MESSAGES_MAX && rooms[i] > 0)
			believe_source(fd, msg->msg_name, rooms[i], &msg->msg_namelen);
	}
	track_end(&self.changes);
	return ret;
}
