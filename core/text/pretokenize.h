/*
 * pretokenize.h - cut text into the words that merging works within
 *
 * A pre-tokeniser is a list of regular expressions, applied one after the other:
 * each cuts every piece that the one before left into its matches and the gaps
 * between them. What the last one leaves are the words.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TEXT_PRETOKENIZE_H
#define TEXT_PRETOKENIZE_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "dsr1.h"
#include "gguf/gguf.h"

enum { PRETOKENIZER_STEPS = 6 };

struct pretokenizer {
    struct pretokenizer_step {
        pcre2_code *code;
        const uint8_t *first;   /* bitmap of the bytes a match can begin with; NULL: unknown */
        bool jit;
    } steps[PRETOKENIZER_STEPS];
    int n_steps;
    pcre2_match_context *limits;
    bool whole_words;           /* a word that is a token is taken without merging */
    bool add_bos;               /* where the file does not say */
};

/* By the name in tokenizer.ggml.pre. DSR1_ERR_UNSUPPORTED for a name that is not known. */
dsr1_status pretokenizer_open(struct pretokenizer *p, struct gguf_string name, dsr1_error *err);
void pretokenizer_close(struct pretokenizer *p);

/* The next word is n characters long; false stops the cutting. */
typedef bool (*pretoken_fn)(void *context, size_t n);

/*
 * Cuts n class bytes (char_class.h), calling word for each piece, which together
 * are the whole text in order. match has room for one pair and is the caller's:
 * a pretokenizer is shared, a match is not. DSR1_ERR_CANCELLED when word returned
 * false, DSR1_ERR_INTERNAL when PCRE2 gave up.
 */
dsr1_status pretokenizer_cut(const struct pretokenizer *p, const uint8_t *classes, size_t n, pcre2_match_data *match,
                             pretoken_fn word, void *context);

#endif
