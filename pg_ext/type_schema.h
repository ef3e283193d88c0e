/*-------------------------------------------------------------------------
 *
 * type_schema.h
 *	  PostgreSQL's types as JSON schemas, and JSON as values of them
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef TYPE_SCHEMA_H
#define TYPE_SCHEMA_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

/* Appends the schema of all JSON that becomes a value of the type. */
extern void type_schema_append(StringInfo to, Oid type, int32 typmod);

/* The value; NULL where the JSON is null. */
extern Datum type_schema_value(JsonbValue *json, Oid type, int32 typmod, bool *isnull);

#endif							/* TYPE_SCHEMA_H */
