/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_ENV_H
#define PORTSHIM_ENV_H

/* Every environment variable of portshim, once. */

/* The session's directory.  Set by `portshim run` and by the exec wrappers; without it a process
 * joins its user's ambient session at its first socket call. */
#define PS_ENV_SESSION "PORTSHIM_SESSION"

/* Which process an image is: see shim/environ.h.  Set and read by the shim only. */
#define PS_ENV_PROCESS "PORTSHIM_PROCESS"

/* Where sessions are made and looked for, instead of the places of portshim(1), FILES. */
#define PS_ENV_ROOT "PORTSHIM_ROOT"

/* Rules, portshim-rules(5), of a process without a session of `portshim run`; `run` takes them in. */
#define PS_ENV_RULES "PORTSHIM_RULES"

/* What the program believes of redirected sockets: see shim/mask.h.  Set and read by the shim only. */
#define PS_ENV_MASKS "PORTSHIM_MASKS"

#define PS_LIBRARY "libportshim.so"

#endif
