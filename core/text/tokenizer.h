/*
 * tokenizer.h - text to token ids and back
 *
 * Byte-level BPE (Sennrich et al. 2016, GPT-2's byte mapping) with the
 * pre-tokenisers of the DeepSeek, Qwen, Llama and SmolLM families, and
 * SentencePiece-style models. Immutable after open: any thread may use it.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TEXT_TOKENIZER_H
#define TEXT_TOKENIZER_H

#include "dsr1.h"
#include "gguf/gguf.h"

struct tokenizer;

/*
 * Reads tokenizer.ggml.* of the file. The gguf must outlive it. DSR1_ERR_FORMAT
 * names the broken key; DSR1_ERR_UNSUPPORTED the unknown model or pre-tokeniser.
 */
dsr1_status tokenizer_open(const struct gguf *gguf, struct tokenizer **tokenizer, dsr1_error *err);
void tokenizer_close(struct tokenizer *tokenizer);      /* accepts NULL */

int tokenizer_n_vocab(const struct tokenizer *tokenizer);

/* Ids or -1. */
int32_t tokenizer_bos(const struct tokenizer *tokenizer);
int32_t tokenizer_eos(const struct tokenizer *tokenizer);
int32_t tokenizer_fim_prefix(const struct tokenizer *tokenizer);
int32_t tokenizer_fim_suffix(const struct tokenizer *tokenizer);
int32_t tokenizer_fim_middle(const struct tokenizer *tokenizer);
/* Was the model trained on suffix, prefix, middle rather than on prefix, suffix, middle? */
bool tokenizer_fim_suffix_first(const struct tokenizer *tokenizer);

bool tokenizer_adds_bos(const struct tokenizer *tokenizer);

/*
 * Contracts of dsr1_tokenize, dsr1_token_bytes, dsr1_token_is_end, dsr1_token_find. Encoding also
 * answers DSR1_ERR_LIMIT for texts of 1 GiB and more, and DSR1_ERR_INTERNAL.
 */
ptrdiff_t tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t size, int flags,
                           int32_t *tokens, size_t capacity);

/*
 * tokenizer_encode with text that is partly data: in the n_data pieces of text,
 * given as pairs (offset, size) in order, control tokens' text stays text, also
 * where it begins or ends outside of the piece.
 */
ptrdiff_t tokenizer_encode_data(const struct tokenizer *tokenizer, const char *text, size_t size, const size_t *data,
                                size_t n_data, int flags, int32_t *tokens, size_t capacity);

size_t tokenizer_token_bytes(const struct tokenizer *tokenizer, int32_t token, bool special, char *bytes,
                             size_t capacity);
bool tokenizer_is_end(const struct tokenizer *tokenizer, int32_t token);
bool tokenizer_is_unused(const struct tokenizer *tokenizer, int32_t token);   /* padding: never sample it */
int32_t tokenizer_find(const struct tokenizer *tokenizer, const char *text);

/* The text of a token as it stands in the file ("" for none); for BPE's ordinary tokens in mapped characters. */
struct gguf_string tokenizer_token_text(const struct tokenizer *tokenizer, int32_t token);

/*
 * Whole ids to bytes (SPM drops the one leading blank). Returns the length, of
 * which at most capacity bytes are written.
 */
size_t tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *tokens, size_t n, bool special, char *bytes,
                        size_t capacity);

#endif
