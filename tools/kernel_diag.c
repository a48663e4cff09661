/* SPDX-License-Identifier: MIT */
#include "kernel_diag.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <time.h>

#include "util.h"

#define ANSWER_MAX 32768 /* what the kernel puts into one message of a dump */
#define TRIES 3

static void close_netlink(struct mnl_socket **nl)
{
	if (*nl != NULL)
		(void)mnl_socket_close(*nl);
}

static int add(struct kernel_diag *diag, const struct kernel_socket *s, const uint32_t cookie[2])
{
	struct diag_socket *list = array_room(diag->sockets, &diag->room, diag->n + 1, sizeof(*list));

	if (list == NULL)
		return -ENOMEM;
	diag->sockets = list;
	list[diag->n++] = (struct diag_socket){
		.socket = *s,
		.cookie = cookie != NULL ? (uint64_t)cookie[1] << 32 | cookie[0] : 0,
	};
	return 0;
}

static struct endpoint inet_endpoint(uint16_t family, const __be32 ip[4], __be16 port)
{
	struct endpoint ep = { .family = family, .port = ntohs(port) };

	memcpy(ep.ip, ip, family == AF_INET ? 4 : 16);
	return ep;
}

static bool nowhere(const struct endpoint *ep)
{
	static const uint8_t zeros[sizeof(ep->ip)];

	return ep->port == 0 && memcmp(ep->ip, zeros, sizeof(zeros)) == 0;
}

/* One dump: what was asked for, and where the answers go. */
struct dump {
	struct kernel_diag *diag;
	uint16_t type;
};

static int on_inet(const struct nlmsghdr *h, void *arg)
{
	const struct dump *d = arg;
	const struct inet_diag_msg *msg = mnl_nlmsg_get_payload(h);
	struct kernel_socket s = { .type = d->type };

	if (mnl_nlmsg_get_payload_len(h) < sizeof(*msg) || msg->idiag_inode == 0)
		return MNL_CB_OK; /* TIME_WAIT and the like belong to nobody */
	s.inode = msg->idiag_inode;
	s.family = msg->idiag_family;
	s.local = inet_endpoint(s.family, msg->id.idiag_src, msg->id.idiag_sport);
	s.peer = inet_endpoint(s.family, msg->id.idiag_dst, msg->id.idiag_dport);
	if (d->type == SOCK_STREAM && msg->idiag_state == TCP_LISTEN)
		s.state = KERNEL_LISTEN;
	else if (!nowhere(&s.peer))
		s.state = KERNEL_CONNECTED;
	else
		s.state = s.local.port != 0 ? KERNEL_BOUND : KERNEL_OPEN;
	if (nowhere(&s.peer))
		s.peer.family = 0;
	return add(d->diag, &s, msg->id.idiag_cookie) == 0 ? MNL_CB_OK : MNL_CB_ERROR;
}

static int on_unix_name(const struct nlattr *attr, void *arg)
{
	struct endpoint *ep = arg;
	size_t len = mnl_attr_get_payload_len(attr);

	if (mnl_attr_get_type(attr) != UNIX_DIAG_NAME || len == 0)
		return MNL_CB_OK;
	if (len > sizeof(ep->name))
		len = sizeof(ep->name);
	memcpy(ep->name, mnl_attr_get_payload(attr), len);
	if (ep->name[0] != '\0') /* a path ends at its NUL, an abstract name has none */
		len = strnlen(ep->name, len);
	ep->port = (uint16_t)len;
	return MNL_CB_OK;
}

static int on_unix(const struct nlmsghdr *h, void *arg)
{
	const struct dump *d = arg;
	const struct unix_diag_msg *msg = mnl_nlmsg_get_payload(h);
	struct kernel_socket s = { .family = AF_UNIX, .local.family = AF_UNIX };

	if (mnl_nlmsg_get_payload_len(h) < sizeof(*msg) || msg->udiag_ino == 0)
		return MNL_CB_OK;
	(void)mnl_attr_parse(h, sizeof(*msg), on_unix_name, &s.local);
	s.inode = msg->udiag_ino;
	s.type = msg->udiag_type;
	if (msg->udiag_state == TCP_LISTEN)
		s.state = KERNEL_LISTEN;
	else if (msg->udiag_state == TCP_ESTABLISHED)
		s.state = KERNEL_CONNECTED;
	else
		s.state = s.local.port > 0 ? KERNEL_BOUND : KERNEL_OPEN;
	return add(d->diag, &s, msg->udiag_cookie) == 0 ? MNL_CB_OK : MNL_CB_ERROR;
}

static int take_answers(struct mnl_socket *nl, uint32_t seq, mnl_cb_t fn, struct dump *d)
{
	static char buf[ANSWER_MAX];
	int ret = MNL_CB_OK;

	while (ret > MNL_CB_STOP) {
		ssize_t n = mnl_socket_recvfrom(nl, buf, sizeof(buf));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EPROTO;
		errno = ENOMEM; /* of fn; an answer that says what is wrong sets its own */
		ret = mnl_cb_run(buf, (size_t)n, seq, mnl_socket_get_portid(nl), fn, d);
	}
	return ret < 0 ? -errno : 0;
}

static int dump(struct mnl_socket *nl, const void *request, size_t len, mnl_cb_t fn, struct dump *d)
{
	static uint32_t seq;
	char buf[512];
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);

	h->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	h->nlmsg_seq = ++seq;
	memcpy(mnl_nlmsg_put_extra_header(h, len), request, len);
	if (mnl_socket_sendto(nl, h, h->nlmsg_len) < 0)
		return -errno;
	return take_answers(nl, seq, fn, d);
}

static int dump_inet(struct mnl_socket *nl, uint8_t family, uint8_t protocol, struct kernel_diag *diag)
{
	struct inet_diag_req_v2 request = {
		.sdiag_family = family,
		.sdiag_protocol = protocol,
		.idiag_states = ~0u, /* newer kernels: TCP sockets that are only bound too */
	};
	struct dump d = { .diag = diag, .type = protocol == IPPROTO_TCP ? SOCK_STREAM : SOCK_DGRAM };
	int err = dump(nl, &request, sizeof(request), on_inet, &d);

	return err == -ENOENT && family == AF_INET6 ? 0 : err; /* IPv6 may be left out of a kernel */
}

static int dump_unix(struct mnl_socket *nl, struct kernel_diag *diag)
{
	struct unix_diag_req request = {
		.sdiag_family = AF_UNIX,
		.udiag_states = ~0u,
		.udiag_show = UDIAG_SHOW_NAME,
		.udiag_cookie = { INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE },
	};
	struct dump d = { .diag = diag };

	return dump(nl, &request, sizeof(request), on_unix, &d);
}

static int dump_all(struct kernel_diag *diag)
{
	static const struct {
		uint8_t family, protocol;
	} inet[] = {
		{ AF_INET, IPPROTO_TCP },
		{ AF_INET6, IPPROTO_TCP },
		{ AF_INET, IPPROTO_UDP },
		{ AF_INET6, IPPROTO_UDP },
	};
	CLEANUP(close_netlink) struct mnl_socket *nl = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
	int err;

	if (nl == NULL || mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	err = dump_unix(nl, diag);
	for (size_t i = 0; i < ARRAY_LEN(inet) && err == 0; i++)
		err = dump_inet(nl, inet[i].family, inet[i].protocol, diag);
	return err;
}

/* As /proc has it, which is there where sock_diag is not. */
static int from_net(pid_t pid, struct kernel_diag *diag)
{
	struct kernel_net net;
	int err = kernel_net(pid, &net);

	if (err < 0)
		return err;
	for (size_t i = 0; i < net.n && err == 0; i++)
		err = add(diag, &net.sockets[i], NULL);
	kernel_net_free(&net);
	return err;
}

static int by_inode(const void *a, const void *b)
{
	const struct diag_socket *x = a, *y = b;

	return x->socket.inode < y->socket.inode ? -1 : x->socket.inode > y->socket.inode;
}

int kernel_diag(pid_t pid, struct kernel_diag *out)
{
	struct kernel_diag diag = { 0 };
	uint64_t own = 0;
	int err = kernel_netns(pid, &diag.netns);

	if (err < 0)
		return err;
	(void)kernel_netns(getpid(), &own);
	/* EINTR: the tables changed while they were dumped. */
	for (int i = 0; i < TRIES && diag.netns == own && !diag.exact; i++) {
		diag.n = 0;
		err = dump_all(&diag);
		diag.exact = err == 0;
		if (err != -EINTR)
			break;
	}
	if (!diag.exact && err != -ENOMEM) {
		diag.n = 0;
		err = from_net(pid, &diag);
	}
	if (err < 0) {
		kernel_diag_free(&diag);
		return err;
	}
	if (diag.n > 1)
		qsort(diag.sockets, diag.n, sizeof(*diag.sockets), by_inode);
	*out = diag;
	return 0;
}

void kernel_diag_free(struct kernel_diag *diag)
{
	free(diag->sockets);
	*diag = (struct kernel_diag){ 0 };
}

const struct diag_socket *kernel_diag_find(const struct kernel_diag *diag, uint64_t inode)
{
	struct diag_socket key = { .socket.inode = inode };

	if (diag->n == 0)
		return NULL;
	return bsearch(&key, diag->sockets, diag->n, sizeof(key), by_inode);
}
