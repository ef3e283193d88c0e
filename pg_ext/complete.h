/*-------------------------------------------------------------------------
 *
 * complete.h
 *	  what functions that complete a prompt share
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef COMPLETE_H
#define COMPLETE_H

#include "call.h"

/* The arguments of dsr1_complete() and dsr1_stream(); the prompt is not null. */
extern struct wire_complete *complete_read_arguments(FunctionCallInfo fcinfo);

/* Puts the question, and frees it. */
extern void complete_ask(Call *call, struct wire_complete *complete);

#endif							/* COMPLETE_H */
