/*-------------------------------------------------------------------------
 *
 * option_value.h
 *	  options that jsonb names, and their values
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPTION_VALUE_H
#define OPTION_VALUE_H

#include "compat.h"
#include "utils/jsonb.h"

/* Raises 22023: option "name" must be `wanted`.  The others raise it, too. */
extern void option_refuse(const char *name, const char *wanted) pg_attribute_noreturn();

extern char *option_string(const char *name, const JsonbValue *value);
extern bool option_bool(const char *name, const JsonbValue *value);
extern double option_number(const char *name, const JsonbValue *value, double least, double most);

/* The same, and whole. */
extern double option_whole_number(const char *name, const JsonbValue *value, double least, double most);

/* Calls `take` with each option of a JSON object, other than nulls, which are as if they were not given. */
extern void option_each(Jsonb *given, void (*take) (void *options, const char *name, JsonbValue *value), void *options);

#endif							/* OPTION_VALUE_H */
