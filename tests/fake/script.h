/*
 * script.h - what a text tells the fake engine to do with it
 *
 * Orders stand in brackets anywhere in the text; what is left is echoed. With
 * "-once NAME" an order is obeyed the first time only, even by a later engine:
 * an empty file of that name below the working directory remembers it.
 *
 *     [as N]                answer as model number N, instead of --model's
 *     [delay MS]            answer so much later; others overtake it
 *     [hang]                never answer
 *     [die N]               SIGKILL itself after N pieces of a streamed answer; 0: at once
 *     [garbage]             bytes that are no frame
 *     [cut]                 half an answer, then hang up
 *     [goodbye]             end in good order, unanswered
 *     [freeze]              no answers and no beats any more, to anybody
 *     [error STATUS TEXT]   answer with that dsr1_status
 *     [say TEXT]            answer TEXT, where %XX is a byte
 *     [long N]              answer N bytes
 *     [wrong]               an answer of another kind
 *     [twice]               the answer, and once more
 *
 *     [die-once NAME N]     and so on for every order
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef FAKE_SCRIPT_H
#define FAKE_SCRIPT_H

#include "base/buffer.h"
#include "wire/wire_field.h"

enum script_order {
    SCRIPT_ANSWER, SCRIPT_HANG, SCRIPT_DIE, SCRIPT_GARBAGE, SCRIPT_CUT, SCRIPT_GOODBYE, SCRIPT_FREEZE, SCRIPT_ERROR,
    SCRIPT_WRONG, SCRIPT_TWICE
};

struct script {
    enum script_order order;
    int number;                 /* STATUS or N */
    int delay_ms;
    int model;                  /* [as N]; 0: the engine's own */
    bool said;                  /* answer is what a [say] or [long] wants, else the echo */
    struct buffer answer;       /* also the message of an error */
};

/* Reads a text's orders; the owner frees script->answer. */
void script_read(struct script *script, struct wire_text text);

#endif
