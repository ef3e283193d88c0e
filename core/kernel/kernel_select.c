/*
 * kernel_select.c - one table of functions per CPU level
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "kernel/ops.h"
#include "kernel/panel.h"

#define PRODUCT_Q8(suffix, name, type, blocks, lines) [type] = matmul_##name##_##suffix,
#define PRODUCT_FLOAT(suffix, name, type) [type] = matmul_##name##_##suffix,

/* Products with 8-bit activations are `products`, attention is `attention`, all else `suffix`. */
#define TABLE(cpu, products, attention, suffix)                                                                         \
    {                                                                                                                   \
        .level = cpu, .panel_product = {PANEL_Q8_TYPES(PRODUCT_Q8, products) PANEL_FLOAT_TYPES(PRODUCT_FLOAT, suffix)}, \
        .quantize = {[ACT_BLOCKS] = quantize_blocks_##suffix, [ACT_GROUPS] = quantize_groups_##suffix},                 \
        .rms_norm = rms_norm_##suffix, .swiglu = swiglu_##suffix,                                                       \
        .scale = scale_##suffix, .add_scaled = add_scaled_##suffix, .rope = rope_##suffix,                              \
        .kv_store = kv_store_##suffix, .load_query = load_query_##attention, .attend = attend_##attention,              \
        .softmax_exp = softmax_exp_##suffix,                                                                            \
        .swiglu_oai = swiglu_oai_##suffix, .interleave = interleave_##suffix                                            \
    }

static const struct kernels tables[CPU_LEVELS] = {
    [CPU_SCALAR] = TABLE(CPU_SCALAR, scalar, scalar, scalar),
#if defined(__x86_64__)
    [CPU_AVX2] = TABLE(CPU_AVX2, avx2, avx2, avx2),
    [CPU_AVXVNNI] = TABLE(CPU_AVXVNNI, avxvnni, avx2, avx2),
    [CPU_AVX512] = TABLE(CPU_AVX512, avx512, avx512, avx512),
    [CPU_AVX512BF16] = TABLE(CPU_AVX512BF16, avx512, avx512bf16, avx512),
#endif
};

const struct kernels *kernels_for(enum cpu_level level)
{
    return cpu_has_level(level) ? &tables[level] : NULL;
}

const struct kernels *kernels_default(void)
{
    return &tables[cpu_level()];
}
