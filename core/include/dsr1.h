/*
 * dsr1.h - the public interface of the dsr1 inference core
 *
 * A model is an open GGUF file: weights, tokenizer, chat template. It never
 * changes after it was opened, and any number of threads and engines share it.
 * An engine owns a KV cache and a thread pool and serves requests on a model.
 *
 * The engine is a pump. dsr1_engine_submit() queues a request;
 * dsr1_engine_step() computes one batch for all of them, calls their event
 * functions and returns. Loops, sleeping and sockets belong to the caller:
 *
 *     dsr1_engine_submit(engine, &request, &id, &err);
 *     while (dsr1_engine_step(engine, &err) > 0)
 *         ;
 *
 * Functions that can fail return a dsr1_status: zero is success, negatives are
 * errors, and the reason is in *err (which may be NULL). Strings are UTF-8
 * unless a comment says bytes.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef DSR1_H
#define DSR1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define DSR1_API __attribute__((visibility("default")))
#else
#define DSR1_API
#endif

#define DSR1_VERSION "0.1.0"

/* ------------------------------------------------------------------ */
/* Status                                                              */
/* ------------------------------------------------------------------ */

typedef enum dsr1_status {
    DSR1_OK = 0,
    DSR1_ERR_NOMEM = -1,       /* an allocation failed */
    DSR1_ERR_IO = -2,          /* the operating system refused: errno's text is in the message */
    DSR1_ERR_FORMAT = -3,      /* a file or message is broken */
    DSR1_ERR_UNSUPPORTED = -4, /* well-formed, but not something dsr1 can do */
    DSR1_ERR_LIMIT = -5,       /* longer than the context, or another stated limit */
    DSR1_ERR_ARGUMENT = -6,    /* the caller's argument is out of range */
    DSR1_ERR_BUSY = -7,        /* the queue is full: try again later */
    DSR1_ERR_CANCELLED = -8,   /* cancelled by the caller */
    DSR1_ERR_INTERNAL = -9     /* a bug in dsr1 */
} dsr1_status;

/* The first failure wins: a function never overwrites a message. Start with {0}. */
typedef struct dsr1_error {
    dsr1_status status;
    char message[500];
} dsr1_error;

/* "DSR1_ERR_FORMAT" and so on; never NULL. */
DSR1_API const char *dsr1_status_name(dsr1_status status);

DSR1_API const char *dsr1_version(void);

/* ------------------------------------------------------------------ */
/* Model                                                               */
/* ------------------------------------------------------------------ */

typedef struct dsr1_model dsr1_model;

typedef struct dsr1_model_info {
    const char *path;           /* as given to dsr1_model_open */
    const char *name;           /* general.name, or "" */
    const char *architecture;   /* general.architecture */
    const char *file_type;      /* the most common weight type, "Q4_K" */
    const char *template_name;  /* chat template family, or "" where there is none we know */
    uint64_t n_parameters;
    uint64_t size;              /* bytes of all tensors */
    int n_layers;
    int n_embd;
    int n_vocab;
    int n_experts;              /* 0 for dense models */
    int n_experts_used;
    int n_context_train;
    bool has_fim;               /* dsr1_fim_tokens works */
    bool reasons;               /* it can think within <think></think> before it answers */
    bool opens_reasoning;       /* its chat prompts end in <think>, so that answers begin with reasoning */
    int32_t bos, eos;           /* -1 where the file has none */
} dsr1_model_info;

/*
 * Maps the GGUF file at path (the first part of a split file) and checks all of
 * it before use. DSR1_ERR_IO, DSR1_ERR_FORMAT (names the tensor or key),
 * DSR1_ERR_UNSUPPORTED (names what is missing), DSR1_ERR_NOMEM. *model is NULL
 * after a failure.
 */
DSR1_API dsr1_status dsr1_model_open(const char *path, dsr1_model **model, dsr1_error *err);
DSR1_API void dsr1_model_close(dsr1_model *model);      /* accepts NULL; no engine may use it any more */
DSR1_API void dsr1_model_get_info(const dsr1_model *model, dsr1_model_info *info);

/* ------------------------------------------------------------------ */
/* Text                                                                */
/* ------------------------------------------------------------------ */

enum {
    DSR1_PARSE_SPECIAL = 1, /* the text of control tokens becomes those tokens */
    DSR1_ADD_BOS = 2        /* BOS in front (and EOS behind) where the model wants it */
};

/*
 * Writes at most capacity ids and returns how many the text has, which may be
 * more; negative is a dsr1_status (DSR1_ERR_NOMEM). Ill-formed UTF-8 counts as
 * U+FFFD.
 */
DSR1_API ptrdiff_t dsr1_tokenize(const dsr1_model *model, const char *text, size_t size, int flags,
                                 int32_t *tokens, size_t capacity);

/*
 * Bytes of one token, not zero-terminated: at most capacity are written, the
 * whole length is returned. Control tokens are empty unless special is set.
 * A code point may span several tokens.
 */
DSR1_API size_t dsr1_token_bytes(const dsr1_model *model, int32_t token, bool special,
                                 char *bytes, size_t capacity);

/* Does generation end at this token? */
DSR1_API bool dsr1_token_is_end(const dsr1_model *model, int32_t token);

/* The id of the control or user-defined token with exactly this text, or -1. */
DSR1_API int32_t dsr1_token_find(const dsr1_model *model, const char *text);

typedef struct dsr1_message {
    const char *role;    /* "system", "user", "assistant" */
    const char *content;
} dsr1_message;

enum {
    DSR1_CHAT_ANSWER = 1,   /* end with the generation prompt: the assistant's turn begins */
    DSR1_CHAT_NO_THINK = 2  /* and its reasoning is empty and over, where the model is one that reasons */
};

/*
 * Renders messages with the model's chat template into a new string that the
 * caller frees with dsr1_free(). Tokenise it with DSR1_PARSE_SPECIAL and
 * without DSR1_ADD_BOS: the text holds BOS where the template has it.
 * DSR1_ERR_UNSUPPORTED for a template of no known family or an unknown role.
 */
DSR1_API dsr1_status dsr1_chat_render(const dsr1_model *model, const dsr1_message *messages, size_t n_messages,
                                      int flags, char **text, dsr1_error *err);

/*
 * The ids of a whole chat prompt. As dsr1_chat_render() + dsr1_tokenize(), but
 * control-token text inside a message's content stays text, so that data cannot
 * pose as a turn of the conversation.
 */
DSR1_API ptrdiff_t dsr1_chat_tokens(const dsr1_model *model, const dsr1_message *messages, size_t n_messages,
                                    int flags, int32_t *tokens, size_t capacity, dsr1_error *err);

/*
 * The ids of a fill-in-the-middle prompt (prefix, suffix, then the middle is
 * generated). Where the suffix is nothing but blanks there is no hole, and the ids
 * are those of the prefix, which goes on. Returns like dsr1_tokenize();
 * DSR1_ERR_UNSUPPORTED where the vocabulary has no such tokens.
 */
DSR1_API ptrdiff_t dsr1_fim_tokens(const dsr1_model *model, const char *prefix, size_t prefix_size,
                                   const char *suffix, size_t suffix_size, int32_t *tokens, size_t capacity,
                                   dsr1_error *err);

DSR1_API void dsr1_free(void *memory);

/* ------------------------------------------------------------------ */
/* Adapters                                                            */
/* ------------------------------------------------------------------ */

/*
 * A low-rank change of a model's weights (LoRA) in a GGUF file as llama.cpp has it. The model stays as it is: requests
 * with different adapters, and with none, run in one batch.
 */
typedef struct dsr1_adapter dsr1_adapter;

typedef struct dsr1_adapter_info {
    int rank;                   /* the largest */
    int n_matrices;             /* how many of the model's matrices it changes */
    size_t size;                /* bytes of its numbers as floats */
    float alpha;                /* each pair counts alpha / its rank; 0: once */
} dsr1_adapter_info;

/*
 * Reads the adapter at path for this model. DSR1_ERR_IO, DSR1_ERR_FORMAT where it is none or does not fit the model,
 * DSR1_ERR_UNSUPPORTED for what cannot be served, DSR1_ERR_NOMEM. *adapter is NULL after a failure.
 */
DSR1_API dsr1_status dsr1_adapter_open(const dsr1_model *model, const char *path, dsr1_adapter **adapter,
                                       dsr1_error *err);

/* Accepts NULL. Requests that use it go on: its memory is freed when the last one is over. */
DSR1_API void dsr1_adapter_close(dsr1_adapter *adapter);

DSR1_API void dsr1_adapter_get_info(const dsr1_adapter *adapter, dsr1_adapter_info *info);

/* ------------------------------------------------------------------ */
/* Engine                                                              */
/* ------------------------------------------------------------------ */

typedef struct dsr1_engine dsr1_engine;

/* How a cache keeps numbers. With bf16, attention is computed in bf16, twice as fast where the CPU has such products. */
typedef enum dsr1_kv_type { DSR1_KV_BF16 = 0, DSR1_KV_F32 = 1, DSR1_KV_Q8_0 = 2, DSR1_KV_F16 = 3 } dsr1_kv_type;

/* Zero means the default everywhere. */
typedef struct dsr1_engine_options {
    int n_threads;       /* cores this process may use */
    int context_size;    /* tokens of one request, prompt and answer; min(model, 4096) */
    size_t kv_cache_size;/* bytes for all requests; room for max_batch/4 whole contexts, at most 1 GiB */
    int max_batch;       /* requests running at once; 16 */
    int max_queue;       /* requests waiting, beyond the free places of the batch; 1024 */
    int chunk_size;      /* prompt tokens computed per step; 512, and 256 while requests are being answered */
    dsr1_kv_type kv_type;/* bf16 */
    int n_experts_used;  /* experts that a token is sent to; as many as the file says */
} dsr1_engine_options;

DSR1_API dsr1_status dsr1_engine_open(const dsr1_model *model, const dsr1_engine_options *options,
                                      dsr1_engine **engine, dsr1_error *err);
DSR1_API void dsr1_engine_close(dsr1_engine *engine);   /* accepts NULL; requests end without an event */

typedef enum dsr1_finish {
    DSR1_FINISH_NONE = 0,
    DSR1_FINISH_END = 1,       /* the model ended its answer */
    DSR1_FINISH_STOP = 2,      /* a stop string was met (and is not part of the text) */
    DSR1_FINISH_LENGTH = 3,    /* max_tokens, or the end of the context */
    DSR1_FINISH_CANCELLED = 4,
    DSR1_FINISH_ERROR = 5,
    DSR1_FINISH_TIMEOUT = 6    /* timeout_ms went by */
} dsr1_finish;

typedef struct dsr1_usage {
    int prompt_tokens;         /* of a prompt that was not read to its end, those that were */
    int cached_tokens;         /* of them, found in the KV cache */
    int completion_tokens;
    double queue_ms, prefill_ms, decode_ms;
} dsr1_usage;

typedef enum dsr1_phase {
    DSR1_PHASE_QUEUED = 0,
    DSR1_PHASE_PREFILL = 1,    /* its prompt is being computed */
    DSR1_PHASE_DECODE = 2      /* its answer is */
} dsr1_phase;

typedef enum dsr1_event_type {
    DSR1_EVENT_TOKEN = 1,      /* one more token; text may be empty while a code point or stop string is open */
    DSR1_EVENT_LOGITS = 2,     /* logits of one prompt position (want_logits) */
    DSR1_EVENT_DONE = 3,       /* last event of every request, exactly once */
    DSR1_EVENT_SCORE = 4,      /* log-likelihood of one continuation */
    DSR1_EVENT_EMBEDDING = 5,  /* of the prompt (pooling) */
    DSR1_EVENT_EXPERTS = 6,    /* what the routers chose at one position (want_experts) */
    DSR1_EVENT_PHASE = 7       /* a step begins that computes its prompt, or its answer, for the first time (want_phases) */
} dsr1_event_type;

typedef struct dsr1_top {
    int32_t token;
    float logprob;
} dsr1_top;

/* Pointers are valid in the callback only. */
typedef struct dsr1_event {
    dsr1_event_type type;
    uint64_t request;
    /* TOKEN */
    int32_t token;
    float logprob;             /* of the token under the model's own distribution; see want_logprobs */
    const dsr1_top *top;       /* the n_top most likely tokens, best first */
    int n_top;
    /* TOKEN and DONE: text to append, whole UTF-8 characters, not zero-terminated */
    const char *text;
    size_t text_size;
    const char *reasoning;     /* the same, of what stands within <think> (separate_reasoning) */
    size_t reasoning_size;
    /* LOGITS: n_vocab floats at prompt position `position` */
    const float *logits;
    int position;
    /* SCORE: natural logarithm, summed over the tokens of continuations[index] */
    int index;
    double score;
    /* EMBEDDING: n_embd floats of length 1 */
    const float *embedding;
    int n_embd;
    /* EXPERTS: n_layers x n_experts_used ids at `position` of prompt or answer; 65535 in layers without a router */
    const uint16_t *experts;
    /* PHASE: PREFILL or DECODE; after PREFILL again, it had made way for others */
    dsr1_phase phase;
    /* DONE */
    dsr1_finish finish;
    dsr1_usage usage;
    const dsr1_error *error;   /* with DSR1_FINISH_ERROR, else NULL */
} dsr1_event;

/* Called from within dsr1_engine_step(). May submit and cancel; must not step or close. */
typedef void (*dsr1_event_fn)(const dsr1_event *event, void *user);

typedef enum dsr1_logits_mode { DSR1_LOGITS_NONE = 0, DSR1_LOGITS_LAST = 1, DSR1_LOGITS_ALL = 2 } dsr1_logits_mode;

/*
 * What an answer must be, to its last byte: only tokens are chosen after which
 * it can still be completed within max_tokens. It ends where nothing else can
 * follow, or with an end token where it may. Log-probabilities stay those of
 * the model's own distribution. With reasoning_open the reasoning is free, and
 * the constraint begins behind </think>, which comes in time.
 */
typedef enum dsr1_constraint_kind {
    DSR1_CONSTRAINT_NONE = 0,
    DSR1_CONSTRAINT_CHOICES = 1,     /* one of the texts */
    DSR1_CONSTRAINT_JSON = 2,        /* any JSON value; no text */
    DSR1_CONSTRAINT_JSON_SCHEMA = 3, /* JSON that the schema in text 0 admits */
    DSR1_CONSTRAINT_REGEX = 4,       /* what the expression in text 0 matches as a whole */
    DSR1_CONSTRAINT_GBNF = 5         /* what rule `root` of the grammar in text 0 derives */
} dsr1_constraint_kind;

typedef struct dsr1_constraint {
    dsr1_constraint_kind kind;
    const char *const *texts;
    size_t n_texts;
    bool open_end;      /* the answer may stop anywhere: it is the beginning of what the constraint describes. Its mask then
                           forbids what no such text begins with, and does not hurry to an end */
} dsr1_constraint;

typedef struct dsr1_tokens {
    const int32_t *ids;
    size_t n;
} dsr1_tokens;

typedef enum dsr1_pooling { DSR1_POOLING_NONE = 0, DSR1_POOLING_MEAN = 1, DSR1_POOLING_LAST = 2 } dsr1_pooling;

/*
 * A request. All it points to is copied by submit. Zero is a sensible value for
 * every field but the prompt and max_tokens.
 */
typedef struct dsr1_request {
    const int32_t *tokens;     /* the prompt */
    size_t n_tokens;
    int max_tokens;            /* 0: only evaluate the prompt; negative: to the end of the context */
    float temperature;         /* 0: greedy */
    int top_k;                 /* 0: off */
    float top_p;               /* 0 or 1: off */
    float min_p;               /* 0: off */
    float repeat_penalty;      /* 0 or 1: off; over the last 64 tokens */
    uint64_t seed;
    const char *const *stop;   /* n_stop strings; each may be found across tokens */
    size_t n_stop;
    dsr1_constraint constraint;
    bool heal;                 /* choose the prompt's last token anew, among those that go on from its text, and with it the
                                  others of the same word; the answer's text begins behind them */
    bool ignore_end;           /* go on after an end token (benchmarks) */
    bool special;              /* write the text of control tokens too */
    bool separate_reasoning;   /* what stands within <think></think> goes to event->reasoning */
    bool reasoning_open;       /* the prompt ended in <think> */
    bool no_draft;             /* never guess tokens ahead, by look-up or by the model's own block; only the speed differs */
    bool want_logprobs;        /* of every token; else those that a constraint forces have a logprob of NAN */
    int n_top;                 /* also the most likely tokens at each place, at most DSR1_TOP_MAX */
    dsr1_logits_mode want_logits;
    dsr1_pooling pooling;      /* one EMBEDDING event; max_tokens must be 0 */
    bool want_experts;         /* an EXPERTS event for each position that is computed, in order (cached ones are not) */
    bool want_phases;          /* PHASE events */
    dsr1_adapter *adapter;     /* of the same model, or NULL */
    const dsr1_tokens *continuations;   /* one SCORE event each, on the prompt computed once; max_tokens must be 0 */
    size_t n_continuations;
    int priority;              /* larger runs first; interactive 0, batch -1 */
    uint64_t scope;            /* cached prefixes are shared within a scope only: a role, a database */
    uint64_t client;           /* clients of one priority take turns */
    double timeout_ms;         /* from submit; 0: none */
    dsr1_event_fn on_event;
    void *user;
} dsr1_request;

enum { DSR1_TOP_MAX = 20 };

/*
 * Queues a request. Callable from any thread. DSR1_ERR_LIMIT when the prompt
 * does not fit the context, DSR1_ERR_BUSY when the queue is full,
 * DSR1_ERR_ARGUMENT for a token out of range, a bad option or a constraint that
 * cannot be read, DSR1_ERR_UNSUPPORTED for one that asks for something unknown.
 * After a failure no event is sent.
 */
DSR1_API dsr1_status dsr1_engine_submit(dsr1_engine *engine, const dsr1_request *request, uint64_t *id,
                                        dsr1_error *err);

/*
 * Asks for a request to end; its DONE event comes from a later step, before
 * another token is computed for it. Callable from any thread; an unknown or
 * finished id is ignored.
 */
DSR1_API void dsr1_engine_cancel(dsr1_engine *engine, uint64_t id);

typedef struct dsr1_progress {
    dsr1_phase phase;
    int prompt_tokens;                       /* of the prompt; known while it waits, too */
    int cached_tokens;                       /* of them, found computed */
    int completion_tokens;
} dsr1_progress;

/*
 * How far a request was after the last step. Callable from any thread; false
 * for an unknown or finished id.
 */
DSR1_API bool dsr1_engine_get_progress(const dsr1_engine *engine, uint64_t id, dsr1_progress *progress);

/*
 * Computes one batch. Returns the number of requests that are not done yet (0:
 * idle, nothing to do until the next submit), or a negative dsr1_status after
 * which the engine can only be closed. One thread at a time.
 */
DSR1_API int dsr1_engine_step(dsr1_engine *engine, dsr1_error *err);

typedef struct dsr1_engine_stats {
    int n_threads, context_size, max_batch;
    int n_running, n_queued;
    size_t kv_used, kv_size;                 /* bytes */
    uint64_t n_requests, n_finished, n_cancelled, n_failed;
    uint64_t prompt_tokens, cached_tokens, completion_tokens;   /* cached ones count as prompt, too */
    uint64_t n_steps, n_step_rows;           /* mean batch = n_step_rows / n_steps */
    uint64_t n_preempted;                    /* requests that had to make room and were taken up again later */
    uint64_t n_forced;                       /* tokens that a constraint left no choice about */
    uint64_t n_drafted, n_accepted;          /* tokens guessed ahead, and guessed right */
    double prefill_s, decode_s;              /* time spent in steps, split by rows */
} dsr1_engine_stats;

DSR1_API void dsr1_engine_get_stats(const dsr1_engine *engine, dsr1_engine_stats *stats);

/* The instruction set in use: "scalar", "avx2", "avxvnni", "avx512" or "avx512bf16". DSR1_CPU lowers it. */
DSR1_API const char *dsr1_cpu_name(void);

#ifdef __cplusplus
}
#endif

#endif
