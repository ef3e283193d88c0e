/*
 * reward.c - what an answer is worth: built-in rewards
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/reward.h"

#include "base/error.h"

#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ------------------------------------------------------------------ */
/* JSON                                                                */
/* ------------------------------------------------------------------ */

static json_t *meta_of(const struct reward_item *item)
{
    return json_loads(item->meta, JSON_DECODE_ANY, NULL);
}

static bool filled(const json_t *value)
{
    return value && !json_is_null(value) && !(json_is_string(value) && json_string_length(value) == 0);
}

static bool is_type(const json_t *value, const char *type)
{
    if (strcmp(type, "number") == 0)
        return json_is_number(value);
    if (strcmp(type, "boolean") == 0)
        return json_is_boolean(value);
    static const char *const names[] = {[JSON_OBJECT] = "object", [JSON_ARRAY] = "array", [JSON_STRING] = "string",
                                        [JSON_INTEGER] = "integer"};
    size_t kind = (size_t) json_typeof(value);
    return kind < sizeof names / sizeof *names && strcmp(type, names[kind]) == 0;
}

/* Letters' case and space around a text do not count: "Red" is the red that was asked for. */
static bool is_value(const json_t *value, const json_t *wanted)
{
    if (json_is_number(value) && json_is_number(wanted))
        return json_number_value(value) == json_number_value(wanted);
    if (!json_is_string(value) || !json_is_string(wanted))
        return json_equal(value, wanted);
    const char *text = json_string_value(value), *other = json_string_value(wanted);
    size_t size = strlen(other);
    while (isspace((unsigned char) *text))
        text++;
    return strncasecmp(text, other, size) == 0 && text[size + strspn(text + size, " \t\r\n")] == 0;
}

/* What a key is worth: nothing without a value, half where the value is not what meta says of it. */
static double worth_of_key(const json_t *meta, const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key), *wanted = json_object_get(json_object_get(meta, "values"), key);
    const char *type = json_string_value(json_object_get(json_object_get(meta, "types"), key));
    if (!filled(value))
        return 0;
    return (type && !is_type(value, type)) || (wanted && !is_value(value, wanted)) ? 0.5 : 1;
}

/* The share of wanted keys that are there with the right values, less what nobody asked for. */
static double share_of_keys(const json_t *meta, const json_t *object)
{
    const json_t *keys = json_object_get(meta, "keys");
    size_t wanted = json_array_size(keys), found = 0;
    double worth = 0;
    for (size_t i = 0; i < wanted; i++) {
        const char *name = json_string_value(json_array_get(keys, i));
        found += name && filled(json_object_get(object, name));
        worth += name ? worth_of_key(meta, object, name) : 0;
    }
    size_t more = json_object_size(object) > found ? json_object_size(object) - found : 0;
    double share = wanted > 0 ? worth / (double) wanted : 1;
    return share / (1 + 0.5 * (double) more);
}

/* Text around an object is worth a little: there must be a way up to the object alone. */
static double json_reward(const struct reward_item *item)
{
    json_t *meta = meta_of(item);
    json_t *value = json_loadb(item->answer, item->size, JSON_REJECT_DUPLICATES, NULL);
    double reward = 0;
    if (!json_is_array(json_object_get(meta, "keys"))) {
        reward = NAN;
    } else if (json_is_object(value)) {
        reward = 0.4 + 0.6 * share_of_keys(meta, value);
    } else {
        const char *open = memchr(item->answer, '{', item->size);
        json_t *inner = NULL;
        if (open)
            inner = json_loadb(open, item->size - (size_t) (open - item->answer),
                               JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, NULL);
        if (json_is_object(inner))
            reward = 0.1 + 0.2 * share_of_keys(meta, inner);
        else if (open)
            reward = 0.05;
        json_decref(inner);
    }
    json_decref(value);
    json_decref(meta);
    return reward;
}

/* ------------------------------------------------------------------ */
/* Texts                                                               */
/* ------------------------------------------------------------------ */

static bool same_trimmed(const struct reward_item *item, const char *wanted)
{
    const char *from = item->answer, *to = item->answer + item->size;
    while (from < to && isspace((unsigned char) *from))
        from++;
    while (to > from && isspace((unsigned char) to[-1]))
        to--;
    return wanted && strlen(wanted) == (size_t) (to - from) && memcmp(wanted, from, (size_t) (to - from)) == 0;
}

static double match_reward(const struct reward_item *item)
{
    json_t *meta = meta_of(item);
    const char *answer = json_string_value(json_object_get(meta, "answer"));
    double reward = !answer ? NAN : same_trimmed(item, answer);
    json_decref(meta);
    return reward;
}

static double label_reward(const struct reward_item *item)
{
    json_t *meta = meta_of(item), *label;
    const char *answer = json_string_value(json_object_get(meta, "answer"));
    double reward = !answer ? NAN : same_trimmed(item, answer);
    size_t i;
    json_array_foreach(json_object_get(meta, "labels"), i, label)
        if (reward == 0 && same_trimmed(item, json_string_value(label)))
            reward = 0.1;
    json_decref(meta);
    return reward;
}

static double length_reward(const struct reward_item *item)
{
    json_t *meta = meta_of(item);
    double target = json_number_value(json_object_get(meta, "tokens"));
    json_decref(meta);
    return target > 0 ? 1 - fabs((double) item->n_tokens - target) / target : NAN;
}

/* ------------------------------------------------------------------ */
/* All of them                                                         */
/* ------------------------------------------------------------------ */

dsr1_status reward_open(const char *name, struct reward *reward, dsr1_error *err)
{
    static const struct {
        const char *name;
        reward_fn fn;
    } all[] = {{"json", json_reward}, {"label", label_reward}, {"match", match_reward}, {"length", length_reward}};
    *reward = (struct reward){0};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(name, all[i].name) == 0)
            reward->built_in = all[i].fn;
    if (!reward->built_in)
        return error_set(err, DSR1_ERR_ARGUMENT, "no reward %s: there are json, label, match and length", name);
    return DSR1_OK;
}

dsr1_status reward_open_command(const char *command, double timeout, struct reward *reward, dsr1_error *err)
{
    *reward = (struct reward){0};
    return reward_command_open(command, timeout, &reward->command, err);
}

dsr1_status reward_open_socket(int fd, struct reward *reward, dsr1_error *err)
{
    *reward = (struct reward){0};
    return reward_command_open_socket(fd, &reward->command, err);
}

void reward_close(struct reward *reward)
{
    reward_command_close(reward->command);
    *reward = (struct reward){0};
}

void reward_failed(struct reward *reward, const char *why)
{
    reward->n_errors++;
    snprintf(reward->last_error, sizeof reward->last_error, "%s", why);
}

dsr1_status reward_score(struct reward *reward, const struct reward_item *items, int n, double *values, dsr1_error *err)
{
    reward->n_errors = 0;
    if (reward->command)
        return reward_command_score(reward, items, n, values, err);
    for (int i = 0; i < n; i++) {
        values[i] = reward->built_in(&items[i]);
        if (isnan(values[i]))
            reward_failed(reward, "the prompt's meta lacks what the reward wants");
    }
    return DSR1_OK;
}
