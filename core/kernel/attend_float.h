/*
 * attend_float.h - attention with products of floats: from forms of rows to inner loops
 *
 * Included once by attend_avx2.c and attend_avx512.c behind
 *
 *   key_to_floats()     a row of keys as floats, in the order of load_query
 *   values_to_floats()  some columns of a row of values as floats
 *   scores_as()         group_scores() of a constant number of queries and form
 *   columns_as()        group_values() likewise
 *   FOR_GROUP()         calls such a function with the number as a constant
 *
 * SPDX-License-Identifier: PostgreSQL
 */

static struct rows tile_keys(const struct attend_piece *a, int from, int to, float *tile)
{
    int n = a->type == KV_BF16 ? kv_bf16_columns(a->n_k) : (a->n_k + 15) / 16 * 16;
    for (int p = from; p < to; p++) {
        const uint8_t *row = a->k + (size_t) p * a->k_stride;
        float *out = tile + (p - from) * n;
#define KEY(form) key_to_floats(form, row, a->n_k, out)
        FOR_FORM(a->type, KEY)
    }
    return (struct rows){FORM_F32, (const uint8_t *) tile, (size_t) n * sizeof(float), 0};
}

static struct rows tile_values(const struct attend_piece *a, int column, int n, int from, int to, float *tile)
{
    for (int p = from; p < to; p++) {
        const uint8_t *row = a->v + (size_t) p * a->v_stride;
        float *out = tile + p * V_TILE_COLUMNS;
#define VALUES(form) values_to_floats(form, row, column, n, out)
        FOR_FORM(a->type, VALUES)
    }
    enum form form = a->type == KV_BF16 ? FORM_BF16_TILE : FORM_F32;
    return (struct rows){form, (const uint8_t *) tile, V_TILE_COLUMNS * sizeof(float), 0};
}

static void group_scores(struct rows k, const struct attend_query *query, int n, int n_k, int from, int to,
                         float *scores)
{
#define SCORES(form) FOR_GROUP(n, scores_as, form, query, n_k, k, from, to, scores)
    FOR_FORM(k.form, SCORES)
}

static void group_values(struct rows v, const struct attend_query *query, int n, const float *weights, int column,
                         int n_columns, int from, int to)
{
#define COLUMNS(form) FOR_GROUP(n, columns_as, form, query, weights, v, column, n_columns, from, to)
    if (v.form == FORM_BF16_TILE)
        COLUMNS(FORM_BF16_TILE)
    else
        FOR_FORM(v.form, COLUMNS)
}
