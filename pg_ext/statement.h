/*-------------------------------------------------------------------------
 *
 * statement.h
 *	  where a statement begins and ends
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef STATEMENT_H
#define STATEMENT_H

/* Is a function called by the planner itself, which only guesses? */
extern bool statement_is_planned(void);

/* Does a statement run within another, as those of functions do? */
extern bool statement_is_nested(void);

extern void statement_install(void);

#endif							/* STATEMENT_H */
