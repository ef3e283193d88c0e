/*
 * vocab.h - the tokens of a file: texts, kinds, and the ones with a meaning
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TEXT_VOCAB_H
#define TEXT_VOCAB_H

#include "dsr1.h"
#include "gguf/gguf.h"
#include "gguf/name_index.h"

/* As in tokenizer.ggml.token_type. */
enum token_kind {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN = 2,
    TOKEN_CONTROL = 3,
    TOKEN_USER = 4,             /* user-defined: cut out of any text before it is merged */
    TOKEN_UNUSED = 5,
    TOKEN_BYTE = 6
};

/* Our own key: "psm" or "spm", the order of prefix, suffix and middle in a request; the reference has none for it. */
#define VOCAB_FIM_ORDER "dsr1.fim_order"

enum vocab_id {
    ID_BOS, ID_EOS, ID_EOT, ID_EOM, ID_UNKNOWN, ID_FIM_PREFIX, ID_FIM_SUFFIX, ID_FIM_MIDDLE, ID_FIM_PAD,
    ID_FIM_REPO, ID_FIM_SEPARATOR, VOCAB_IDS
};

struct vocab_token {
    uint8_t kind;
    bool ends;                  /* generation ends here */
    bool padding;               /* a row of the embedding that no text maps to */
};

struct vocab {
    const struct gguf_string *texts;    /* in the file */
    struct vocab_token *tokens;
    int32_t n;
    size_t longest;             /* bytes of the longest text */
    struct name_index index;
    int32_t ids[VOCAB_IDS];     /* -1 where there is none */
    bool is_bpe;
    bool add_bos, add_eos, add_space_prefix;
    bool suffix_first;          /* a middle is asked for behind its prefix: suffix, prefix, middle */
};

/*
 * Reads tokenizer.ggml.* but the pre-tokeniser, merges and scores. add_bos is
 * preset by the caller: what holds where the file does not say.
 */
dsr1_status vocab_open(struct vocab *vocab, const struct gguf *gguf, dsr1_error *err);
void vocab_close(struct vocab *vocab);

/* The id of a text, the last one where several tokens share it; -1 if there is none. */
int32_t vocab_find(const struct vocab *vocab, const void *text, size_t size);

#endif
