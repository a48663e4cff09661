/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_MODEL_PRIVATE_H
#define PORTSHIM_MODEL_PRIVATE_H

/*
 * What the model's own files share.  Each public struct is the first member of a node with what
 * only the fold needs.  Objects are of the model's pools and stay as long as it: a failure or a holder
 * elsewhere may still point to what was taken out of the relation (the child of a fork that failed, a
 * socket found to be another one).  Only model_pack.c gives some back: those that is_plain() says nobody
 * can point to.
 *
 * Functions that can fail return 0 or -ENOMEM; nothing here trusts a record.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An allocation that fails leaves the element out of the hash, with hh.tbl NULL, instead of exiting. */
#define HASH_NONFATAL_OOM 1
#define HASH_FUNCTION(key, len, value) ((value) = model_hash((key), (len)))
#define uthash_malloc(size) huge_alloc(size)
unsigned model_hash(const void *key, size_t len);

#include "model.h"
#include "pool.h"

/* Chains are of one or two: an element is far more often cold than in the cache. */
#undef HASH_BKT_CAPACITY_THRESH
#define HASH_BKT_CAPACITY_THRESH 6u

/* The last news of a descriptor. */
struct fd_entry {
	int32_t fd;	       /* -1: slot not used */
	uint64_t stamp;	       /* of the record that said so: an older one, read late, changes nothing */
	struct socket *socket; /* NULL: no socket */
	struct holder *holder;
};

/* Open addressing by fd.  Entries are never taken out, so that their stamps stay. */
struct fd_table {
	struct fd_entry *slots;
	uint32_t size; /* 0 or a power of two */
	uint32_t used;
};

struct holder_node {
	struct holder holder;
	struct holder *prev_of_process, *prev_of_socket;
	struct holder_entry *entry; /* NULL: not in the hash */
	int32_t one;		    /* fds points here while there is but one */
	uint32_t size;		    /* of fds */
	bool newest;		    /* of its process and socket */
	bool ended;		    /* among those that wait to be packed */
};

/* Of those of which both process and socket have many holders, the newest of each (process, socket). */
struct holder_entry {
	const struct process *process;
	const struct socket *socket;
	struct holder *holder;
	UT_hash_handle hh;
};

struct socket_node {
	struct socket socket;
	struct socket *prev;
	uint64_t first_seen;
	uint32_t n_holders;
	bool many;     /* its holders are too many to walk along */
	uint32_t held; /* holders with an fd on it */
	bool born;     /* a record told how it was made: it cannot turn out to be another */
	bool scanned;  /* known from /proc only */
	bool v6only;
	bool port_chosen; /* by the kernel, at bind(2) */
	bool moved; /* the next BIND or CONNECT tells what was asked for, LOCAL or PEER behind it where it
		       went */
	struct process *bound_by;
	struct process *senders[2]; /* the last two different ones */
	struct connection *connection;
	struct packed_like *packed_like; /* of those accepted from it */
	const char *proto, *type;	 /* as words */
	struct bucket *bucket;		 /* of the index of bound endpoints, NULL: not in it */
	struct socket_node *bucket_next, *bucket_prev;
};

/* An exec of a program that will not report: done, unless a later record says that it failed. */
struct exec_try {
	uint32_t seen;
	uint64_t stamp;
	char *path;
	int32_t *closes;
	size_t n_closes, size;
};

/* Why a process is covered in part. */
enum partly {
	PARTLY_CHROOT = 1u << PS_SANDBOX_CHROOT,
	PARTLY_NO_NEW_PRIVS = 1u << PS_SANDBOX_NO_NEW_PRIVS,
	PARTLY_SECCOMP = 1u << PS_SANDBOX_SECCOMP,
	PARTLY_NAMESPACE = 1u << PS_SANDBOX_NAMESPACE,
	PARTLY_BLIND = 1u << 8, /* a descriptor could not be looked at */
};

struct process_node {
	struct process process;
	struct process *prev;
	struct fd_table table;
	uint32_t n_holders;
	bool many; /* as of a socket */
	struct packed *packed;
	bool own;	/* has records of its own */
	bool forked;	/* made by a FORK record */
	bool is_parent; /* another process names it */
	bool replaced;	/* its pid belongs to a later process of the record, of the same pid namespace */
	bool dead;	/* found so by settle; a new record revives it */
	bool overlaid;	/* settle took fds from its holders that the table still has */
	struct exec_try *exec;
	struct image *exec_image;   /* added by settle for `exec` */
	const char *covered_before; /* that image */
	bool stocking;		    /* STOCK came, its SETs are on their way */
	uint64_t stock_stamp;	    /* of the last STOCK */
	uint32_t stock_left;
	uint32_t stock_why;   /* enum ps_stock_why */
	uint32_t start_flags; /* of its last START */
	uint32_t partly;      /* enum partly */
	uint64_t lost;	      /* records */
	const char *act_rule; /* of the last ACT, until the call's own record comes */
	int32_t act_fd;
	bool act_reuseport, act_moved, act_denied; /* among the actions of that call */
	char *covered_text;
};

/* A closed connection. */
struct packed {
	struct packed *next; /* of its process, closed before it */
	struct packed_like *like;
	uint64_t opened, closed;
	uint16_t family, port; /* of the peer, as in struct endpoint */
	uint32_t scope;
	uint8_t ip[16];
};

/* A COUNT record, by its place. */
struct count {
	struct count_key {
		uint64_t place, reader;
	} key;
	struct process *process;
	uint64_t cookie;
	uint64_t accepts, empty;	     /* told */
	uint64_t added_accepts, added_empty; /* of those, what the holder has got */
	UT_hash_handle hh;
};

struct pid_entry {
	pid_t pid;
	struct process *process; /* the latest */
	UT_hash_handle hh;
};

/* Records of a process whose FORK has not been read yet, though it must have been written before. */
struct orphan {
	uint64_t id;
	uint64_t first; /* stamp */
	struct record *records;
	size_t n, size;
	struct orphan *ready_next;
	UT_hash_handle hh;
};

struct bucket;

#define MET 64u
#define ENDED 128u

struct model {
	struct process *by_id, *processes, *last_process;
	struct process *recent; /* of the last record */
	struct socket *by_cookie, *sockets, *last_socket;
	struct holder_entry *holders;
	struct failure *failures, *last_failure, *failures_by_key;
	struct connection *connections, *last_connection;
	struct count *counts;
	struct pid_entry *pids;
	struct bucket *buckets;
	struct orphan *orphans, *ready, *last_ready;
	/* What is looked at for each row of a table lies apart from the rest, close together. */
	struct pool pool, processes_pool, holders_pool;
	struct slab spare_sockets, spare_holders, spare_connections, spare_buckets, spare_entries;
	struct process
		*processes_met[MET]; /* by the low bits of their hash: most of them are met again soon */
	struct socket *sockets_met[MET];
	uint64_t last_cookie; /* the greatest that a socket has had: the kernel counts */
	struct slab spare_packed;
	struct holder *ended[ENDED]; /* those that are to be packed, when their turn comes round */
	unsigned n_ended;
};

#define MODEL_NEW(m, type) ((type *)pool_take(&(m)->pool, sizeof(type)))

/* Text of len bytes, or less where it has a NUL; NULL: no memory. */
char *model_text(struct model *m, const char *text, size_t len);

static inline struct process_node *process_node(struct process *p)
{
	return (struct process_node *)p;
}

static inline struct socket_node *socket_node(struct socket *s)
{
	return (struct socket_node *)s;
}

static inline struct holder_node *holder_node(struct holder *h)
{
	return (struct holder_node *)h;
}

/* How a process came by a socket, as far as the record at hand says. */
enum road {
	ROAD_CREATED,
	ROAD_ACCEPTED,
	ROAD_FORKED, /* `from` is given */
	ROAD_RECEIVED,
	ROAD_FETCHED,
	ROAD_STOCK,   /* found there */
	ROAD_FOUND,   /* appeared without a record of its making */
	ROAD_SCANNED, /* found in /proc */
};

/* model_fds.c: the table of a process. */

struct fd_entry *table_find(const struct fd_table *t, int32_t fd); /* NULL: no news of it */
/* Makes one; NULL: no memory. */
struct fd_entry *table_slot(struct model *m, struct fd_table *t, int32_t fd);
/* Entries with a socket, ascending by fd; *out is the caller's to free, NULL if there are none. */
int table_sockets(const struct fd_table *t, struct fd_entry **out, size_t *n);
int table_room(struct model *m, struct fd_table *t, size_t entries); /* before so many are put in */

/* model_holder.c: holders. */

/* fd is now `s` (NULL: no socket), unless newer news of it is there. */
int fd_put(struct model *m, struct process *p, int32_t fd, uint64_t stamp, struct socket *s, enum road road,
	   struct process *from);

struct holder *holder_find(struct model *m, const struct process *p, const struct socket *s);
int holder_attach(struct model *m, struct holder *h, int32_t fd);
void holder_detach(struct model *m, struct holder *h, int32_t fd, uint64_t stamp);
void holder_remove(struct model *m, struct holder *h); /* out of the relation, as if never made */
int holder_move(struct model *m, struct holder *h, struct socket *to);

/* One that was made before, behind `before` in its process's list. */
int holder_return(struct model *m, struct holder *h, struct holder *before);

/* Who else has it, or had it; NULL: nobody. */
struct process *holder_other(struct socket *s, const struct process *p);

/* model_socket.c: sockets and their names. */

struct socket *socket_new(struct model *m, uint64_t stamp);		      /* NULL: no memory */
struct socket *socket_by_cookie(struct model *m, uint64_t cookie);	      /* NULL: unknown */
struct socket *socket_make(struct model *m, uint64_t cookie, uint64_t stamp); /* find or create */
void socket_bury(struct model *m, struct socket *s);			      /* has no holder (any more) */

/* Fills in what was not known. */
int socket_fill(struct model *m, struct socket *s, uint16_t family, uint16_t type, uint16_t protocol);
void socket_like(struct socket *s, const struct socket *other); /* it is new, and of the same kind */
/* s, which has no cookie, is the one with this cookie.  *out: the one to go on with. */
int socket_identify(struct model *m, struct socket *s, uint64_t cookie, struct socket **out);
/* The socket that a record of p about fd and cookie means; *out NULL if nothing is known. */
int socket_at(struct model *m, struct process *p, int32_t fd, uint64_t cookie, uint64_t stamp,
	      struct socket **out);
int socket_set_local(struct model *m, struct socket *s, const struct endpoint *local);

/* model_bound.c: the index of bound endpoints. */

int bound_update(struct model *m, struct socket *s); /* after a change of name, kind or holders */
size_t bound_bucket_size(void);
struct holder *bound_in_the_way(struct model *m, struct socket *s, const struct endpoint *asked);

/* The holder of a socket at another address that overlaps with that of s, which was to be shared; NULL. */
struct holder *bound_beside(struct model *m, struct socket *s);
/* Why that holder, or NULL, leaves no room for a socket of p; s: that socket, NULL: not known. */
enum taken bound_how_taken(const struct process *p, const struct socket *s, const struct holder *by);
void bound_free(struct model *m);

/* model_pack.c: closed connections, kept small. */

int pack_later(struct model *m, struct holder *h);		       /* has no fd any more */
int unpack_opened(struct model *m, struct process *p, uint64_t stamp); /* of p, if there is one */

/* model_call.c */

int connection_add(struct model *m, struct process *p, struct socket *s, uint64_t opened);

/* model_fold.c, model_image.c, model_call.c: one handler a kind. */

int fold_start(struct model *m, struct process *p, const struct record *r);
int fold_fork(struct model *m, struct process *p, const struct record *r);
int fold_forked(struct model *m, struct process *p, const struct record *r);
int fold_born(struct model *m, struct process *p, const struct record *r);
int fold_exec(struct model *m, struct process *p, const struct record *r);
int fold_exec_closes(struct model *m, struct process *p, const struct record *r);
int fold_stock(struct model *m, struct process *p, const struct record *r);
int fold_sandbox(struct model *m, struct process *p, const struct record *r);
int fold_dropped(struct model *m, struct process *p, const struct record *r);

int fold_set(struct model *m, struct process *p, const struct record *r);
int fold_socket(struct model *m, struct process *p, const struct record *r);
int fold_bind(struct model *m, struct process *p, const struct record *r);
int fold_act(struct model *m, struct process *p, const struct record *r);
int fold_local(struct model *m, struct process *p, const struct record *r);
int fold_peer(struct model *m, struct process *p, const struct record *r);
int fold_listen(struct model *m, struct process *p, const struct record *r);
int fold_connect(struct model *m, struct process *p, const struct record *r);
int fold_accept(struct model *m, struct process *p, const struct record *r);
int fold_shutdown(struct model *m, struct process *p, const struct record *r);
int fold_option(struct model *m, struct process *p, const struct record *r);
int fold_dup(struct model *m, struct process *p, const struct record *r);
int fold_close(struct model *m, struct process *p, const struct record *r);
int fold_close_range(struct model *m, struct process *p, const struct record *r);
int fold_send_fd(struct model *m, struct process *p, const struct record *r);
int fold_count(struct model *m, struct process *p, const struct record *r);

/* Gives a holder what was counted and not given yet. */
void count_apply(struct model *m, struct count *c);

/* model_fold.c: processes. */

struct process *process_new(struct model *m, uint64_t id, uint64_t stamp); /* NULL: no memory */
int process_partly(struct model *m, struct process *p, uint32_t why);
int process_set_pid(struct model *m, struct process *p, uint32_t pid);
/* Undoes what settle showed of it: a record came. */
int process_restore(struct model *m, struct process *p);
void stock_finish(struct model *m, struct process *p);

/* model_image.c: what a process runs. */

int image_of_start(struct model *m, struct process *p, const struct record *r);
/* If it has none. */
int image_of_parent(struct model *m, struct process *p, const struct process *parent, uint64_t stamp);
/* For settle: shows the exec that is being tried as done. */
int image_of_exec(struct model *m, struct process *p);
void image_undo_exec(struct process *p);
int exec_done(struct model *m, struct process *p, const struct record *start);
void exec_forget(struct process *p);

/* model.c: what waits for the FORK of its process. */

void orphan_release(struct model *m, uint64_t id);   /* it waits no more */
int orphans_fold(struct model *m);		     /* folds what was released */
uint64_t orphan_stamp(struct model *m, uint64_t id); /* of the first that waits; 0: none */

#endif
