/*-------------------------------------------------------------------------
 *
 * admission.h
 *	  who may ask the engine how much, and who has asked what
 *
 * Every request that computes is listed in shared memory from before it is sent
 * until it is freed, and counted when it is answered.  Limits belong to the
 * role that logged in, whatever SET ROLE or a SECURITY DEFINER function says
 * meanwhile.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef ADMISSION_H
#define ADMISSION_H

#include "engine_client.h"

/*
 * May it be sent?  With others of this process on their way, false means later,
 * when one of them has ended; without, it is error 53400.
 */
extern bool admission_enter(EngineRequest *request, bool others_on_their_way);

/* It has been put on the wire, or is to be put there again. */
extern void admission_sent(const EngineRequest *request, bool sent);

/* It was answered: usage is counted and logged. */
extern void admission_answered(EngineRequest *request);

/* It is freed. */
extern void admission_leave(EngineRequest *request);

/* Has somebody called dsr1_cancel() for it? */
extern bool admission_is_cancelled(const EngineRequest *request);

/*
 * What a role's trainer has computed: it counts as requests do, for the same limit.  Error 53400 if the tokens of
 * today are used up.
 */
extern void admission_count_training(int64 trained, int64 sampled, double ms);
extern void admission_check_tokens(void);

/* What messages of the engine are called in views and logs. */
extern const char *admission_kind_name(int kind);

#endif							/* ADMISSION_H */
