/*
 * schema.c - JSON schemas as trees
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/error.h"
#include "constrain/compile.h"

dsr1_status schema_compile(struct expr_store *store, const char *text, dsr1_error *err)
{
    return error_set(err, DSR1_ERR_UNSUPPORTED, "JSON schemas are not supported yet");
}
