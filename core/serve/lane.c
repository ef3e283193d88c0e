/*
 * lane.c - who waits: one line of requests for each client and priority
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "serve/lane.h"

#include "base/memory.h"

#include <stdlib.h>

static double least_served(const struct lane *lanes, int priority)
{
    double least = 0;
    bool found = false;
    for (const struct lane *l = lanes; l; l = l->next)
        if (l->priority == priority && (!found || l->served < least)) {
            least = l->served;
            found = true;
        }
    return least;
}

struct lane *lane_join(struct lane **lanes, uint64_t client, int priority)
{
    struct lane *lane = *lanes;
    while (lane && (lane->client != client || lane->priority != priority))
        lane = lane->next;
    if (!lane) {
        lane = memory_array(1, sizeof *lane);
        if (!lane)
            return NULL;
        *lane = (struct lane){.next = *lanes, .client = client, .priority = priority,
                              .served = least_served(*lanes, priority)};
        *lanes = lane;
    }
    lane->n_live++;
    return lane;
}

void lane_leave(struct lane **lanes, struct lane *lane)
{
    if (--lane->n_live > 0)
        return;
    while (*lanes != lane)
        lanes = &(*lanes)->next;
    *lanes = lane->next;
    free(lane);
}

void lane_append(struct lane *lane, struct request *request)
{
    request->next = NULL;
    if (lane->last)
        lane->last->next = request;
    else
        lane->first = request;
    lane->last = request;
}

void lane_put_back(struct lane *lane, struct request *request)
{
    request->next = lane->first;
    lane->first = request;
    if (!lane->last)
        lane->last = request;
}

struct request *lane_take(struct lane *lane)
{
    struct request *request = lane->first;
    lane->first = request->next;
    if (!lane->first)
        lane->last = NULL;
    request->next = NULL;
    return request;
}

void lane_remove(struct lane *lane, struct request *request)
{
    struct request *before = NULL;
    for (struct request *r = lane->first; r != request; r = r->next)
        before = r;
    if (before)
        before->next = request->next;
    else
        lane->first = request->next;
    if (lane->last == request)
        lane->last = before;
    request->next = NULL;
}

/* Does a come before b? Lanes that are level go by client, so that the order is one. */
static bool precedes(const struct lane *a, const struct lane *b)
{
    if (a->priority != b->priority)
        return a->priority > b->priority;
    if (a->served != b->served)
        return a->served < b->served;
    return a->client < b->client;
}

struct lane *lane_next(struct lane *lanes, const struct lane *after)
{
    struct lane *best = NULL;
    for (struct lane *l = lanes; l; l = l->next)
        if (l->first && (!after || precedes(after, l)) && (!best || precedes(l, best)))
            best = l;
    return best;
}
