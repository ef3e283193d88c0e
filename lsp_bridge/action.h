/*
 * action.h - work on a piece of code that was asked for: explain, document, test, fix, rewrite
 *
 * Listing them costs nothing; the model runs when one is chosen. It is asked as
 * in a chat, with the code and what the user wants, and its answer becomes a
 * change of the workspace or a text to read.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_ACTION_H
#define LSP_ACTION_H

#include "base/buffer.h"
#include "polish.h"
#include "dsr1.h"

#include <jansson.h>

enum action_kind { ACTION_EXPLAIN, ACTION_DOCUMENT, ACTION_TESTS, ACTION_FIX, ACTION_REWRITE, ACTION_KINDS };

struct action_about {
    const char *name;       /* of the command: "dsr1.explain" */
    const char *title;      /* in menus */
    const char *lsp_kind;   /* CodeActionKind */
};
extern const struct action_about action_about[ACTION_KINDS];

/* The kind with this command name, or -1. */
int action_find(const char *name);

struct action {
    enum action_kind kind;
    json_t *range;          /* of the code, as the client said it, widened to whole lines; owned */
    char *uri, *language;
    long long version;      /* of the document */
    struct buffer code;     /* the lines of the range */
    struct buffer nearby;   /* lines before it, so that the model knows what surrounds it */
    char *wish;             /* what to change (rewrite), what is wrong (fix); or "" */
    char *indent;           /* white space before the first line of the code */
    char *line_end;
    bool resolve;           /* the answer is the edit of a resolved code action, not a change that we ask for */
    json_t *original;       /* the action that is resolved; owned */
    json_t *token;          /* for progress, or NULL; owned */
    bool own_token;         /* we made it, and the client has to allow it */
    struct draft draft;     /* what the model wrote so far */
    bool failed;
    double told_at;         /* when progress was told last; 0: never */
};

void action_free(struct action *action);    /* accepts NULL */

/* The messages that ask for it: system and user. Contents are owned by the buffers. */
void action_messages(const struct action *action, struct buffer *system, struct buffer *user);

/*
 * The answer without the talk around it: what stands in the first ``` block if
 * there is one; of an explanation all of it. Ends with a line end where it is code.
 */
void action_answer(const struct action *action, const char *text, size_t size, struct buffer *out);

/*
 * The WorkspaceEdit for an answer, or NULL where it is only read. Tests become
 * a new file where the client can create one, else they follow the code.
 */
json_t *action_edit(const struct action *action, const char *answer, bool can_create, bool versioned);

#endif
