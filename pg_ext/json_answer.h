/*-------------------------------------------------------------------------
 *
 * json_answer.h
 *	  answers that are JSON of a given shape
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef JSON_ANSWER_H
#define JSON_ANSWER_H

#include "call.h"
#include "utils/jsonb.h"

/* Constrains an answer to a schema, which is JSON in the server's encoding. */
extern void json_answer_constrain(struct wire_complete *complete, const char *schema);

/* The answer of a call that asked one such question, or NULL. */
extern Jsonb *json_answer(Call *call);

#endif							/* JSON_ANSWER_H */
