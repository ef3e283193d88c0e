/*
 * chat_templates.h - short templates with what is characteristic of each family
 *
 * Written for tests: the parts of published templates that tell one family from
 * another, in their order, and nothing else of them.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TESTS_UNIT_CHAT_TEMPLATES_H
#define TESTS_UNIT_CHAT_TEMPLATES_H

#define BOS_TEXT "<｜begin▁of▁sentence｜>"
#define EOS_TEXT "<｜end▁of▁sentence｜>"

static const char template_r1[] =
    "{% for m in messages %}{% if m['role'] == 'system' %}{% set ns.system_prompt = m['content'] %}{% endif %}"
    "{% endfor %}{{bos_token}}{{ns.system_prompt}}{% for m in messages %}{{'<｜User｜>' + m['content']}}"
    "{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}"
    "{{'<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>'}}{% endfor %}"
    "{% if add_generation_prompt %}{{'<｜Assistant｜><think>\\n'}}{% endif %}";

/* As published first, in January 2025. */
static const char template_r1_open[] =
    "{{bos_token}}{{ns.system_prompt}}{{'<｜User｜>' + m['content']}}{% set content = content.split('</think>')[-1] %}"
    "{{'<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>'}}{{'<｜Assistant｜>'}}";

static const char template_v3[] =
    "{% set ns.system_prompt = ns.system_prompt + '\\n\\n' + m['content'] %}{{bos_token}}{{ns.system_prompt}}"
    "{{'<｜User｜>' + m['content']}}{{'<｜Assistant｜>' + m['content'] + '<｜end▁of▁sentence｜>'}}"
    "{% if add_generation_prompt %}{{'<｜Assistant｜>'}}{% endif %}";

static const char template_v31[] =
    "{% set ns.system_prompt = ns.system_prompt + '\\n\\n' + m['content'] %}{{bos_token}}{{'<｜User｜>'}}"
    "{% set content = content.split('</think>', 1)[1] %}{{'<｜Assistant｜></think>' + content}}"
    "{{'<｜end▁of▁sentence｜>'}}{% if add_generation_prompt %}{{'<｜Assistant｜>'}}"
    "{% if not thinking %}{{'</think>'}}{% else %}{{'<think>'}}{% endif %}{% endif %}";

static const char template_v2[] =
    "{{ bos_token }}{{ 'User: ' + message['content'] + '\\n\\n' }}"
    "{{ 'Assistant: ' + message['content'] + eos_token }}{{ message['content'] + '\\n\\n' }}{{ 'Assistant:' }}";

static const char template_coder[] =
    "{% if not add_generation_prompt is defined %}{% endif %}{%- set ns = namespace(found=false) -%}{{bos_token}}"
    "{%- if not ns.found -%}\n{{'You write\\n\\'code\\'.\\n'}}\n{%- endif %}{{'### Instruction:\\n'}}"
    "{{'### Response:\\n'}}{{'\\n<|EOT|>\\n'}}{{'### Response:'}}";

static const char template_llama31[] =
    "{{- bos_token }}{%- if not date_string is defined %}{%- set date_string = \"26 Jul 2024\" %}{%- endif %}"
    "{{- \"<|start_header_id|>system<|end_header_id|>\\n\\n\" }}{{- \"Cutting Knowledge Date: December 2023\\n\" }}"
    "{{- \"Today Date: \" + date_string + \"\\n\\n\" }}{{- system_message }}{{- \"<|eot_id|>\" }}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim }}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}";

static const char template_llama3[] =
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim +"
    " '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}";

static const char template_qwen25[] =
    "{%- if messages[0]['role'] == 'system' %}{{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}"
    "{%- else %}{{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
    "<|im_end|>\\n' }}{%- endif %}{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{{- '<|im_start|>assistant\\n' }}";

static const char template_qwen3[] =
    "{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}"
    "{%- set ns = namespace(last_query_index=messages|length - 1) %}"
    "{%- set content = content.split('</think>')[-1].lstrip('\\n') %}{%- if loop.index0 > ns.last_query_index %}"
    "{{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' }}"
    "{{- '<|im_end|>\\n' }}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}";

/* The ones that always think. */
static const char template_qwen3_thinking[] =
    "{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}"
    "{%- set ns = namespace(last_query_index=messages|length - 1) %}"
    "{%- set content = content.split('</think>')[-1].lstrip('\\n') %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n<think>\\n' }}{%- endif %}";

static const char template_smollm2[] =
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/* Their names in tests/golden/chat, where they are there. */
static const struct {
    const char *name, *text, *bos, *eos;
} chat_templates[] = {
    {"deepseek-r1", template_r1, BOS_TEXT, EOS_TEXT},
    {"deepseek-v2", template_v2, BOS_TEXT, EOS_TEXT},
    {"deepseek-v3", template_v3, BOS_TEXT, EOS_TEXT},
    {"llama-3.1", template_llama31, "<|begin_of_text|>", "<|eot_id|>"},
    {"qwen2.5", template_qwen25, "", "<|im_end|>"},
    {"qwen3", template_qwen3, "", "<|im_end|>"},
    {"smollm2", template_smollm2, "<|im_start|>", "<|im_end|>"},
    {"", template_r1_open, BOS_TEXT, EOS_TEXT},
    {"", template_v31, BOS_TEXT, EOS_TEXT},
    {"", template_coder, BOS_TEXT, "<|EOT|>"},
    {"", template_llama3, "<|begin_of_text|>", "<|eot_id|>"},
    {"", template_qwen3_thinking, "", "<|im_end|>"},
};
enum { CHAT_TEMPLATES = sizeof chat_templates / sizeof *chat_templates, CHAT_TEMPLATES_GOLDEN = 7 };

/* Every control token of these templates. */
static const char *const chat_specials[] = {
    BOS_TEXT, EOS_TEXT, "<｜User｜>", "<｜Assistant｜>", "<think>", "</think>", "<|im_start|>", "<|im_end|>",
    "<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|EOT|>",
};
enum { CHAT_SPECIALS = sizeof chat_specials / sizeof *chat_specials };

#endif
