/*
 * mkmodel_field.c - numbers of a shape as options: --heads 6
 *
 * They are too many for one table of core/tools/options.h, and all alike.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "mkmodel.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NUMBER = 1 << 24 };

enum kind { NUMBER, REAL, WORD };

#define FIELD(option, kind, field, help) {option, kind, offsetof(struct mkmodel_shape, field), help}

static const struct field {
    const char *option;
    enum kind kind;
    size_t offset;
    const char *help;
} fields[] = {
    FIELD("layers", NUMBER, layers, "layers"),
    FIELD("nextn", NUMBER, nextn, "multi-token-prediction blocks behind them"),
    FIELD("vocab", NUMBER, vocab, "tokens, 259 at least"),
    FIELD("context", NUMBER, context, "context_length"),
    FIELD("embd", NUMBER, embd, "width of a row"),
    FIELD("ff", NUMBER, ff, "width of a dense layer"),
    FIELD("heads", NUMBER, heads, "query heads"),
    FIELD("kv-heads", NUMBER, kv_heads, "key and value heads"),
    FIELD("head-k", NUMBER, head_k, "size of a key head"),
    FIELD("head-v", NUMBER, head_v, "size of a value head"),
    FIELD("rot", NUMBER, rot, "rotated values of a head"),
    FIELD("q-lora", NUMBER, q_lora, "deepseek2: rank of queries"),
    FIELD("kv-lora", NUMBER, kv_lora, "deepseek2: rank of keys and values"),
    FIELD("old-kv-b", NUMBER, old_kv_b, "deepseek2: one attn_kv_b and no *_mla keys"),
    FIELD("experts", NUMBER, experts, "experts"),
    FIELD("used", NUMBER, used, "experts that a token uses"),
    FIELD("ff-expert", NUMBER, ff_expert, "width of an expert"),
    FIELD("shared", NUMBER, shared, "shared experts"),
    FIELD("ff-shared", NUMBER, ff_shared, "width of the shared expert"),
    FIELD("dense", NUMBER, dense, "leading dense layers"),
    FIELD("groups", NUMBER, groups, "expert groups"),
    FIELD("groups-used", NUMBER, groups_used, "groups that a token uses"),
    FIELD("gating", NUMBER, gating, "1 softmax, 2 sigmoid"),
    FIELD("weights-norm", NUMBER, weights_norm, "1: expert weights sum to one"),
    FIELD("weights-scale", REAL, weights_scale, "factor of expert weights"),
    FIELD("select-bias", NUMBER, select_bias, "1: exp_probs_b"),
    FIELD("qkv-bias", NUMBER, qkv_bias, "1: biases of q, k and v"),
    FIELD("out-bias", NUMBER, out_bias, "1: bias of attn_output"),
    FIELD("ff-bias", NUMBER, ff_bias, "1: biases of the feed-forward part"),
    FIELD("router-bias", NUMBER, router_bias, "1: bias of ffn_gate_inp"),
    FIELD("tied", NUMBER, tied, "1: no output.weight"),
    FIELD("fused-qkv", NUMBER, fused_qkv, "1: one attn_qkv"),
    FIELD("fused-gate-up", NUMBER, fused_gate_up, "1: one ffn_gate_up_exps"),
    FIELD("rope-factors", NUMBER, rope_factors, "1: rope_freqs.weight"),
    FIELD("rope-base", REAL, rope_base, "rope.freq_base"),
    FIELD("rope-scaling", WORD, rope_scaling, "none, linear or yarn"),
    FIELD("rope-factor", REAL, rope_factor, "rope.scaling.factor"),
    FIELD("rope-original", NUMBER, rope_original, "rope.scaling.original_context_length"),
    FIELD("attn-factor", REAL, attn_factor, "rope.scaling.attn_factor"),
    FIELD("log-multiplier", REAL, log_multiplier, "rope.scaling.yarn_log_multiplier"),
    FIELD("eps", REAL, eps, "epsilon of the norms"),
    FIELD("window", NUMBER, window, "sliding window"),
    FIELD("embedding-scale", REAL, embedding_scale, "granite"),
    FIELD("residual-scale", REAL, residual_scale, "granite"),
    FIELD("attention-scale", REAL, attention_scale, "granite"),
    FIELD("logit-scale", REAL, logit_scale, "granite"),
};

static const struct field *find(const char *word)
{
    for (size_t i = 0; strncmp(word, "--", 2) == 0 && i < sizeof fields / sizeof *fields; i++)
        if (strcmp(word + 2, fields[i].option) == 0)
            return &fields[i];
    return NULL;
}

static bool set(struct mkmodel_shape *shape, const struct field *field, const char *value)
{
    char *end = "", *at = (char *) shape + field->offset;
    if (field->kind == WORD) {
        memcpy(at, &value, sizeof value);
    } else if (field->kind == REAL) {
        float real = strtof(value, &end);
        memcpy(at, &real, sizeof real);
        return *value && *end == 0 && isfinite(real);
    } else {
        long number = strtol(value, &end, 10);
        int whole = (int) number;
        memcpy(at, &whole, sizeof whole);
        return *value && *end == 0 && number >= 0 && number <= MAX_NUMBER;
    }
    return true;
}

int mkmodel_field_take(struct mkmodel_shape *shape, int argc, char **argv, const char **wrong)
{
    int kept = 0;
    *wrong = NULL;
    for (int i = 0; i < argc; i++) {
        const struct field *field = find(argv[i]);
        if (!field)
            argv[kept++] = argv[i];
        else if (i + 1 == argc || !set(shape, field, argv[i + 1]))
            *wrong = argv[i];
        else
            i++;
    }
    return kept;
}

void mkmodel_field_help(void)
{
    printf("\nNumbers of the shape, to change the preset's:\n");
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        printf("      --%-18s %s\n", fields[i].option, fields[i].help);
}
