/*
 * vocab.c - the tokens of a file: texts, kinds, and the ones with a meaning
 *
 * Files are not reliable about meanings: keys are missing, and tokens that end
 * an answer are marked as ordinary text. So tokens are also known by their text,
 * as in the reference implementation, and such a token is a control token
 * whatever its type says.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "text/vocab.h"

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const end_texts[] = {
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>",
    "<|end_of_text|>", "<end_of_turn>", "<｜end▁of▁sentence｜>", "<eos>", "[EOS]",
};

static const struct {
    const char *text;
    enum vocab_id id;
} fim_texts[] = {
    {"<|fim_prefix|>", ID_FIM_PREFIX}, {"<|fim_suffix|>", ID_FIM_SUFFIX}, {"<|fim_middle|>", ID_FIM_MIDDLE},
    {"<｜fim▁begin｜>", ID_FIM_PREFIX}, {"<｜fim▁hole｜>", ID_FIM_SUFFIX}, {"<｜fim▁end｜>", ID_FIM_MIDDLE},
    {"<fim_prefix>", ID_FIM_PREFIX}, {"<fim_suffix>", ID_FIM_SUFFIX}, {"<fim_middle>", ID_FIM_MIDDLE},
    {"<fim-prefix>", ID_FIM_PREFIX}, {"<fim-suffix>", ID_FIM_SUFFIX}, {"<fim-middle>", ID_FIM_MIDDLE},
    {"▁<PRE>", ID_FIM_PREFIX}, {"▁<SUF>", ID_FIM_SUFFIX}, {"▁<MID>", ID_FIM_MIDDLE},
    {"<PRE>", ID_FIM_PREFIX}, {"<SUF>", ID_FIM_SUFFIX}, {"<MID>", ID_FIM_MIDDLE},
    {"<|fim_pad|>", ID_FIM_PAD}, {"<fim_pad>", ID_FIM_PAD}, {"<fim-pad>", ID_FIM_PAD},
    {"<|repo_name|>", ID_FIM_REPO}, {"<|fim_repo|>", ID_FIM_REPO}, {"<reponame>", ID_FIM_REPO},
    {"<repo_name>", ID_FIM_REPO}, {"<|file_sep|>", ID_FIM_SEPARATOR}, {"<file_sep>", ID_FIM_SEPARATOR},
};

/* Later keys win: the fim_ ones are the newer names. */
static const struct {
    const char *key;
    enum vocab_id id;
} id_keys[] = {
    {"tokenizer.ggml.bos_token_id", ID_BOS},
    {"tokenizer.ggml.eos_token_id", ID_EOS},
    {"tokenizer.ggml.eot_token_id", ID_EOT},
    {"tokenizer.ggml.eom_token_id", ID_EOM},
    {"tokenizer.ggml.unknown_token_id", ID_UNKNOWN},
    {"tokenizer.ggml.prefix_token_id", ID_FIM_PREFIX},
    {"tokenizer.ggml.suffix_token_id", ID_FIM_SUFFIX},
    {"tokenizer.ggml.middle_token_id", ID_FIM_MIDDLE},
    {"tokenizer.ggml.fim_pre_token_id", ID_FIM_PREFIX},
    {"tokenizer.ggml.fim_suf_token_id", ID_FIM_SUFFIX},
    {"tokenizer.ggml.fim_mid_token_id", ID_FIM_MIDDLE},
    {"tokenizer.ggml.fim_pad_token_id", ID_FIM_PAD},
    {"tokenizer.ggml.fim_rep_token_id", ID_FIM_REPO},
    {"tokenizer.ggml.fim_sep_token_id", ID_FIM_SEPARATOR},
};

#define LENGTH(array) (sizeof(array) / sizeof *(array))

/* The slot of a text: one that holds a position with the same text, or the empty one where it belongs. */
static size_t find_slot(const struct vocab *vocab, const void *text, size_t size)
{
    const struct name_index *index = &vocab->index;
    size_t slot = name_index_first(index, name_hash(text, size));
    for (; index->slots[slot]; slot = name_index_next(index, slot)) {
        const struct gguf_string *other = &vocab->texts[index->slots[slot] - 1];
        if (other->size == size && memcmp(other->bytes, text, size) == 0)
            break;
    }
    return slot;
}

int32_t vocab_find(const struct vocab *vocab, const void *text, size_t size)
{
    return size <= vocab->longest ? (int32_t) vocab->index.slots[find_slot(vocab, text, size)] - 1 : -1;
}

static int32_t find_text(const struct vocab *vocab, const char *text)
{
    return vocab_find(vocab, text, strlen(text));
}

static dsr1_status read_texts(struct vocab *vocab, const struct gguf *gguf, dsr1_error *err)
{
    struct gguf_array array;
    dsr1_status status = gguf_get_array(gguf, "tokenizer.ggml.tokens", &array, err);
    if (status < 0)
        return status;
    if (array.n == 0 || array.type != GGUF_STRING)
        return error_set(err, DSR1_ERR_FORMAT, "key tokenizer.ggml.tokens: no strings");
    vocab->texts = array.strings;
    vocab->n = (int32_t) array.n;           /* a gguf array has at most 2^30 elements */
    vocab->tokens = memory_array(array.n, sizeof *vocab->tokens);
    if (!vocab->tokens || !name_index_open(&vocab->index, array.n))
        return error_nomem(err, "the vocabulary");
    for (int32_t id = 0; id < vocab->n; id++) {
        const struct gguf_string *text = &vocab->texts[id];
        if (text->size > vocab->longest)
            vocab->longest = text->size;
        vocab->index.slots[find_slot(vocab, text->bytes, text->size)] = (uint32_t) id + 1;
    }
    return DSR1_OK;
}

/* Older converters gave the rows that pad an embedding the type "user-defined", but always the text "[PADid]". */
static bool is_padding(const struct vocab *vocab, int32_t id)
{
    char text[24];
    int size = snprintf(text, sizeof text, "[PAD%" PRId32 "]", id);
    return vocab->tokens[id].kind == TOKEN_UNUSED ||
           (vocab->texts[id].size == (size_t) size && memcmp(vocab->texts[id].bytes, text, (size_t) size) == 0);
}

static dsr1_status read_kinds(struct vocab *vocab, const struct gguf *gguf, dsr1_error *err)
{
    struct gguf_array array;
    dsr1_status status = gguf_get_array(gguf, "tokenizer.ggml.token_type", &array, err);
    if (status < 0)
        return status;
    if (array.n && (array.n != (size_t) vocab->n || (array.type != GGUF_I32 && array.type != GGUF_U32)))
        return error_set(err, DSR1_ERR_FORMAT, "key tokenizer.ggml.token_type: not one i32 for each of %" PRId32
                         " tokens", vocab->n);
    for (int32_t id = 0; id < vocab->n; id++) {
        int64_t kind = array.n ? gguf_array_int(&array, (size_t) id) : TOKEN_NORMAL;
        vocab->tokens[id].kind = kind >= TOKEN_NORMAL && kind <= TOKEN_BYTE ? (uint8_t) kind : TOKEN_NORMAL;
        vocab->tokens[id].padding = is_padding(vocab, id);
    }
    return DSR1_OK;
}

static dsr1_status read_ids(struct vocab *vocab, const struct gguf *gguf, dsr1_error *err)
{
    for (int i = 0; i < VOCAB_IDS; i++)
        vocab->ids[i] = -1;
    vocab->ids[ID_BOS] = vocab->is_bpe ? 11 : 1;
    vocab->ids[ID_EOS] = vocab->is_bpe ? 11 : 2;
    vocab->ids[ID_UNKNOWN] = vocab->is_bpe ? -1 : 0;
    for (int i = 0; i < VOCAB_IDS; i++)
        if (vocab->ids[i] >= vocab->n)
            vocab->ids[i] = -1;
    for (size_t i = 0; i < LENGTH(id_keys); i++) {
        int64_t id = vocab->ids[id_keys[i].id];
        dsr1_status status = gguf_get_int(gguf, id_keys[i].key, &id, err);
        if (status < 0)
            return status;
        if (id >= -1 && id < vocab->n)
            vocab->ids[id_keys[i].id] = (int32_t) id;
        else
            log_line(LOG_WARN, "key %s: %" PRId64 " is no token; ignored", id_keys[i].key, id);
    }
    return DSR1_OK;
}

static void mark_end(struct vocab *vocab, int32_t id)
{
    if (id >= 0)
        vocab->tokens[id].ends = true;
}

static void mark_meanings(struct vocab *vocab)
{
    for (size_t i = 0; i < LENGTH(end_texts); i++) {
        int32_t id = find_text(vocab, end_texts[i]);
        mark_end(vocab, id);
        if (id >= 0)
            vocab->tokens[id].kind = TOKEN_CONTROL;
    }
    for (size_t i = 0; i < LENGTH(fim_texts); i++) {
        int32_t id = find_text(vocab, fim_texts[i].text);
        if (id < 0)
            continue;
        vocab->tokens[id].kind = TOKEN_CONTROL;
        if (vocab->ids[fim_texts[i].id] < 0)
            vocab->ids[fim_texts[i].id] = id;
        if (fim_texts[i].id >= ID_FIM_PAD)
            mark_end(vocab, id);
    }
    static const enum vocab_id ends[] = {ID_EOS, ID_EOT, ID_EOM, ID_FIM_PAD, ID_FIM_REPO, ID_FIM_SEPARATOR};
    for (size_t i = 0; i < LENGTH(ends); i++)
        mark_end(vocab, vocab->ids[ends[i]]);
    mark_end(vocab, find_text(vocab, "<|EOT|>"));   /* DeepSeek-Coder's base files name another eos */
}

static dsr1_status read_switches(struct vocab *vocab, const struct gguf *gguf, dsr1_error *err)
{
    vocab->add_space_prefix = true;
    dsr1_status status = gguf_get_bool(gguf, "tokenizer.ggml.add_bos_token", &vocab->add_bos, err);
    if (status == DSR1_OK)
        status = gguf_get_bool(gguf, "tokenizer.ggml.add_eos_token", &vocab->add_eos, err);
    if (status == DSR1_OK)
        status = gguf_get_bool(gguf, "tokenizer.ggml.add_space_prefix", &vocab->add_space_prefix, err);
    return status;
}

static dsr1_status read_fim_order(struct vocab *vocab, const struct gguf *gguf, dsr1_error *err)
{
    struct gguf_string order = {"psm", 3};
    dsr1_status status = gguf_get_string(gguf, VOCAB_FIM_ORDER, &order, err);
    if (status != DSR1_OK)
        return status;
    vocab->suffix_first = order.size == 3 && memcmp(order.bytes, "spm", 3) == 0;
    if (!vocab->suffix_first && (order.size != 3 || memcmp(order.bytes, "psm", 3) != 0))
        return error_set(err, DSR1_ERR_FORMAT, "key " VOCAB_FIM_ORDER ": neither psm nor spm");
    return DSR1_OK;
}

dsr1_status vocab_open(struct vocab *vocab, const struct gguf *gguf, dsr1_error *err)
{
    dsr1_status status = read_texts(vocab, gguf, err);
    if (status == DSR1_OK)
        status = read_kinds(vocab, gguf, err);
    if (status == DSR1_OK)
        status = read_ids(vocab, gguf, err);
    if (status == DSR1_OK)
        status = read_switches(vocab, gguf, err);
    if (status == DSR1_OK)
        status = read_fim_order(vocab, gguf, err);
    if (status == DSR1_OK)
        mark_meanings(vocab);
    return status;
}

void vocab_close(struct vocab *vocab)
{
    free(vocab->tokens);
    name_index_close(&vocab->index);
    *vocab = (struct vocab){0};
}
