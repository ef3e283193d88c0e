/*-------------------------------------------------------------------------
 *
 * supervisor.h
 *	  the background worker that keeps the inference engine running
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef SUPERVISOR_H
#define SUPERVISOR_H

/* While preloading: have the postmaster start it with the server. */
extern void supervisor_register(void);

/*
 * Asks the postmaster to start one now; false if it has no slot for it.
 * Doing so twice is harmless, since one too many ends at once.
 */
extern bool supervisor_launch(void);

#endif							/* SUPERVISOR_H */
