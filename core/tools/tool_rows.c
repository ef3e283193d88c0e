/*
 * tool_rows.c - reading a row of logits
 *
 * In double: vocabularies are large, and these sums are what gets reported.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "tools/tool.h"

#include <math.h>
#include <stdio.h>

double tool_log_sum(const float *row, int n)
{
    float max = row[0];
    for (int i = 1; i < n; i++)
        if (row[i] > max)
            max = row[i];
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += exp((double) row[i] - (double) max);
    return log(sum) + (double) max;
}

/* Insertion into a short sorted list: k is small, n is not. */
int tool_top(const float *row, int n, int k, int32_t *ids)
{
    int found = 0;
    for (int i = 0; i < n; i++) {
        if (found == k && !(row[i] > row[ids[k - 1]]))
            continue;
        int at = found < k ? found++ : k - 1;
        for (; at > 0 && row[i] > row[ids[at - 1]]; at--)
            ids[at] = ids[at - 1];
        ids[at] = i;
    }
    return found;
}

json_t *tool_token_json(const dsr1_model *model, int32_t token, const char *figure, double value)
{
    char text[TOOL_TOKEN_TEXT], hex[2 * TOOL_TOKEN_TEXT + 1];
    size_t size = dsr1_token_bytes(model, token, true, text, sizeof text);
    size = size < sizeof text ? size : sizeof text;
    json_t *object = json_pack("{s:i, s:f}", "id", (int) token, figure, value);
    json_t *string = json_stringn(text, size);
    if (!string) {
        for (size_t i = 0; i < size; i++)
            snprintf(hex + 2 * i, 3, "%02x", (unsigned char) text[i]);
        hex[2 * size] = 0;
        json_object_set_new(object, "hex", json_string(hex));
    } else {
        json_object_set_new(object, "text", string);
    }
    return object;
}
