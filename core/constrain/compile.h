/*
 * compile.h - each kind of constraint as a tree
 *
 * Every function reads its text and gives rule 0 of the store a tree. What went
 * wrong with the text is in *err; what went wrong with the store is in its status.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef CONSTRAIN_COMPILE_H
#define CONSTRAIN_COMPILE_H

#include "constrain/expr.h"

/* Of one text, in bytes. */
enum { COMPILE_TEXT_MAX = 1 << 20 };

/* One of the texts. */
dsr1_status choices_compile(struct expr_store *store, const char *const *texts, size_t n_texts, dsr1_error *err);

/* Any JSON value. */
dsr1_status json_expr_compile(struct expr_store *store, dsr1_error *err);

/* JSON that the schema admits. */
dsr1_status schema_compile(struct expr_store *store, const char *text, dsr1_error *err);

/* What the expression matches as a whole. */
dsr1_status regex_compile(struct expr_store *store, const char *text, dsr1_error *err);

/*
 * What rule `root` of the grammar derives. *names are the rules' names, one
 * string for each rule of the store, freed with gbnf_free_names().
 */
dsr1_status gbnf_compile(struct expr_store *store, const char *text, char ***names, dsr1_error *err);
void gbnf_free_names(char **names);

#endif
