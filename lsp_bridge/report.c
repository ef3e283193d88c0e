/*
 * report.c - why a suggestion looks as it does, as one JSON object
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "report.h"

static json_t *text_json(const struct buffer *text)
{
    json_t *json = json_stringn(text->data ? text->data : "", text->size);
    return json ? json : json_string(""); /* ill-formed: the raw text of a strange model */
}

json_t *report_json(const struct job *job)
{
    const struct job_report *report = &job->report;
    json_t *cut = json_array();
    for (int i = 0; i < POLISH_STEPS; i++) {
        if (job->hits & 1u << i)
            json_array_append_new(cut, json_string(polish_names[i]));
    }
    json_t *json = json_pack(
        "{s: s, s: s, s: I, s: I, s: s, s: s, s: s, s: I, s: I, s: I, s: i, s: i, s: i, s: i, s: i, s: b, s: b, s: f, s: f, s: f, s: f, s: f, s: o, s: o, s: o}",
        "kind", job_kind_name(job->kind), "uri", job->uri, "line", (json_int_t) job->line,
        "character", (json_int_t) job->column, "source", job_source_name(report->source),
        "mode", job->line_only ? "line" : "block", "prompt", job_prompt_name(report->prompt),
        "contextBytes", (json_int_t) report->context_bytes, "prefixBytes", (json_int_t) report->prefix_bytes, "suffixBytes", (json_int_t) report->suffix_bytes,
        "promptTokens", report->prompt_tokens, "suffixTokens", report->suffix_tokens, "cachedTokens", report->cached_tokens,
        "evaluatedTokens", report->prompt_tokens - report->cached_tokens,
        "completionTokens", report->completion_tokens, "healed", report->healed, "masked", report->masked,
        "bridgeMs", report->bridge_ms, "bridgeCpuMs", report->bridge_cpu_ms, "waitMs", report->wait_ms, "firstTokenMs", report->first_ms, "totalMs", report->total_ms,
        "modelText", text_json(&report->raw), "shown", text_json(&job->text), "changedBy", cut);
    const char *outcome = report->dropped ? "dropped" : *report->error ? "failed" : job->text.size > 0 ? "shown" : "empty";
    if (json)
        json_object_set_new(json, "outcome", json_string(outcome));
    if (json && report->dropped)
        json_object_set_new(json, "idleMs", json_real(report->idle_ms));
    if (json && *report->error)
        json_object_set_new(json, "error", json_string(report->error));
    return json;
}
