/*
 * lane.h - who waits: one line of requests for each client and priority
 *
 * Within a lane, first come, first served. Between lanes of one priority, the
 * one that has been served least goes next (start-time fair queueing, Goyal et
 * al. 1996, with rows of a step as the unit), so that a client with a thousand
 * requests does not hold up one with a single one. A lane exists as long as it
 * has requests, waiting or running; a new one starts level with the least
 * served, so that nobody saves up turns.
 *
 * Not locked: the engine's lock guards all of it.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef SERVE_LANE_H
#define SERVE_LANE_H

#include "serve/request.h"

struct lane {
    struct lane *next;
    uint64_t client;
    int priority;
    int n_live;                     /* requests that belong here, waiting or running */
    double served;                  /* rows computed for them */
    struct request *first, *last;   /* waiting */
};

/* The lane of a new request, which then counts as live; NULL: no memory. */
struct lane *lane_join(struct lane **lanes, uint64_t client, int priority);

/* A live request is over; an empty lane goes. */
void lane_leave(struct lane **lanes, struct lane *lane);

void lane_append(struct lane *lane, struct request *request);
void lane_put_back(struct lane *lane, struct request *request);     /* in front */
struct request *lane_take(struct lane *lane);
void lane_remove(struct lane *lane, struct request *request);

/*
 * The lane behind `after` (NULL: the first) in the order in which waiting
 * requests should be considered: by priority, then least served. NULL: no more.
 * Looks at every lane, of which there are as many as active clients.
 */
struct lane *lane_next(struct lane *lanes, const struct lane *after);

#endif
