/*
 * handle.h - what the public handles stand for
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef API_HANDLE_H
#define API_HANDLE_H

#include "model/model.h"
#include "text/chat.h"
#include "text/tokenizer.h"

struct dsr1_model {
    char *path;
    char *name;
    struct model model;
    struct tokenizer *tokenizer;
    struct chat_template chat;
};

#endif
