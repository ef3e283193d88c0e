/*
 * mkmodel_preset.c - shapes of known models, and small ones of each architecture
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "mkmodel.h"

#include <string.h>

#define TINY .vocab = 320, .context = 512, .eps = 1e-6f

static const struct mkmodel_shape presets[] = {
    /* Published models. */
    {.name = "dsv2-lite", .about = "DeepSeek-V2-Lite, 15.7 B", .arch = "deepseek2", .pre = "deepseek-llm",
     .vocab = 102400, .context = 163840, .layers = 27, .embd = 2048, .ff = 10944, .heads = 16, .head_k = 192,
     .head_v = 128, .rot = 64, .kv_lora = 512, .experts = 64, .used = 6, .ff_expert = 1408, .shared = 2, .dense = 1,
     .gating = 1, .weights_scale = 1, .rope_base = 10000, .rope_scaling = "yarn", .rope_factor = 40,
     .rope_original = 4096, .log_multiplier = 0.0707f, .eps = 1e-6f},
    {.name = "dsv3", .about = "DeepSeek-V3 and R1, 671 B; use --layers", .arch = "deepseek2", .pre = "deepseek-v3",
     .vocab = 129280, .context = 163840, .layers = 61, .embd = 7168, .ff = 18432, .heads = 128, .head_k = 192,
     .head_v = 128, .rot = 64, .q_lora = 1536, .kv_lora = 512, .experts = 256, .used = 8, .ff_expert = 2048,
     .shared = 1, .dense = 3, .groups = 8, .groups_used = 4, .gating = 2, .weights_norm = 1, .select_bias = 1,
     .weights_scale = 2.5f, .rope_base = 10000, .rope_scaling = "yarn", .rope_factor = 40, .rope_original = 4096,
     .log_multiplier = 0.1f, .eps = 1e-6f},
    {.name = "deepseek-moe-16b", .about = "DeepSeekMoE 16B", .arch = "deepseek", .pre = "deepseek-llm",
     .vocab = 102400, .context = 4096, .layers = 28, .embd = 2048, .ff = 10944, .heads = 16, .kv_heads = 16,
     .rot = 128, .experts = 64, .used = 6, .ff_expert = 1408, .shared = 2, .dense = 1, .weights_scale = 1,
     .rope_base = 10000, .rope_scaling = "none", .eps = 1e-6f},
    {.name = "qwen3-30b-a3b", .about = "Qwen3-30B-A3B", .arch = "qwen3moe", .pre = "qwen2", .vocab = 151936,
     .context = 40960, .layers = 48, .embd = 2048, .ff = 6144, .heads = 32, .kv_heads = 4, .head_k = 128,
     .head_v = 128, .experts = 128, .used = 8, .ff_expert = 768, .rope_base = 1e6f, .eps = 1e-6f},
    {.name = "olmoe-1b-7b", .about = "OLMoE 1B-7B", .arch = "olmoe", .pre = "gpt-2", .vocab = 50304, .context = 4096,
     .layers = 16, .embd = 2048, .ff = 1024, .heads = 16, .kv_heads = 16, .experts = 64, .used = 8,
     .rope_base = 10000, .eps = 1e-5f},
    {.name = "gpt-oss-20b", .about = "gpt-oss-20b", .arch = "gpt-oss", .pre = "gpt-2", .vocab = 201088,
     .context = 131072, .layers = 24, .embd = 2880, .ff = 2880, .heads = 64, .kv_heads = 8, .head_k = 64,
     .head_v = 64, .experts = 32, .used = 4, .ff_expert = 2880, .qkv_bias = 1, .out_bias = 1, .ff_bias = 1,
     .router_bias = 1, .rope_base = 150000, .rope_scaling = "yarn", .rope_factor = 32, .rope_original = 4096,
     .window = 128, .eps = 1e-5f},
    {.name = "qwen2.5-1.5b", .about = "Qwen2.5-1.5B, R1-Distill-Qwen-1.5B", .arch = "qwen2", .pre = "qwen2",
     .vocab = 151936, .context = 131072, .layers = 28, .embd = 1536, .ff = 8960, .heads = 12, .kv_heads = 2,
     .qkv_bias = 1, .rope_base = 10000, .eps = 1e-6f},
    {.name = "llama-3.1-8b", .about = "Llama-3.1-8B, R1-Distill-Llama-8B", .arch = "llama", .pre = "llama-bpe",
     .vocab = 128256, .context = 131072, .layers = 32, .embd = 4096, .ff = 14336, .heads = 32, .kv_heads = 8,
     .rot = 128, .rope_factors = 1, .rope_base = 500000, .eps = 1e-5f},

    /* Small ones of every architecture. llama.cpp takes deepseek2 without q_lora with 26 or 27 layers only. */
    {.name = "tiny-dsv2", .about = "deepseek2 without q_lora", TINY, .arch = "deepseek2", .pre = "deepseek-llm",
     .layers = 27, .embd = 64, .ff = 96, .heads = 4, .head_k = 24, .head_v = 16, .rot = 8, .kv_lora = 32,
     .experts = 8, .used = 3, .ff_expert = 32, .shared = 2, .dense = 1, .gating = 1, .weights_scale = 1,
     .rope_base = 10000, .rope_scaling = "yarn", .rope_factor = 4, .rope_original = 128, .log_multiplier = 0.0707f},
    {.name = "tiny-dsv3", .about = "deepseek2 as DeepSeek-V3", TINY, .arch = "deepseek2", .pre = "deepseek-v3",
     .layers = 3, .embd = 64, .ff = 96, .heads = 4, .head_k = 24, .head_v = 16, .rot = 8, .q_lora = 48,
     .kv_lora = 32, .experts = 16, .used = 4, .ff_expert = 32, .shared = 1, .dense = 1, .groups = 4,
     .groups_used = 2, .gating = 2, .weights_norm = 1, .select_bias = 1, .weights_scale = 2.5f, .rope_base = 10000,
     .rope_scaling = "yarn", .rope_factor = 4, .rope_original = 128, .log_multiplier = 0.1f},
    {.name = "tiny-nextn", .about = "deepseek2 with a block that predicts one token further", TINY, .arch = "deepseek2",
     .pre = "deepseek-v3", .layers = 2, .nextn = 1, .embd = 64, .ff = 96, .heads = 4, .head_k = 24, .head_v = 16,
     .rot = 8, .q_lora = 48, .kv_lora = 32, .experts = 8, .used = 2, .ff_expert = 32, .shared = 1, .dense = 1,
     .gating = 2, .weights_norm = 1, .select_bias = 1, .weights_scale = 2.5f, .rope_base = 10000,
     .rope_scaling = "none"},
    {.name = "tiny-dsv2-old", .about = "deepseek2 as before 2025: attn_kv_b", TINY, .arch = "deepseek2",
     .pre = "deepseek-llm", .layers = 3, .embd = 64, .ff = 96, .heads = 4, .head_k = 24, .head_v = 16, .rot = 8,
     .q_lora = 48, .kv_lora = 32, .old_kv_b = 1, .experts = 8, .used = 3, .ff_expert = 32, .shared = 2, .dense = 1,
     .weights_scale = 16, .rope_base = 10000, .rope_scaling = "yarn", .rope_factor = 4, .rope_original = 128,
     .log_multiplier = 0.0707f},
    {.name = "tiny-deepseek", .about = "deepseek", TINY, .arch = "deepseek", .pre = "deepseek-llm", .layers = 3,
     .embd = 64, .ff = 96, .heads = 4, .kv_heads = 4, .experts = 8, .used = 3, .ff_expert = 32, .shared = 2,
     .dense = 1, .weights_scale = 1, .rope_base = 10000, .rope_scaling = "none"},
    {.name = "tiny-qwen3moe", .about = "qwen3moe", TINY, .arch = "qwen3moe", .pre = "qwen2", .layers = 3, .embd = 64,
     .ff = 96, .heads = 4, .kv_heads = 2, .head_k = 32, .head_v = 32, .experts = 16, .used = 4, .ff_expert = 32,
     .rope_base = 1e6f},
    {.name = "tiny-qwen2moe", .about = "qwen2moe", TINY, .arch = "qwen2moe", .pre = "qwen2", .layers = 3, .embd = 64,
     .ff = 96, .heads = 4, .kv_heads = 4, .qkv_bias = 1, .experts = 8, .used = 3, .ff_expert = 32, .ff_shared = 64,
     .rope_base = 1e6f},
    {.name = "tiny-qwen2", .about = "qwen2", TINY, .arch = "qwen2", .pre = "qwen2", .layers = 3, .embd = 64, .ff = 96,
     .heads = 4, .kv_heads = 2, .qkv_bias = 1, .rope_base = 1e6f},
    {.name = "tiny-qwen3", .about = "qwen3", TINY, .arch = "qwen3", .pre = "qwen2", .layers = 3, .embd = 64, .ff = 96,
     .heads = 4, .kv_heads = 2, .head_k = 32, .head_v = 32, .tied = 1, .rope_base = 1e6f},
    {.name = "tiny-llama", .about = "llama with Llama-3.1's rope factors", TINY, .arch = "llama", .pre = "llama-bpe",
     .layers = 3, .embd = 64, .ff = 96, .heads = 4, .kv_heads = 2, .rot = 16, .rope_factors = 1,
     .rope_base = 500000},
    {.name = "tiny-mixtral", .about = "llama with experts", TINY, .arch = "llama", .pre = "llama-bpe", .layers = 3,
     .embd = 64, .ff = 96, .heads = 4, .kv_heads = 2, .rot = 16, .experts = 8, .used = 2, .rope_base = 1e6f},
    {.name = "tiny-granite", .about = "granite", TINY, .arch = "granite", .pre = "gpt-2", .layers = 3, .embd = 64,
     .ff = 96, .heads = 4, .kv_heads = 2, .tied = 1, .rope_base = 10000, .embedding_scale = 2,
     .residual_scale = 0.4f, .attention_scale = 0.1f, .logit_scale = 2},
    {.name = "tiny-granitemoe", .about = "granitemoe", TINY, .arch = "granitemoe", .pre = "gpt-2", .layers = 3,
     .embd = 64, .ff = 32, .heads = 4, .kv_heads = 2, .experts = 8, .used = 3, .tied = 1, .rope_base = 10000,
     .embedding_scale = 2, .residual_scale = 0.4f, .attention_scale = 0.1f, .logit_scale = 2},
    {.name = "tiny-olmoe", .about = "olmoe", TINY, .arch = "olmoe", .pre = "gpt-2", .layers = 3, .embd = 64, .ff = 32,
     .heads = 4, .kv_heads = 4, .experts = 8, .used = 3, .rope_base = 10000},
    {.name = "tiny-gpt-oss", .about = "gpt-oss", TINY, .arch = "gpt-oss", .pre = "gpt-2", .layers = 4, .embd = 64,
     .ff = 32, .heads = 4, .kv_heads = 2, .head_k = 32, .head_v = 32, .experts = 8, .used = 3, .ff_expert = 32,
     .qkv_bias = 1, .out_bias = 1, .ff_bias = 1, .router_bias = 1, .rope_base = 150000, .rope_scaling = "yarn",
     .rope_factor = 4, .rope_original = 128, .window = 12},
};

const struct mkmodel_shape *mkmodel_preset_at(size_t index)
{
    return index < sizeof presets / sizeof *presets ? &presets[index] : NULL;
}

const struct mkmodel_shape *mkmodel_preset_find(const char *name)
{
    for (size_t i = 0; mkmodel_preset_at(i); i++)
        if (strcmp(presets[i].name, name) == 0)
            return &presets[i];
    return NULL;
}
