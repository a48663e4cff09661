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

/* Rules, as portshim-rules(5) has them: `portshim run` appends them to those of its options; a process of
 * an ambient session reads them itself. */
#define PS_ENV_RULES "PORTSHIM_RULES"

#define PS_LIBRARY "libportshim.so"

#endif
