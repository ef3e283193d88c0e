/*
 * pretokenize.c - cut text into the words that merging works within
 *
 * The expressions are those of the models' own tokenisers, written over class
 * bytes. One is rewritten so that no text takes quadratic time: \s+$ may begin
 * only where white space begins, and gives none back.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "text/pretokenize.h"

#include "base/error.h"
#include "text/char_class_table.h"

#include <string.h>

#define L CLASS_L
#define M CLASS_M
#define N CLASS_N
#define P CLASS_P
#define S CLASS_S
#define W CLASS_SPACE

/* The end of white space stays with the word behind it, unless there is none: \s+(?!\S)|\s+ */
#define SPACES "[" W "]+(?![^" W "])|[" W "]+"
#define ASCII_PUNCT "\\x21-\\x2f\\x3a-\\x40\\x5b-\\x60\\x7b-\\x7e"

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?[" L "]+| ?[" N "]+| ?[^" W L N "]+|" SPACES
#define LLAMA3(digits)                                                                              \
    "'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])|[^\\r\\n" L N "]?[" L "]+|[" N "]" digits           \
    "| ?[^" W L N "]+[\\r\\n]*|[" W "]*[\\r\\n]+|" SPACES
#define DEEPSEEK_V3                                                                                 \
    "[" ASCII_PUNCT "][A-Za-z]+|[^\\r\\n" L P S "]?[" L M "]+| ?[" P S "]+[\\r\\n]*"                \
    "|[" W "]*[\\r\\n]+|" SPACES

static const struct recipe {
    const char *names[5];
    const char *expressions[PRETOKENIZER_STEPS + 1];
    bool whole_words, add_bos;
} recipes[] = {
    {{"gpt-2"}, {GPT2}, false, false},
    {{"smollm", "starcoder", "refact", "command-r"}, {"[" N "]", GPT2}, false, false},
    {{"llama-bpe", "llama3", "llama-v3"}, {LLAMA3("{1,3}")}, true, true},
    {{"qwen2", "deepseek-r1-qwen"}, {LLAMA3("")}, false, false},
    {{"deepseek-coder"},
     {"[\\r\\n]", "[" W "]?[" L "]+", "[" W "]?[" P "]+", "[" CLASS_LLM_CJK "]+", "[" N "]"},
     false, false},
    {{"deepseek-llm"},
     {"[\\r\\n]", "[" W "]?[" CLASS_LLM_LETTER "]+", "[" W "]?[" CLASS_LLM_PUNCT "]+", "(?<![" W "])[" W "]++\\z",
      "[" CLASS_LLM_CJK "]+", "[" N "]+"},
     false, false},
    {{"deepseek-v3"}, {"[" N "]{1,3}", "[" CLASS_V3_CJK "]+", DEEPSEEK_V3}, false, false},
};

static const struct recipe *find_recipe(struct gguf_string name)
{
    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++)
        for (const char *const *other = recipes[i].names; *other; other++)
            if (name.size == strlen(*other) && memcmp(name.bytes, *other, name.size) == 0)
                return &recipes[i];
    return NULL;
}

/* Without JIT (not built in, or forbidden by the system) the interpreter does the same, slower. */
static dsr1_status step_open(struct pretokenizer_step *step, const char *expression, dsr1_error *err)
{
    int error;
    PCRE2_SIZE where;
    step->code = pcre2_compile((PCRE2_SPTR) expression, PCRE2_ZERO_TERMINATED, PCRE2_NEVER_UTF, &error, &where, NULL);
    if (!step->code)
        return error_set(err, error == PCRE2_ERROR_NOMEMORY ? DSR1_ERR_NOMEM : DSR1_ERR_INTERNAL,
                         "PCRE2 error %d at %zu of a pre-tokeniser", error, (size_t) where);
    step->jit = pcre2_jit_compile(step->code, PCRE2_JIT_COMPLETE) == 0;
    if (pcre2_pattern_info(step->code, PCRE2_INFO_FIRSTBITMAP, &step->first) != 0)
        step->first = NULL;
    return DSR1_OK;
}

dsr1_status pretokenizer_open(struct pretokenizer *p, struct gguf_string name, dsr1_error *err)
{
    *p = (struct pretokenizer){0};
    const struct recipe *recipe = find_recipe(name);
    if (!recipe)
        return error_set(err, DSR1_ERR_UNSUPPORTED, "key tokenizer.ggml.pre: unknown pre-tokeniser \"%.*s\"",
                         (int) (name.size < 60 ? name.size : 60), name.size ? name.bytes : "");
    p->whole_words = recipe->whole_words;
    p->add_bos = recipe->add_bos;
    p->limits = pcre2_match_context_create(NULL);
    if (!p->limits)
        return error_nomem(err, "a pre-tokeniser");
    /* The default limit counts steps of one match; a match here may be a megabyte of blanks. */
    pcre2_set_match_limit(p->limits, UINT32_MAX);
    for (; recipe->expressions[p->n_steps]; p->n_steps++) {
        dsr1_status status = step_open(&p->steps[p->n_steps], recipe->expressions[p->n_steps], err);
        if (status < 0) {
            pretokenizer_close(p);
            return status;
        }
    }
    return DSR1_OK;
}

void pretokenizer_close(struct pretokenizer *p)
{
    for (int i = 0; i < PRETOKENIZER_STEPS; i++)
        pcre2_code_free(p->steps[i].code);
    pcre2_match_context_free(p->limits);
    *p = (struct pretokenizer){0};
}

struct cut {
    const struct pretokenizer *p;
    const uint8_t *classes;
    pcre2_match_data *match;
    pretoken_fn word;
    void *context;
};

/* Most pieces hold nothing that a later expression could begin with: a look at each byte is cheaper than a call. */
static bool may_match(const struct pretokenizer_step *step, const uint8_t *piece, size_t n)
{
    if (!step->first)
        return true;
    for (size_t i = 0; i < n; i++)
        if (step->first[piece[i] >> 3] >> (piece[i] & 7) & 1)
            return true;
    return false;
}

static int next_match(const struct cut *cut, const struct pretokenizer_step *step, const uint8_t *piece, size_t n,
                      size_t from)
{
    if (step->jit) {
        int rc = pcre2_jit_match(step->code, piece, n, from, 0, cut->match, cut->p->limits);
        if (rc != PCRE2_ERROR_JIT_STACKLIMIT)
            return rc;
    }
    return pcre2_match(step->code, piece, n, from, PCRE2_NO_JIT, cut->match, cut->p->limits);
}

/* Depth is the number of expressions, whatever the text. */
static dsr1_status cut_piece(const struct cut *cut, int level, size_t from, size_t n)
{
    if (n == 0)
        return DSR1_OK;
    const uint8_t *piece = cut->classes + from;
    while (level < cut->p->n_steps && !may_match(&cut->p->steps[level], piece, n))
        level++;
    if (level == cut->p->n_steps)
        return cut->word(cut->context, n) ? DSR1_OK : DSR1_ERR_CANCELLED;

    dsr1_status status = DSR1_OK;
    size_t done = 0;
    while (done < n && status == DSR1_OK) {
        int rc = next_match(cut, &cut->p->steps[level], piece, n, done);
        if (rc == PCRE2_ERROR_NOMATCH)
            break;
        const PCRE2_SIZE *pair = pcre2_get_ovector_pointer(cut->match);
        size_t begin = pair[0], end = pair[1];
        if (rc < 0 || end <= begin)
            return DSR1_ERR_INTERNAL;
        status = cut_piece(cut, level + 1, from + done, begin - done);
        if (status == DSR1_OK)
            status = cut_piece(cut, level + 1, from + begin, end - begin);
        done = end;
    }
    return status < 0 ? status : cut_piece(cut, level + 1, from + done, n - done);
}

dsr1_status pretokenizer_cut(const struct pretokenizer *p, const uint8_t *classes, size_t n, pcre2_match_data *match,
                             pretoken_fn word, void *context)
{
    const struct cut cut = {p, classes, match, word, context};
    return cut_piece(&cut, 0, 0, n);
}
