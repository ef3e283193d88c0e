/*
 * wire_grpo.c - the options of a run of GRPO
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "wire/wire_grpo.h"

#include <stddef.h>
#include <string.h>

const struct wire_grpo_option wire_grpo_options[] = {
    {"eval", NULL, WIRE_GRPO_TEXT, 0, 0, NULL},
    {"steps", "steps", WIRE_GRPO_INT, 1, 1e9, NULL},
    {"batch", "batch", WIRE_GRPO_INT, 1, 65536, NULL},
    {"group", "group", WIRE_GRPO_INT, 2, 1024, NULL},
    {"max_tokens", "max-tokens", WIRE_GRPO_INT, 1, 65536, NULL},
    {"seed", "seed", WIRE_GRPO_INT, 0, 9007199254740992.0, NULL},
    {"reward_timeout", NULL, WIRE_GRPO_NUMBER, 0.001, 1e6, NULL},
    {"rollouts", NULL, WIRE_GRPO_INT, -1, 1e6, NULL},
    {"raw", "raw", WIRE_GRPO_BOOL, 0, 0, NULL},
    {"refill", "refill", WIRE_GRPO_INT, 0, 16, NULL},
    {"updates", "updates", WIRE_GRPO_INT, 1, 64, NULL},
    {"loss", "loss", WIRE_GRPO_WORD, 0, 0, "dapo|grpo|bnpo|dr_grpo"},
    {"sequence_ratio", "sequence-ratio", WIRE_GRPO_BOOL, 0, 0, NULL},
    {"clip_low", "clip-low", WIRE_GRPO_NUMBER, 0, 1, NULL},
    {"clip_high", "clip-high", WIRE_GRPO_NUMBER, 0, 1e6, NULL},
    {"delta", "delta", WIRE_GRPO_NUMBER, 0, 1e6, NULL},
    {"beta", "beta", WIRE_GRPO_NUMBER, 0, 1e6, NULL},
    {"scale", "scale", WIRE_GRPO_WORD, 0, 0, "group|batch|none"},
    {"overlong", "overlong", WIRE_GRPO_WORD, 0, 0, "mask|keep|penalty"},
    {"overlong_buffer", "overlong-buffer", WIRE_GRPO_INT, 1, 65536, NULL},
    {"rank", "rank", WIRE_GRPO_INT, 1, 512, NULL},
    {"alpha", "alpha", WIRE_GRPO_NUMBER, 0, 65536, NULL},
    {"lora", "lora", WIRE_GRPO_WORDS, 0, 0, "attn|q|k|v|o|ffn|shared|experts|down|all"},
    {"router", "router", WIRE_GRPO_BOOL, 0, 0, NULL},
    {"experts", "experts", WIRE_GRPO_INT, 1, 1024, NULL},
    {"lr", "lr", WIRE_GRPO_NUMBER, 0, 10, NULL},
    {"schedule", "schedule", WIRE_GRPO_WORD, 0, 0, "constant|cosine|linear"},
    {"warmup", "warmup", WIRE_GRPO_INT, 0, 1e9, NULL},
    {"decay", "decay", WIRE_GRPO_NUMBER, 0, 10, NULL},
    {"clip", "clip", WIRE_GRPO_NUMBER, 0, 1e9, NULL},
    {"eval_every", "eval-every", WIRE_GRPO_INT, 1, 1e9, NULL},
    {"until", "until", WIRE_GRPO_NUMBER, -1e6, 1e6, NULL},
    {"eval_temperature", "eval-temp", WIRE_GRPO_NUMBER, 0, 100, NULL},
    {"save_every", "save-every", WIRE_GRPO_INT, 0, 1e9, NULL},
    {"threads", "threads", WIRE_GRPO_INT, 1, 1024, NULL},
    {NULL, NULL, WIRE_GRPO_TEXT, 0, 0, NULL},
};

const struct wire_grpo_option *wire_grpo_flag(const char *flag)
{
    for (const struct wire_grpo_option *o = wire_grpo_options; o->name; o++)
        if (o->flag && strcmp(o->flag, flag) == 0)
            return o;
    return NULL;
}
