/*-------------------------------------------------------------------------
 *
 * grpo_reward.h
 *	  the function that says what an answer is worth
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef GRPO_REWARD_H
#define GRPO_REWARD_H

#include "postgres.h"

#include "executor/spi.h"

/* Why an answer has no reward. */
typedef struct GrpoError
{
	char	   *question;		/* JSON with prompt and completion; NULL: the encoding cannot hold it */
	char	   *sqlstate;
	char	   *message;
} GrpoError;

/*
 * Its name, qualified and quoted.  Raises an error unless it is a function of
 * (text, text, jsonb) that returns a number or a boolean, and that the current
 * user may call.  SPI must be connected.
 */
extern char *grpo_reward_name(Oid function);

/*
 * Calls it, in a transaction of its own, for a line of the trainer's in UTF-8
 * (core/train/reward_command.c), for so many ms at most.  Returns NULL and the
 * reward, or why there is none.  Memory is the caller's context's.
 */
extern GrpoError *grpo_reward_call(const char *name, const char *line, int timeout, double *reward);

#endif							/* GRPO_REWARD_H */
