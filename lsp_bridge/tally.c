/*
 * tally.c - what the server did, counted
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "tally.h"

#include "polish.h"

json_t *tally_json(const struct tally *tally)
{
    static const char *const names[TALLY_KINDS] = {
        "invoked",   "automatic", "completion", "shown",        "nothing",      "notReady",
        "notWanted", "superseded", "cancelled", "failed",       "fromRecall",   "resumed",
        "promptTokens", "cachedTokens", "completionTokens", "accepted", "shownReported", "partlyAccepted",
        "lineAccepted", "wordAccepted", "prefixAccepted", "typedThrough", "rejected", "survived", "changedLater",
        "actions", "speculated", "warmedUp",
    };
    json_t *all = json_object(), *polish = json_object();
    for (int i = 0; i < TALLY_KINDS; i++)
        json_object_set_new(all, names[i], json_integer((json_int_t) atomic_load(&tally->counts[i])));
    for (int i = 0; i < POLISH_STEPS; i++)
        json_object_set_new(polish, polish_names[i], json_integer((json_int_t) atomic_load(&polish_counts[i])));
    json_object_set_new(all, "polish", polish);
    return all;
}
