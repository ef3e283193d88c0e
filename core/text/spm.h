/*
 * spm.h - SentencePiece-style tokenisation of one fragment of text
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TEXT_SPM_H
#define TEXT_SPM_H

#include "base/buffer.h"
#include "text/id_list.h"
#include "text/merge.h"
#include "text/vocab.h"

enum { SPM_SEAM_BITS = 20 };

struct spm {
    const struct vocab *vocab;
    uint32_t *ranks;            /* of a token; the highest score ranks lowest */
    uint64_t *seams;            /* 2^SPM_SEAM_BITS bits: pairs of characters that stand side by side in a token */
    int32_t byte_ids[256];      /* <0x00> .. <0xFF>, or -1 */
};

/* Reads tokenizer.ggml.scores. vocab must outlive it. */
dsr1_status spm_open(struct spm *spm, const struct vocab *vocab, const struct gguf *gguf, dsr1_error *err);
void spm_close(struct spm *spm);

/*
 * Adds the ids of a fragment. first: it begins the text or follows a special
 * token, and so gets a blank in front where the model wants one. merger and
 * escaped are scratch. False when memory is short.
 */
bool spm_fragment(const struct spm *spm, const uint8_t *text, size_t size, bool first, struct merger *merger,
                  struct buffer *escaped, struct id_list *out);

/* The bytes that the text of an ordinary or (is_byte) byte token stands for: writes at most capacity, returns all. */
size_t spm_bytes(struct gguf_string text, bool is_byte, char *bytes, size_t capacity);

#endif
