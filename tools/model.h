/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_MODEL_H
#define PORTSHIM_MODEL_H

/*
 * The relation (design: the tables process, image, socket, holder, connection, failure), folded from
 * records.  The only place that interprets events.  Single-threaded; the model owns all it points to.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uthash.h>

#include "common/endpoint.h"
#include "reader.h"

struct process;
struct socket;

/* One exec'd program.  Strings are NUL-terminated and owned by the model. */
struct image {
	char *exe, *comm;
	char *argv; /* NUL-separated */
	size_t argv_len;
	uint64_t since;	    /* stamp */
	struct image *next; /* the one that replaced it */
};

enum how {
	HOW_CREATED,
	HOW_BOUND,
	HOW_ACCEPTED,
	HOW_FORKED,
	HOW_RECEIVED,
	HOW_FETCHED,
	HOW_INHERITED,
	HOW_ADOPTED
};

/* A process and a socket it has, or had, at least one descriptor of. */
struct holder {
	struct process *process;
	struct socket *socket;
	enum how how;	      /* HOW_CREATED is shown as bound once its own bind succeeded */
	struct process *from; /* who gave it; NULL: nobody, or from outside */
	uint64_t since;	      /* stamp */
	uint64_t until;	      /* stamp; 0: still holds, or its end was not seen */
	int32_t *fds;	      /* ascending; none once ended */
	size_t n_fds;
	uint64_t accepts, empty_accepts;
	struct holder *next_of_process, *next_of_socket; /* in order of `since` */
};

enum state { STATE_OPEN, STATE_BOUND, STATE_LISTEN, STATE_CONNECTED };

struct socket {
	uint64_t cookie;		 /* 0: not known */
	uint64_t inode;			 /* 0: not known; see model_learn_inodes() */
	uint16_t family, type, protocol; /* 0: not known */
	enum state state;
	struct endpoint local, peer;
	const struct endpoint *asked, *peer_asked; /* by the program, where a rule redirected it; NULL */
	const char *rule; /* that redirected it, else the one that acted on it last: "web.rules:7"; NULL */
	struct holder
		*unshared; /* reuseport succeeded, and this one's socket takes what it should share; NULL */
	int32_t backlog;
	bool reuseport, reuseaddr;
	bool pair;
	struct process *created_by;
	struct socket *listener;    /* of an accepted one */
	uint64_t created, bound_at; /* stamps, 0: not seen */
	struct holder *holders, *last_holder;
	struct socket *next; /* in model->sockets */
	UT_hash_handle hh;   /* by cookie, where known */
};

struct process {
	uint64_t id;
	pid_t pid;	/* 0: never learnt */
	uint64_t start; /* 0: never learnt */
	uint32_t uid;
	struct process *parent; /* NULL: the first of its tree */
	bool parent_unseen;	/* programs that no hook saw stand between the two */
	uint64_t started;	/* stamp */
	uint64_t ended;		/* stamp; 0: the end was not seen */
	uint64_t last;		/* stamp of its last record */
	uint64_t unanswered;	/* stamp of an EXEC of what is to report, and has not yet; 0: none */
	bool exited;		/* `exit` is what it said */
	int exit;
	bool live;			   /* as of model_settle() */
	const char *covered;		   /* "preload"; "no: static" and the like; "partly: chroot" … */
	struct image *image, *first_image; /* the present one; all from the first */
	uint32_t reader;		   /* of its own first record; UINT32_MAX: it has none */
	struct holder *holders, *last_holder;
	struct process *next; /* in order of `started` */
	UT_hash_handle hh;
};

/* Why a bind found its endpoint taken (design 8). */
enum taken {
	TAKEN_NOT,	 /* it is another error */
	TAKEN_UNKNOWN,	 /* by nobody in the record: an outsider, or connections that are left over */
	TAKEN_UNSHARED,	 /* the holder did not set SO_REUSEPORT */
	TAKEN_HERE,	 /* the holder did, the caller did not */
	TAKEN_OTHER_UID, /* both did, and the kernel forbids it between users */
	TAKEN_OTHERWISE,
};

/* A call that failed: see `failures` in the design. */
struct failure {
	struct process *process;
	uint64_t stamp;
	uint8_t kind; /* enum ps_kind */
	int error;
	int32_t fd;
	struct endpoint asked;
	uint16_t type;			 /* of the socket that was to be bound; 0: not known */
	struct holder *stood_in_the_way; /* NULL: nobody that the record knows */
	enum taken taken;
	const char *rule; /* that acted on it, or could not be carried out; NULL */
	bool denied;	  /* by that rule: nobody was asked */
	bool moved;	  /* by that rule, away from `asked`, to where no record says */
	struct failure_key {
		uint64_t process, stamp;
	} key;
	UT_hash_handle hh; /* in model */
	struct failure *next;
};

struct connection {
	struct process *process;
	struct socket *listener; /* NULL: not known */
	struct socket *socket;
	struct endpoint peer;
	uint64_t opened, closed; /* stamps; closed 0: open, or not seen */
	struct connection *prev, *next;
};

/* Whether two sockets cannot have both names, as bind(2) sees it; IPv6 ones not being for IPv6 only. */
bool endpoint_overlap(const struct endpoint *a, const struct endpoint *b);

struct model;

struct model *model_new(void); /* NULL: no memory */
void model_free(struct model *m);

/* Folds records, which must not come before any added earlier by more than a poll's slack.
 * 0 or -ENOMEM. */
int model_add(struct model *m, const struct record *records, size_t n);

/* A COUNT record that says no more than was added already. */
bool model_counted(const struct model *m, const struct record *r);

/* Asks /proc which processes live, fills in what only it knows (start), and ends the holders of the
 * dead.  After it the relation may be read.  scan_fds: reads /proc/PID/fd of the live ones too, for
 * inodes of accepted sockets and for connections whose records are overwritten. */
int model_settle(struct model *m, bool scan_fds);

/* Fills in the inodes of held sockets that are known by their cookies alone: no record tells them.  After
 * model_settle().  What may not be asked for stays 0.  0 or -ENOMEM. */
int model_learn_inodes(struct model *m);

/* Connections that were accepted, held by nobody else and closed are most of a busy server's sockets,
 * and few want them: they are packed, and missing among sockets, holders and connections until this
 * unpacks them.  0 or -ENOMEM. */
int model_unpack(struct model *m);

/* Of a bind that was moved: once the caller knows where to, who stood in the way there. */
void model_failure_moved(struct model *m, struct failure *f, uint64_t cookie, const struct endpoint *to);

struct process *model_processes(struct model *m); /* list by ->next */
struct socket *model_sockets(struct model *m);
struct failure *model_failures(struct model *m);
struct connection *model_connections(struct model *m);
struct failure *model_failure(struct model *m, uint64_t process, uint64_t stamp); /* NULL: none */
struct socket *model_socket(struct model *m, uint64_t cookie);			  /* NULL: unknown */
struct process *model_process(struct model *m, uint64_t id);			  /* NULL: unknown */

/* Words of the relation, as shown. */
const char *holder_how(const struct holder *h);	  /* "created", "bound", "accepted", … */
const char *socket_state(const struct socket *s); /* "open", "bound", "listen", "connected" */
const char *socket_proto(const struct socket *s); /* "tcp", "tcp6", "udp", "unix", … */
const char *socket_type(const struct socket *s);  /* "stream", "dgram", … */
const char *taken_reason(enum taken taken);	  /* "did not set SO_REUSEPORT", …; "" */
bool holder_live(const struct holder *h);	  /* its process lives and has an fd on it */

static inline void model_freep(struct model **m)
{
	if (*m != NULL)
		model_free(*m);
}

#endif
