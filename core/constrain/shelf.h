/*
 * shelf.h - the constraints that were compiled last, by their text
 *
 * The same schema comes with every row of a table. Who finds it here finds its
 * masks, too. Any thread.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef CONSTRAIN_SHELF_H
#define CONSTRAIN_SHELF_H

#include "base/buffer.h"
#include "constrain/constraint.h"

struct constraint_shelf;

dsr1_status shelf_open(struct constraint_shelf **shelf, dsr1_error *err);
void shelf_close(struct constraint_shelf *shelf);       /* accepts NULL */

/* Held for the caller, or NULL. */
struct constraint *shelf_find(struct constraint_shelf *shelf, const struct buffer *key);

/* Holds constraint by itself and takes the bytes of key, in the place of what was used the longest time ago. */
void shelf_put(struct constraint_shelf *shelf, struct buffer *key, struct constraint *constraint);

#endif
