/*
 * tool_info.c - dsr1 info: what a model file is
 *
 * The container is described even where dsr1 cannot run the model, and the
 * reason is given then.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "tools/tool.h"

#include "base/error.h"
#include "gguf/gguf.h"

#include <stdio.h>
#include <string.h>

struct info {
    const char *path;
    bool json, keys, tensors;
    struct gguf *gguf;
    dsr1_model *model;      /* NULL where dsr1 cannot run it: */
    dsr1_error reason;
};

struct type_sum {
    size_t n_tensors, size;
    uint64_t n_weights;
};

static uint64_t n_weights(const struct gguf_tensor *tensor)
{
    return (uint64_t) tensor->ne[0] * (uint64_t) tensor->ne[1] * (uint64_t) tensor->ne[2] * (uint64_t) tensor->ne[3];
}

/* One sum a type, and the sum of all in sums[TENSOR_TYPES]. */
static void sum_types(const struct gguf *gguf, struct type_sum *sums)
{
    memset(sums, 0, (TENSOR_TYPES + 1) * sizeof *sums);
    for (size_t i = 0; i < gguf_n_tensors(gguf); i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(gguf, i);
        struct type_sum *to[] = {&sums[tensor->type], &sums[TENSOR_TYPES]};
        for (int s = 0; s < 2; s++) {
            to[s]->n_tensors++;
            to[s]->size += tensor->size;
            to[s]->n_weights += n_weights(tensor);
        }
    }
}

static struct gguf_string text_key(const struct gguf *gguf, const char *key)
{
    struct gguf_string value = {"", 0};
    gguf_get_string(gguf, key, &value, NULL);
    return value;
}

/* "1.23 GiB" */
static const char *human_size(uint64_t size, char *text, size_t room)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double value = (double) size;
    int unit = 0;
    while (value >= 1024 && unit < 4) {
        value /= 1024;
        unit++;
    }
    snprintf(text, room, unit ? "%.2f %s" : "%.0f %s", value, units[unit]);
    return text;
}

static const char *human_count(uint64_t count, char *text, size_t room)
{
    static const char *const units[] = {"", " K", " M", " B", " T"};
    double value = (double) count;
    int unit = 0;
    while (value >= 1000 && unit < 4) {
        value /= 1000;
        unit++;
    }
    snprintf(text, room, unit ? "%.2f%s" : "%.0f%s", value, units[unit]);
    return text;
}

static const char *key_type_name(enum gguf_type type)
{
    static const char *const names[GGUF_TYPES] = {"u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string",
                                                  "array", "u64", "i64", "f64"};
    return (unsigned) type < GGUF_TYPES ? names[type] : "unknown";
}

/* The key as a C string: bytes in a file are printed as they are but for controls. */
static void printable(struct gguf_string string, size_t most, struct buffer *out)
{
    for (size_t i = 0; i < string.size && i < most; i++) {
        unsigned char c = (unsigned char) string.bytes[i];
        if (c < 32 || c == 127)
            buffer_printf(out, "\\x%02x", c);
        else
            buffer_append(out, &c, 1);
    }
    if (string.size > most)
        buffer_string(out, "...");
}

static void print_value(const struct gguf *gguf, const char *key, enum gguf_type type, struct buffer *out)
{
    int64_t whole = 0;
    float number = 0;
    bool yes = false;
    struct gguf_string text = {"", 0};
    struct gguf_array array = {0};
    switch (type) {
    case GGUF_F32:
    case GGUF_F64:
        gguf_get_float(gguf, key, &number, NULL);
        buffer_printf(out, "%g", (double) number);
        break;
    case GGUF_BOOL:
        gguf_get_bool(gguf, key, &yes, NULL);
        buffer_string(out, yes ? "true" : "false");
        break;
    case GGUF_STRING:
        gguf_get_string(gguf, key, &text, NULL);
        printable(text, 60, out);
        break;
    case GGUF_ARRAY:
        gguf_get_array(gguf, key, &array, NULL);
        buffer_printf(out, "%zu of %s", array.n, key_type_name(array.type));
        break;
    default:
        if (gguf_get_int(gguf, key, &whole, NULL) == DSR1_OK)
            buffer_printf(out, "%lld", (long long) whole);
        else
            buffer_string(out, "over 63 bits");
    }
}

static dsr1_status print_keys(const struct gguf *gguf, dsr1_error *err)
{
    struct buffer out = {0}, key = {0};
    buffer_string(&out, "\nkeys\n");
    for (size_t i = 0; i < gguf_n_keys(gguf); i++) {
        struct gguf_string name = gguf_key_at(gguf, i);
        enum gguf_type type = gguf_key_type_at(gguf, i);
        key.size = 0;
        buffer_append(&key, name.bytes, name.size);
        buffer_string(&out, "  ");
        printable(name, 200, &out);
        buffer_printf(&out, " (%s) = ", key_type_name(type));
        if (!key.failed)
            print_value(gguf, key.data, type, &out);
        buffer_string(&out, "\n");
    }
    bool failed = out.failed || key.failed;
    if (!failed)
        fwrite(out.data, 1, out.size, stdout);
    buffer_free(&key);
    buffer_free(&out);
    return failed ? error_nomem(err, "the list of keys") : DSR1_OK;
}

static void print_tensors(const struct gguf *gguf)
{
    char text[40];
    puts("\ntensors");
    for (size_t i = 0; i < gguf_n_tensors(gguf); i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(gguf, i);
        char shape[100];
        int n = 0;
        for (int d = 0; d < tensor->n_dims && n >= 0 && (size_t) n < sizeof shape; d++)
            n += snprintf(shape + n, sizeof shape - (size_t) n, "%s%lld", d ? " x " : "", (long long) tensor->ne[d]);
        printf("  %-44s %-7s %-24s %s\n", tensor->name, tensor_type_name(tensor->type), shape,
               human_size(tensor->size, text, sizeof text));
    }
}

static dsr1_status print_text(const struct info *o, const struct type_sum *sums, dsr1_error *err)
{
    char text[40];
    struct gguf_string name = text_key(o->gguf, "general.name");
    struct gguf_string architecture = text_key(o->gguf, "general.architecture");
    printf("file          %s\n", o->path);
    printf("name          %.*s\n", (int) name.size, name.bytes);
    printf("architecture  %.*s\n", (int) architecture.size, architecture.bytes);
    printf("parameters    %s\n", human_count(sums[TENSOR_TYPES].n_weights, text, sizeof text));
    printf("tensors       %zu, %s\n", sums[TENSOR_TYPES].n_tensors,
           human_size(sums[TENSOR_TYPES].size, text, sizeof text));
    for (int t = 0; t < TENSOR_TYPES; t++)
        if (sums[t].n_tensors)
            printf("  %-11s %zu tensors, %s\n", tensor_type_name((uint32_t) t), sums[t].n_tensors,
                   human_size(sums[t].size, text, sizeof text));
    if (o->model) {
        dsr1_model_info info;
        dsr1_model_get_info(o->model, &info);
        printf("layers        %d\nembedding     %d\nvocabulary    %d\ncontext       %d\n", info.n_layers, info.n_embd,
               info.n_vocab, info.n_context_train);
        if (info.n_experts)
            printf("experts       %d, %d used by a token\n", info.n_experts, info.n_experts_used);
        printf("chat          %s\n", *info.template_name ? info.template_name : "no template that dsr1 knows");
        printf("fill-in       %s\n", info.has_fim ? "yes" : "no");
        printf("runs          yes\n");
    } else {
        printf("runs          no: %s\n", o->reason.message);
    }
    dsr1_status status = o->keys ? print_keys(o->gguf, err) : DSR1_OK;
    if (o->tensors)
        print_tensors(o->gguf);
    return status == DSR1_OK ? tool_flush(err) : status;
}

static json_t *json_text(struct gguf_string text)
{
    json_t *value = json_stringn(text.bytes, text.size);
    return value ? value : json_string("");     /* not UTF-8 */
}

static json_t *json_types(const struct type_sum *sums)
{
    json_t *types = json_object();
    for (int t = 0; t < TENSOR_TYPES; t++)
        if (sums[t].n_tensors)
            json_object_set_new(types, tensor_type_name((uint32_t) t),
                                json_pack("{s:I, s:I}", "tensors", (json_int_t) sums[t].n_tensors, "bytes",
                                          (json_int_t) sums[t].size));
    return types;
}

static json_t *json_tensors(const struct gguf *gguf)
{
    json_t *list = json_array();
    for (size_t i = 0; i < gguf_n_tensors(gguf); i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(gguf, i);
        json_t *shape = json_array();
        for (int d = 0; d < tensor->n_dims; d++)
            json_array_append_new(shape, json_integer(tensor->ne[d]));
        json_array_append_new(list, json_pack("{s:o, s:s, s:o, s:I}", "name",
                                              json_text((struct gguf_string){tensor->name, strlen(tensor->name)}),
                                              "type", tensor_type_name(tensor->type), "shape", shape, "bytes",
                                              (json_int_t) tensor->size));
    }
    return list;
}

static dsr1_status print_json(const struct info *o, const struct type_sum *sums, dsr1_error *err)
{
    json_t *root = json_pack("{s:s, s:o, s:o, s:I, s:I, s:I, s:o, s:b}", "file", o->path, "name",
                             json_text(text_key(o->gguf, "general.name")), "architecture",
                             json_text(text_key(o->gguf, "general.architecture")), "parameters",
                             (json_int_t) sums[TENSOR_TYPES].n_weights, "tensors",
                             (json_int_t) sums[TENSOR_TYPES].n_tensors, "bytes",
                             (json_int_t) sums[TENSOR_TYPES].size, "types", json_types(sums), "runs",
                             o->model != NULL);
    if (root && o->model) {
        dsr1_model_info info;
        dsr1_model_get_info(o->model, &info);
        json_t *more = json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:s, s:s, s:b, s:i, s:i}", "layers", info.n_layers,
                                 "embedding", info.n_embd, "vocabulary", info.n_vocab, "context",
                                 info.n_context_train, "experts", info.n_experts, "experts_used",
                                 info.n_experts_used, "chat", info.template_name, "file_type", info.file_type, "fim",
                                 info.has_fim, "bos", info.bos, "eos", info.eos);
        json_object_update(root, more);
        json_decref(more);
    } else if (root) {
        json_object_set_new(root, "reason", json_string(o->reason.message));
    }
    if (root && o->tensors)
        json_object_set_new(root, "tensor_list", json_tensors(o->gguf));
    return tool_print_json(root, err);
}

int tool_info(int argc, char **argv)
{
    struct info o = {0};
    const char *given = NULL;
    const struct option_row rows[] = {
        TOOL_MODEL_ROW(&given),
        {0, "keys", OPTION_FLAG, &o.keys, NULL, "list the keys too", 0, 0},
        {0, "tensors", OPTION_FLAG, &o.tensors, NULL, "list the tensors too", 0, 0},
        {0, "json", OPTION_FLAG, &o.json, NULL, "print one JSON object", 0, 0},
        {0},
    };
    const struct command_line line = {"dsr1 info", "[MODEL] [--keys] [--tensors] [--json]",
                                      "Prints what a GGUF file holds: architecture, sizes, weight formats, and whether\n"
                                      "dsr1 can run it.", rows, 1};
    int first, go = options_parse(&line, argc, argv, &first);
    if (go != OPTIONS_GO)
        return go;

    struct type_sum sums[TENSOR_TYPES + 1];
    dsr1_error err = {0};
    o.path = tool_model_path(first < argc ? argv[first] : given, &err);
    dsr1_status status = o.path ? gguf_open(o.path, &o.gguf, &err) : DSR1_ERR_IO;
    if (status == DSR1_OK) {
        dsr1_model_open(o.path, &o.model, &o.reason);
        sum_types(o.gguf, sums);
        status = o.json ? print_json(&o, sums, &err) : print_text(&o, sums, &err);
    }
    dsr1_model_close(o.model);
    gguf_close(o.gguf);
    return status == DSR1_OK ? 0 : tool_fail("info", &err);
}
