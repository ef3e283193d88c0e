/*-------------------------------------------------------------------------
 *
 * model.h
 *	  the model that the engine serves
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef MODEL_H
#define MODEL_H

/*
 * SHA-256 of its file as hexadecimal digits, and the number that its answers
 * bear, unless NULL.  Waits until the engine knows it, up to dsr1.start_timeout.
 */
extern char *model_digest(uint64 *id);

#endif							/* MODEL_H */
