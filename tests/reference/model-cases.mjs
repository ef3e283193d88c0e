// model-cases.mjs - shapes for models.mjs: what files of these architectures may look like
//
// [name, preset and options of mkmodel, {tokens, lacks, golden}]; F32 weights unless --type
// says otherwise. tokens: so many instead of 24 .. 60; lacks: why dsr1 refuses what llama.cpp
// runs; golden: models.mjs --record writes llama.cpp's answer down for `make test`.
//
// SPDX-License-Identifier: PostgreSQL
const every = ["tiny-dsv2", "tiny-dsv3", "tiny-dsv2-old", "tiny-deepseek", "tiny-qwen3moe", "tiny-qwen2moe", "tiny-qwen2",
               "tiny-qwen3", "tiny-llama", "tiny-mixtral", "tiny-granite", "tiny-granitemoe", "tiny-olmoe",
               "tiny-gpt-oss"];
const wide = "--embd 256 --ff 256 --vocab 401";

const quantised = every.flatMap((preset) => {
    const more = /llama|mixtral/.test(preset) ? "--rot 64" : preset.startsWith("tiny-ds") ? "--ff-expert 256 --kv-lora 64 --head-k 96 --head-v 64 --rot 32"
        : /moe|mixtral|gpt|deepseek/.test(preset) ? "--head-k 64 --head-v 64" : "";
    const experts = /qwen.moe|gpt|deepseek$/.test(preset) ? "--ff-expert 256" : "";
    return ["Q8_0", "Q4_K_M", "MIXED", "MXFP4_MOE"].map((type) =>
        [`${preset} ${type}`, `${preset} ${wide} ${more} ${experts} --type ${type}`]);
});

export const cases = [
    ...every.map((preset) => [preset, preset]),
    ...quantised,

    // Heads.
    ["llama one KV head", "tiny-llama --kv-heads 1"],
    ["llama as many KV heads as heads", "tiny-llama --kv-heads 4"],
    ["llama without head_count_kv", "tiny-llama --kv-heads 0"],
    ["llama 7 heads of 24, 1 KV head", "tiny-llama --embd 168 --heads 7 --kv-heads 1 --rot 24"],
    ["llama 40 heads, 1 KV head", "tiny-llama --embd 320 --heads 40 --kv-heads 1 --rot 8"],
    ["llama heads of 8", "tiny-llama --heads 8 --rot 8"],
    ["llama heads of 80", "tiny-llama --embd 160 --heads 2 --kv-heads 1 --rot 80"],
    ["llama heads of 96", "tiny-llama --embd 192 --heads 2 --kv-heads 1 --rot 96"],
    ["llama heads of 128 in a row of 64", "tiny-llama --head-k 128 --head-v 128 --rot 128", {golden: true}],
    ["llama heads of 256", "tiny-llama --head-k 256 --head-v 256 --rot 256"],
    ["llama without rope.dimension_count", "tiny-llama --rot 0 --rope-factors 0"],
    ["llama without rope.freq_base", "tiny-llama --unset rope.freq_base"],
    ["llama partial rotation", "tiny-llama --rot 8"],
    ["llama values narrower than keys", "tiny-llama --head-k 32 --head-v 16 --rot 32"],
    ["qwen3 heads of 64", "tiny-qwen3 --head-k 64 --head-v 64"],
    ["qwen3 heads of 192", "tiny-qwen3 --head-k 192 --head-v 192"],
    ["qwen3 heads of 256, one KV head", "tiny-qwen3 --head-k 256 --head-v 256 --kv-heads 1"],
    ["qwen3 without key_length", "tiny-qwen3 --head-k 0 --head-v 0"],
    ["qwen3 untied", "tiny-qwen3 --tied 0"],
    ["qwen3 partial rotation", "tiny-qwen3 --rot 16"],
    ["qwen3 values narrower than keys", "tiny-qwen3 --head-v 16"],
    ["qwen2 tied", "tiny-qwen2 --tied 1"],
    ["qwen2 without biases", "tiny-qwen2 --qkv-bias 0"],
    ["qwen2 attn_output.bias", "tiny-qwen2 --out-bias 1"],
    ["qwen2 6 heads, 3 KV heads", "tiny-qwen2 --embd 96 --heads 6 --kv-heads 3"],
    ["qwen2 partial rotation", "tiny-qwen2 --rot 8"],
    ["llama with all biases", "tiny-llama --qkv-bias 1 --out-bias 1 --ff-bias 1"],
    ["llama attn_qkv", "tiny-llama --fused-qkv 1"],
    ["qwen2 attn_qkv with bias", "tiny-qwen2 --fused-qkv 1", {golden: true}],
    ["qwen3 attn_qkv", "tiny-qwen3 --fused-qkv 1"],
    ["olmoe grouped heads", "tiny-olmoe --kv-heads 2"],
    ["olmoe attn_qkv", "tiny-olmoe --fused-qkv 1"],
    ["gpt-oss attn_qkv", "tiny-gpt-oss --fused-qkv 1"],
    ["granitemoe heads of 32", "tiny-granitemoe --head-k 32 --head-v 32 --kv-heads 1"],

    // Sizes.
    ["llama odd vocabulary", "tiny-llama --vocab 331"],
    ["llama vocabulary of 259", "tiny-llama --vocab 259"],
    ["llama vocabulary of 5003", "tiny-llama --vocab 5003"],
    ["llama one layer", "tiny-llama --layers 1"],
    ["llama 12 layers", "tiny-llama --layers 12"],
    ["llama odd widths", "tiny-llama --embd 72 --ff 100 --heads 3 --kv-heads 1 --rot 24"],
    ["qwen3moe odd widths", "tiny-qwen3moe --embd 72 --ff-expert 20 --heads 3 --kv-heads 1 --head-k 20 --head-v 20"],
    ["deepseek2 odd widths", "tiny-dsv3 --embd 72 --ff 100 --ff-expert 20 --q-lora 44 --kv-lora 36 --head-k 22 --head-v 18 --rot 6 --heads 3"],
    ["llama eps 1e-3", "tiny-llama --eps 1e-3"],
    ["llama vocab_size missing", "tiny-llama --unset vocab_size"],
    ["llama general.name missing", "tiny-llama --unset general.name"],
    ["llama feed_forward_length missing", "tiny-llama --unset feed_forward_length"],
    ["llama head_count missing", "tiny-llama --unset attention.head_count"],
    ["llama context_length missing", "tiny-llama --unset context_length"],
    ["llama eps missing", "tiny-llama --unset attention.layer_norm_rms_epsilon"],

    // Types of values.
    ["llama head_count_kv as an array", "tiny-llama --set attention.head_count_kv=u32[]:2,2,2"],
    ["llama head_count_kv as an array of i32", "tiny-llama --set attention.head_count_kv=i32[]:2,2,2"],
    ["llama feed_forward_length as an array", "tiny-llama --set feed_forward_length=i32[]:96,96,96"],
    ["llama head_count as an array", "tiny-llama --set attention.head_count=u32[]:4,4,4"],
    ["llama array too short", "tiny-llama --set attention.head_count_kv=u32[]:2,2"],
    ["llama array too long", "tiny-llama --set attention.head_count_kv=u32[]:2,2,2,2"],
    ["llama array that differs", "tiny-llama --set attention.head_count_kv=u32[]:2,2,1"],
    ["llama ff array that differs", "tiny-llama --set feed_forward_length=u32[]:96,96,64", {lacks: "layers of different widths; llama.cpp takes the first one's for all"}],
    ["llama block_count as i32", "tiny-llama --set block_count=i32:3"],
    ["llama embedding_length as u64", "tiny-llama --set embedding_length=u64:64"],
    ["llama eps as f64", "tiny-llama --set attention.layer_norm_rms_epsilon=f64:1e-6"],
    ["llama rope base as u32", "tiny-llama --set rope.freq_base=u32:500000"],
    ["dsv3 expert_weights_norm as u32", "tiny-dsv3 --set expert_weights_norm=u32:1"],
    ["dsv3 gating as i32", "tiny-dsv3 --set expert_gating_func=i32:2"],

    // Rotation.
    ["llama linear 4", "tiny-llama --rope-factors 0 --rope-scaling linear --rope-factor 4"],
    ["llama scale_linear, the old name", "tiny-llama --rope-factors 0 --set rope.scale_linear=f32:2"],
    ["llama both names", "tiny-llama --rope-factors 0 --rope-factor 4 --set rope.scale_linear=f32:2"],
    ["llama factor 0 beside the old name", "tiny-llama --rope-factors 0 --set rope.scaling.factor=f32:0 --set rope.scale_linear=f32:2"],
    ["llama factor without a type", "tiny-llama --rope-factors 0 --rope-factor 8"],
    ["llama none with a factor", "tiny-llama --rope-factors 0 --rope-scaling none --rope-factor 8"],
    ["llama factors and linear 2", "tiny-llama --rope-scaling linear --rope-factor 2"],
    ["llama yarn 4", "tiny-llama --rope-factors 0 --rope-scaling yarn --rope-factor 4 --rope-original 64"],
    ["llama yarn without original context", "tiny-llama --rope-factors 0 --rope-scaling yarn --rope-factor 4"],
    ["llama yarn 40 of 32", "tiny-llama --rope-factors 0 --rope-scaling yarn --rope-factor 40 --rope-original 32"],
    ["llama yarn and factors", "tiny-llama --rope-scaling yarn --rope-factor 4 --rope-original 64"],
    ["llama yarn attn_factor", "tiny-llama --rope-factors 0 --rope-scaling yarn --rope-factor 4 --rope-original 64 --attn-factor 1.3", {golden: true}],
    ["llama attn_factor alone", "tiny-llama --rope-factors 0 --attn-factor 0.7"],
    ["llama yarn factor 1", "tiny-llama --rope-factors 0 --rope-scaling yarn --rope-factor 1 --rope-original 64"],
    ["llama yarn without factor", "tiny-llama --rope-factors 0 --rope-scaling yarn --rope-original 64"],
    ["llama yarn with its own betas", "tiny-llama --rope-factors 0 --rope-scaling yarn --rope-factor 4 --rope-original 64 --set rope.scaling.yarn_beta_fast=f32:8 --set rope.scaling.yarn_beta_slow=f32:2"],
    ["llama yarn ext_factor", "tiny-llama --rope-factors 0 --rope-scaling yarn --rope-factor 4 --rope-original 64 --set rope.scaling.yarn_ext_factor=f32:0.5"],
    ["llama yarn with a log multiplier", "tiny-llama --rope-factors 0 --rope-scaling yarn --rope-factor 4 --rope-original 64 --log-multiplier 0.1"],
    ["llama longrope", "tiny-llama --rope-factors 0 --rope-scaling longrope --rope-factor 4 --rope-original 64", {lacks: "long and short factors"}],
    ["llama unknown scaling", "tiny-llama --rope-scaling circular --rope-factor 4"],
    ["llama scaling.finetuned", "tiny-llama --set rope.scaling.finetuned=bool:true"],
    ["llama scaling.alpha", "tiny-llama --set rope.scaling.alpha=f32:4"],
    ["llama base 1e7", "tiny-llama --rope-factors 0 --rope-base 1e7"],
    ["qwen2 yarn 4", "tiny-qwen2 --rope-scaling yarn --rope-factor 4 --rope-original 128"],
    ["qwen3 yarn 4", "tiny-qwen3 --rope-scaling yarn --rope-factor 4 --rope-original 128"],
    ["qwen3moe linear 2", "tiny-qwen3moe --rope-scaling linear --rope-factor 2"],
    ["qwen2moe yarn 4", "tiny-qwen2moe --rope-scaling yarn --rope-factor 4 --rope-original 128"],
    ["olmoe linear 3", "tiny-olmoe --rope-scaling linear --rope-factor 3"],
    ["granitemoe yarn 4", "tiny-granitemoe --rope-scaling yarn --rope-factor 4 --rope-original 128"],
    ["granitemoe rope factors", "tiny-granitemoe --rope-factors 1"],
    ["deepseek yarn 4", "tiny-deepseek --rope-scaling yarn --rope-factor 4 --rope-original 128", {golden: true}],
    ["deepseek rope factors", "tiny-deepseek --rope-factors 1"],
    ["qwen2 rope factors", "tiny-qwen2 --rope-factors 1"],
    ["gpt-oss without scaling", "tiny-gpt-oss --rope-scaling none", {lacks: "llama.cpp stretches the window layers all the same"}],
    ["dsv3 without scaling", "tiny-dsv3 --rope-scaling none"],
    ["dsv3 linear 4", "tiny-dsv3 --rope-scaling linear --rope-factor 4", {golden: true}],
    ["dsv3 yarn 40 of 4096", "tiny-dsv3 --rope-factor 40 --rope-original 4096 --context 163840"],
    ["dsv3 yarn 40 of 16", "tiny-dsv3 --rope-factor 40 --rope-original 16 --rot 16 --head-k 40"],
    ["dsv3 yarn without log multiplier", "tiny-dsv3 --log-multiplier 0", {golden: true}],
    ["dsv3 yarn log multiplier 0", "tiny-dsv3 --set rope.scaling.yarn_log_multiplier=f32:0"],
    ["dsv3 yarn log multiplier 0.05", "tiny-dsv3 --log-multiplier 0.05"],
    ["dsv3 yarn attn_factor", "tiny-dsv3 --attn-factor 1.2", {golden: true}],
    ["dsv3 attn_factor without yarn", "tiny-dsv3 --rope-scaling none --attn-factor 1.2"],
    ["dsv3 yarn factor 1", "tiny-dsv3 --rope-factor 1"],
    ["dsv2 yarn without log multiplier", "tiny-dsv2 --log-multiplier 0"],
    ["dsv2 old yarn without log multiplier", "tiny-dsv2-old --log-multiplier 0"],

    // deepseek2.
    ["dsv2 26 layers, no dense one", "tiny-dsv2 --layers 26 --dense 0"],
    ["dsv2 27 layers with q_lora_rank 0", "tiny-dsv2 --set attention.q_lora_rank=u32:0"],
    ["dsv2 3 layers without q_lora", "tiny-dsv2 --layers 3"],
    ["dsv2 3 layers with q_lora_rank 0", "tiny-dsv2 --layers 3 --set attention.q_lora_rank=u32:0"],
    ["dsv2 27 layers with q_lora", "tiny-dsv2 --q-lora 48"],
    ["dsv2 old without q_lora", "tiny-dsv2-old --q-lora 0 --layers 26"],
    ["dsv2 without gating key", "tiny-dsv2 --gating 0"],
    ["dsv2 without weights scale", "tiny-dsv2 --weights-scale 0"],
    ["dsv2 normalised", "tiny-dsv2 --weights-norm 1"],
    ["dsv2 scale 16", "tiny-dsv2 --weights-scale 16"],
    ["dsv2 no shared expert", "tiny-dsv2 --shared 0"],
    ["dsv2 three shared experts", "tiny-dsv2 --shared 3"],
    ["dsv2 rope.dimension_count missing", "tiny-dsv2 --unset rope.dimension_count"],
    ["dsv2 without leading_dense_block_count", "tiny-dsv2 --dense 0 --unset leading_dense_block_count"],
    ["dsv2 without expert_shared_count", "tiny-dsv2 --unset expert_shared_count"],
    ["dsv2 without expert_feed_forward_length", "tiny-dsv2 --unset expert_feed_forward_length"],
    ["dsv2 tied", "tiny-dsv2 --tied 1"],
    ["dsv2 value_length_mla missing", "tiny-dsv2 --unset attention.value_length_mla"],
    ["dsv3 key_length missing", "tiny-dsv3 --unset attention.key_length --unset attention.value_length"],
    ["dsv3 head_count_kv missing", "tiny-dsv3 --unset attention.head_count_kv"],
    ["dsv3 head_count_kv as heads", "tiny-dsv3 --set attention.head_count_kv=u32:4"],
    ["dsv3 values wider than keys", "tiny-dsv3 --head-v 40"],
    ["dsv3 values narrower", "tiny-dsv3 --head-v 8"],
    ["dsv3 one head", "tiny-dsv3 --heads 1"],
    ["dsv3 5 heads", "tiny-dsv3 --heads 5"],
    ["dsv3 32 heads", "tiny-dsv3 --heads 32 --layers 2"],
    ["dsv3 head sizes of the real one", "tiny-dsv3 --head-k 192 --head-v 128 --rot 64 --kv-lora 512 --q-lora 96 --heads 2"],
    ["dsv3 softmax", "tiny-dsv3 --gating 1"],
    ["dsv3 no gating key", "tiny-dsv3 --gating 0"],
    ["dsv3 gating 3", "tiny-dsv3 --gating 3", {golden: true}],
    ["dsv3 gating 4", "tiny-dsv3 --gating 4", {lacks: "square root of softplus, which no model of this architecture has"}],
    ["dsv3 not normalised", "tiny-dsv3 --weights-norm 0"],
    ["dsv3 expert_weights_norm false", "tiny-dsv3 --set expert_weights_norm=bool:false"],
    ["dsv3 no selection bias", "tiny-dsv3 --select-bias 0"],
    ["dsv3 no groups", "tiny-dsv3 --groups 0 --groups-used 0"],
    ["dsv3 one group", "tiny-dsv3 --groups 1 --groups-used 1"],
    ["dsv3 8 groups, 4 used, 64 experts, 8 used", "tiny-dsv3 --experts 64 --used 8 --groups 8 --groups-used 4"],
    ["dsv3 2 groups, 1 used", "tiny-dsv3 --groups 2 --groups-used 1"],
    ["dsv3 8 groups of 2", "tiny-dsv3 --groups 8 --groups-used 3"],
    ["dsv3 groups of 1", "tiny-dsv3 --groups 15 --groups-used 3 --experts 15"],
    ["dsv3 all groups used", "tiny-dsv3 --groups 4 --groups-used 4"],
    ["dsv3 fewer experts than used in the groups", "tiny-dsv3 --groups 4 --groups-used 1 --used 6", {lacks: "experts outside the chosen groups, in no defined order"}],
    ["dsv3 160 experts, 6 used, 8 groups, 3 used", "tiny-dsv3 --experts 160 --used 6 --groups 8 --groups-used 3 --layers 2"],
    ["dsv3 256 experts, 12 used", "tiny-dsv3 --experts 256 --used 12 --groups 8 --groups-used 4 --layers 2", {golden: true}],
    ["dsv3 no dense layer", "tiny-dsv3 --dense 0"],
    ["dsv3 two dense layers", "tiny-dsv3 --dense 2"],
    ["dsv3 only dense layers", "tiny-dsv3 --dense 3"],
    ["dsv3 no shared expert", "tiny-dsv3 --shared 0"],
    ["dsv3 ffn_gate_up_exps", "tiny-dsv3 --fused-gate-up 1", {golden: true}],
    ["dsv3 ffn_gate_up_exps Q8_0", "tiny-dsv3 --fused-gate-up 1 --type Q8_0"],
    ["dsv3 with an MTP block", "tiny-dsv3 --nextn 1"],
    ["dsv3 temperature scale", "tiny-dsv3 --set attention.temperature_scale=f32:0.1 --set attention.temperature_length=u32:16", {lacks: "queries that grow with their position"}],
    ["dsv2 old, weights scale 1, normalised", "tiny-dsv2-old --weights-scale 1 --weights-norm 1"],
    ["dsv2 old values as wide as keys", "tiny-dsv2-old --head-v 24"],
    ["dsv2 old 8 heads", "tiny-dsv2-old --heads 8 --kv-lora 20"],
    ["dsv2 old MIXED odd ranks", "tiny-dsv2-old --kv-lora 96 --q-lora 160 --type MIXED"],
    ["dsv3 k_b without blocks of 32, Q4_K_M", "tiny-dsv3 --embd 256 --type Q4_K_M"],

    // Experts of the others.
    ["qwen3moe 4 experts, 1 used", "tiny-qwen3moe --experts 4 --used 1"],
    ["qwen3moe all experts used", "tiny-qwen3moe --experts 4 --used 4"],
    ["qwen3moe 128 experts, 8 used", "tiny-qwen3moe --experts 128 --used 8 --layers 2"],
    ["qwen3moe 160 experts, 12 used", "tiny-qwen3moe --experts 160 --used 12 --layers 2"],
    ["qwen3moe without expert width", "tiny-qwen3moe --ff-expert 0"],
    ["qwen3moe weights scale", "tiny-qwen3moe --weights-scale 2 --set expert_weights_scale=f32:2"],
    ["qwen3moe groups", "tiny-qwen3moe --groups 4 --groups-used 2", {golden: true}],
    ["qwen3moe tied", "tiny-qwen3moe --tied 1"],
    ["qwen3moe expert_weights_norm false", "tiny-qwen3moe --set expert_weights_norm=bool:false"],
    ["qwen3moe attn_qkv", "tiny-qwen3moe --fused-qkv 1"],
    ["qwen3moe biases", "tiny-qwen3moe --qkv-bias 1"],
    ["qwen3moe without expert_used_count", "tiny-qwen3moe --unset expert_used_count"],
    ["qwen2moe shared width default", "tiny-qwen2moe --ff-shared 0"],
    ["qwen2moe without expert width", "tiny-qwen2moe --ff-expert 0"],
    ["qwen2moe grouped heads", "tiny-qwen2moe --kv-heads 1"],
    ["qwen2moe tied", "tiny-qwen2moe --tied 1"],
    ["qwen2moe normalised by key", "tiny-qwen2moe --set expert_weights_norm=bool:true"],
    ["olmoe 64 experts, 8 used", "tiny-olmoe --experts 64 --used 8"],
    ["olmoe with an expert width", "tiny-olmoe --set expert_feed_forward_length=u32:32"],
    ["mixtral 4 of 4", "tiny-mixtral --experts 4 --used 4"],
    ["mixtral 1 of 8", "tiny-mixtral --used 1", {golden: true}],
    ["mixtral biases", "tiny-mixtral --qkv-bias 1 --out-bias 1"],
    ["mixtral without gate", "tiny-mixtral --without ffn_gate_exps.weight", {lacks: "experts without a gate"}],
    ["mixtral with an expert width", "tiny-mixtral --set expert_feed_forward_length=u32:96"],
    ["llama expert_count 0", "tiny-llama --set expert_count=u32:0 --set expert_used_count=u32:0"],
    ["llama attention.scale", "tiny-llama --attention-scale 0.1"],
    ["llama logit_scale", "tiny-llama --logit-scale 2"],
    ["qwen2 logit_scale", "tiny-qwen2 --logit-scale 2"],
    ["deepseek grouped heads", "tiny-deepseek --kv-heads 1"],
    ["deepseek no dense layer", "tiny-deepseek --dense 0"],
    ["deepseek two dense layers", "tiny-deepseek --dense 2"],
    ["deepseek no shared expert", "tiny-deepseek --shared 0"],
    ["deepseek scale 2", "tiny-deepseek --weights-scale 2"],
    ["deepseek without scale", "tiny-deepseek --weights-scale 0"],
    ["deepseek normalised by key", "tiny-deepseek --weights-norm 1"],
    ["deepseek sigmoid by key", "tiny-deepseek --gating 2"],
    ["deepseek biases", "tiny-deepseek --qkv-bias 1"],

    // Granite's scalars.
    ["granite without embedding and residual scale", "tiny-granite --embedding-scale 0 --residual-scale 0"],
    ["granite without attention scale", "tiny-granite --attention-scale 0"],
    ["granite without logit scale", "tiny-granite --logit-scale 0"],
    ["granite logit scale 0", "tiny-granite --set logit_scale=f32:0", {lacks: "a division by zero"}],
    ["granite untied", "tiny-granite --tied 0"],
    ["granite rope.scaling.finetuned false", "tiny-granite --set rope.scaling.finetuned=bool:false", {golden: true}],
    ["granite rope.scaling.finetuned true", "tiny-granite --set rope.scaling.finetuned=bool:true"],
    ["granitemoe rope.scaling.finetuned false", "tiny-granitemoe --set rope.scaling.finetuned=bool:false"],
    ["granite biases", "tiny-granite --qkv-bias 1 --out-bias 1 --ff-bias 1"],
    ["granitemoe shared expert", "tiny-granitemoe --ff-shared 48"],
    ["granitemoe untied, 40 experts, 8 used", "tiny-granitemoe --tied 0 --experts 40 --used 8"],
    ["granitemoe without any scale", "tiny-granitemoe --embedding-scale 0 --residual-scale 0 --attention-scale 0 --logit-scale 1"],
    ["granite with experts", "tiny-granite --experts 4 --used 2"],
    ["granitemoe without experts", "tiny-granitemoe --experts 0", {golden: true}],

    // gpt-oss.
    ["gpt-oss window 1", "tiny-gpt-oss --window 1"],
    ["gpt-oss window 2", "tiny-gpt-oss --window 2"],
    ["gpt-oss window 128", "tiny-gpt-oss --window 128"],
    ["gpt-oss window 0", "tiny-gpt-oss --set attention.sliding_window=u32:0", {lacks: "a window that shows nothing"}],
    ["gpt-oss window missing", "tiny-gpt-oss --window 0"],
    ["gpt-oss window pattern 4", "tiny-gpt-oss --set attention.sliding_window_pattern=u32:4"],
    ["gpt-oss window pattern as an array", "tiny-gpt-oss --set attention.sliding_window_pattern=bool[]:0,1,1,0", {golden: true}],
    ["gpt-oss base of the window layers", "tiny-gpt-oss --set rope.freq_base_swa=f32:1000", {lacks: "a rotary base for some layers"}],
    ["gpt-oss one layer", "tiny-gpt-oss --layers 1"],
    ["gpt-oss one KV head", "tiny-gpt-oss --kv-heads 1"],
    ["gpt-oss heads of 64", "tiny-gpt-oss --head-k 64 --head-v 64"],
    ["gpt-oss 32 experts, 4 used", "tiny-gpt-oss --experts 32 --used 4"],
    ["gpt-oss all experts used", "tiny-gpt-oss --experts 4 --used 4"],
    ["gpt-oss width that is no multiple of 32", "tiny-gpt-oss --embd 80 --ff-expert 40"],
    ["gpt-oss tied", "tiny-gpt-oss --tied 1"],
    ["gpt-oss without sinks", "tiny-gpt-oss --without attn_sinks.weight"],
    ["gpt-oss without biases", "tiny-gpt-oss --qkv-bias 0"],
    ["gpt-oss without key_length", "tiny-gpt-oss --head-k 0 --head-v 0"],

    // Files that are not whole.
    ["llama without output_norm", "tiny-llama --without output_norm.weight"],
    ["llama without attn_q", "tiny-llama --without attn_q.weight"],
    ["qwen3 without q norm", "tiny-qwen3 --without attn_q_norm.weight"],
    ["qwen2moe without shared gate", "tiny-qwen2moe --without ffn_gate_inp_shexp.weight"],
    ["qwen2moe without shared expert", "tiny-qwen2moe --without ffn_gate_shexp.weight --without ffn_up_shexp.weight --without ffn_down_shexp.weight"],
    ["dsv3 with attn_k_b only", "tiny-dsv3 --without attn_v_b.weight"],

    // Beyond a page of the cache, and far positions (a factor of 1/100 is as good as 100 times the position).
    ...every.map((preset) => [`${preset} 300 tokens`, preset, {tokens: 300}]),
    ["gpt-oss 300 tokens, window 100", "tiny-gpt-oss --window 100", {tokens: 300}],
    ["gpt-oss 300 tokens, window 64", "tiny-gpt-oss --window 64", {tokens: 300}],
    ["llama far positions", "tiny-llama --rope-scaling linear --rope-factor 0.01", {tokens: 200}],
    ["llama yarn factor below 1", "tiny-llama --rope-factors 0 --rope-scaling yarn --rope-factor 0.5 --rope-original 64"],
    ["llama causal false", "tiny-llama --set attention.causal=bool:false", {lacks: "tokens that see what follows"}],

    // Weights in one type.
    ...["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"].flatMap((t) => [
        [`qwen3moe ${t}`, `tiny-qwen3moe ${wide} --ff-expert 256 --head-k 64 --head-v 64 --type ${t}`],
        [`dsv3 ${t}`, `tiny-dsv3 ${wide} --ff-expert 256 --kv-lora 256 --q-lora 256 --head-k 64 --head-v 64 --rot 32 --type ${t}`]]),
    ["llama norms in F16", "tiny-llama --tensor-type attn_norm.weight=F16 --tensor-type output_norm.weight=F16"],
    ["dsv3 router in F16", "tiny-dsv3 --tensor-type ffn_gate_inp.weight=F16"],
    ["dsv3 router in BF16", "tiny-dsv3 --tensor-type ffn_gate_inp.weight=BF16"],
    ["dsv3 router in Q8_0", "tiny-dsv3 --tensor-type ffn_gate_inp.weight=Q8_0"],
    ["dsv3 up in Q8_0, gate in F32", "tiny-dsv3 --tensor-type ffn_up_exps.weight=Q8_0 --tensor-type ffn_up_shexp.weight=Q4_0", {golden: true}],
    ["qwen2 biases in F16", "tiny-qwen2 --tensor-type attn_q.bias=F16"],
];

// ---- Shapes by chance: models.mjs --random N ----

const presets = {llama: "tiny-llama", mixtral: "tiny-mixtral", qwen2: "tiny-qwen2", qwen3: "tiny-qwen3",
                 qwen2moe: "tiny-qwen2moe", qwen3moe: "tiny-qwen3moe", olmoe: "tiny-olmoe", granite: "tiny-granite",
                 granitemoe: "tiny-granitemoe", deepseek: "tiny-deepseek", "gpt-oss": "tiny-gpt-oss",
                 dsv2: "tiny-dsv2", dsv3: "tiny-dsv3", "dsv2-old": "tiny-dsv2-old"};

// Like the named cases, and within what llama.cpp loads.
export function randomCase(draw) {
    const pick = (...list) => list[draw(list.length)], maybe = (option, ...list) => draw(2) ? ` ${option} ${pick(...list)}` : "";
    const kind = pick(...Object.keys(presets)), latent = kind.startsWith("ds"), ownHeads = /qwen3|gpt/.test(kind);
    const head = pick(8, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128), kv = pick(1, 2, 3), group = pick(1, 2, 3, 4, 7, 8);
    const heads = latent ? pick(1, 2, 3, 5, 8, 16) : kind === "olmoe" ? group : kv * group;
    const embd = latent || ownHeads ? 8 * pick(4, 5, 8, 9, 16, 20) : heads * head;
    let args = `${presets[kind]} --embd ${embd} --heads ${heads} --vocab ${259 + draw(300)} --seed ${draw(1e6)}`;
    args += maybe("--eps", "1e-5", "1e-6", "1e-3") + maybe("--rope-base", "10000", "1e6", "500000", "1234.5");
    args += ` --ff ${4 * pick(8, 10, 24, 33)}`;
    if (kind !== "dsv2" && kind !== "dsv2-old")
        args += maybe("--layers", 1, 2, 4, 5);
    if (latent) {
        const rot = 2 * pick(2, 4, 8, 16, 32), nope = pick(4, 8, 16, 24, 32, 64, 128);
        args += ` --rot ${rot} --head-k ${rot + nope} --head-v ${pick(4, 8, 20, 32, 64, 128)} --kv-lora ${4 * pick(2, 5, 8, 16, 32)}`;
        args += (kind === "dsv2" ? "" : ` --q-lora ${4 * pick(3, 8, 12)}`) + maybe("--shared", 1, 2, 3) + maybe("--dense", 0, 1, 2);
        args += maybe("--gating", 1, 2, 3) + maybe("--weights-norm", 0, 1) + maybe("--weights-scale", 1, 1.5, 2.5, 0.5);
        args += maybe("--select-bias", 0, 1) + maybe("--tied", 0, 1) + (draw(4) ? "" : " --fused-gate-up 1");
        args += maybe("--log-multiplier", 0.1, 0.0707, 0.03) + maybe("--attn-factor", 0.8, 1.2);
    } else {
        args += kind === "olmoe" ? ` --kv-heads ${heads}` : ` --kv-heads ${kv}`;
        args += ownHeads ? ` --head-k ${head} --head-v ${head}` : "";
        args += /llama|mixtral|granite/.test(kind) ? ` --rot ${head}` + maybe("--rope-factors", 0, 1) + maybe("--qkv-bias", 0, 1) : "";
        args += /qwen2$|llama|qwen3$|granite/.test(kind) ? maybe("--tied", 0, 1) : "";
        args += draw(3) || kind === "olmoe" ? "" : " --fused-qkv 1";
        args += kind === "gpt-oss" ? maybe("--window", 3, 5, 17, 40) : "";
        args += /granite/.test(kind) ? maybe("--residual-scale", 0.2, 1, 0.7) + maybe("--attention-scale", 0.05, 0.3) +
            maybe("--logit-scale", 1, 3, 0.5) + maybe("--embedding-scale", 1, 3) : "";
    }
    if (/moe|mixtral|gpt|ds|deepseek/.test(kind)) {
        const groups = latent && draw(2) ? pick(2, 4, 8) : 0, experts = groups ? groups * pick(2, 4, 6) : pick(2, 4, 5, 8, 24, 60);
        const kept = groups ? 1 + draw(groups - 1) : 0;
        const used = 1 + draw(Math.min(groups ? kept * experts / groups : experts, 8));
        args += ` --experts ${experts} --used ${used} --groups ${groups} --groups-used ${kept}`;
        args += /mixtral|granite|olmoe/.test(kind) ? "" : ` --ff-expert ${4 * pick(3, 8, 9, 16)}`;
        args += kind === "granitemoe" ? maybe("--ff-shared", 24, 64) : "";
        args += kind === "qwen2moe" ? maybe("--ff-shared", 24, 64, 100) : "";
    }
    const scaling = pick("none", "linear", "yarn", "");
    if (scaling && !(kind === "gpt-oss" && scaling === "none"))
        args += ` --rope-scaling ${scaling} --rope-factor ${pick(1, 2, 4, 40)} --rope-original ${pick(16, 64, 256, 4096)}`;
    return [`${kind} by chance`, args, {tokens: 8 + draw(90)}];
}
