/*
 * test_lsp_code_grammar.c - what masks forbid at a place, and what they leave alone
 *
 * Places are written with the cursor as |. A text is put through the tokenizer and
 * token by token through the mask, as if a model wrote it.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "constrain/constraint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "code_grammar.h"
#include "lsp_place.h"
#include "shipped_tokens.h"

#include <string.h>

static struct constraint *compile(const char *gbnf)
{
    struct constraint *c;
    dsr1_error err = {0};
    dsr1_constraint from = {.kind = DSR1_CONSTRAINT_GBNF, .texts = &gbnf, .n_texts = 1, .open_end = true};
    if (constraint_open(table, &from, &c, &err) < 0)
        fail_msg("%s\n%s", err.message, gbnf);
    return c;
}

/* How much of the text the mask allows, in bytes. */
static size_t allowed(struct constraint *c, const char *text)
{
    int32_t ids[500];
    ptrdiff_t n = tokenizer_encode(file.tokenizer, text, strlen(text), 0, ids, 500);
    struct constraint_state *state;
    size_t bytes = 0;
    assert_int_equal(constraint_begin(c, &state, NULL), DSR1_OK);
    for (ptrdiff_t i = 0; i < n; i++) {
        const uint64_t *mask = constraint_mask(state, -1);
        assert_non_null(mask);
        if (!(mask[ids[i] / 64] >> (ids[i] % 64) & 1))
            break;
        assert_true(constraint_accept(state, ids[i]));
        bytes += tokenizer_token_bytes(file.tokenizer, ids[i], false, NULL, 0);
    }
    constraint_end(state);
    return bytes;
}

static const char *tables;

static void check(const char *language, const char *place, bool line_only, const char *text, size_t least, size_t most)
{
    struct surroundings around;
    struct buffer gbnf = {0};
    take_place(&around, place);
    struct code_place where = {.language = language, .around = &around, .line_only = line_only, .tables = tables};
    size_t got = strlen(text);
    if (code_grammar(&where, &gbnf)) {
        struct constraint *c = compile(gbnf.data);
        got = allowed(c, text);
        constraint_close(c);
    }
    if (got < least || got > most)
        fail_msg("at \"%s\" \"%.*s\" of \"%s\" may be written", place, (int) got, text, text);
    buffer_free(&gbnf);
    surroundings_free(&around);
}

/* All of the text may be written there. */
static void good(const char *language, const char *place, const char *text)
{
    check(language, place, false, text, strlen(text), strlen(text));
}

/* The first part may be, and the second not. A token that spans both is forbidden as a whole. */
static void bad(const char *language, const char *place, const char *first, const char *second)
{
    char text[1000];
    size_t n = (size_t) snprintf(text, sizeof text, "%s%s", first, second);
    check(language, place, false, text, strlen(first) > 8 ? strlen(first) - 8 : 0, n - strlen(second));
}

static void brackets_close_what_is_open(void **state)
{
    good("c", "f(a|", ", b[i]) + 1;");
    bad("c", "f(a|", ", b", ")) + 1");
    bad("c", "f(a|", ", b[i", ")");
    bad("c", "x = |", "a[1]", "]");
    bad("python", "x = {|", "'a': (1, 2", "}");
    good("python", "x = {|", "'a': (1, 2)}");
    good("javascript", "call(|", "function () { return [1, {a: 2}]; });");
    bad("c", "void f()\n{\n    if (a) {\n        |\n    }\n}\n", "b();\n        c();", " }");
    good("c", "f(|);", "a, b);");            /* the editor closed it: it is replaced */
    good("markdown", "a) b |", "c) d)");      /* prose */
}

static void brackets_in_strings_and_comments_do_not_count(void **state)
{
    good("c", "print(|", "\")))\");");
    good("c", "print(|", "\"\\\"))\", ')');");
    bad("c", "print(|", "\"a\")", ")");
    good("c", "{\n    |\n}\n", "x();  // :-)\n    y();");
    bad("c", "{\n    |\n}\n", "x();  // :-)\n    y()", ")");
    good("python", "|", "x = 1  # a)\ny = (2)");
    good("python", "def f():\n    |", "\"\"\"Does (it.\n\n    And) more)\"\"\"\n    return (1)");
    good("rust", "fn f<'a>(|", "x: &'a str) {");
    good("c", "// a comment (|", "here :-)))");
    good("sql", "SELECT |", "'it''s :)' FROM t -- :)\n");
}

static void a_block_keeps_its_indentation(void **state)
{
    good("python", "def f():\n    |\n", "a = 1\n    if a:\n        b()\n\n    return a");
    bad("python", "def f():\n    |\n", "a = 1\n\n", "def g");
    bad("python", "def f():\n    |\n", "a = 1\n ", " b = 2");
    bad("python", "if x:\n    for y in z:|\n", "\n        a(y)\n   ", " b()");
    good("python", "if x:\n    for y in z:|\n", "\n        a(y)\n");
    good("go", "\tfor {\n\t\t|\n", "a()\n\t\tb()\n");
    bad("go", "\tfor {\n\t\t|\n", "a()\n\t", "return");
    good("c", "    if (a) {|", "\n        b();\n    }");
    bad("c", "    if (a) {|", "\n        b();\n", "c();");
    good("c", "|", "int a;\nint b;\n");      /* nothing to fall out of */
    bad("text", "  - |", "a\n", "b");         /* no language: its lines, still */
    check("python", "    x = |", true, "1\ny", 3, 3);  /* a line alone: what follows does not matter */
}

/* What is behind the cursor and what is settled already belong to the place. */
static void known_text_counts(void **state)
{
    struct surroundings around;
    take_place(&around, "f(|");
    struct code_place where = {.language = "c", .around = &around, .known = "a, g(", .known_size = 5};
    struct buffer gbnf = {0};
    assert_true(code_grammar(&where, &gbnf));
    struct constraint *c = compile(gbnf.data);
    assert_int_equal(allowed(c, "b));"), 4);
    assert_true(allowed(c, "b)));") < 5);
    constraint_close(c);
    buffer_free(&gbnf);
    where.any_brackets = where.any_indent = true;
    assert_false(code_grammar(&where, &gbnf));
    surroundings_free(&around);
}

static const char shop[] = "customers(id integer, \"Full Name\" text, balance numeric(10,2), city text)\n"
                           "orders(id integer, customer_id integer -> customers, placed_at timestamp with time zone)\n"
                           "order_items(order_id integer -> orders, quantity integer)\n"
                           "audit.log(at timestamp with time zone, what text)\n";

static void only_tables_that_are_there_follow_from(void **state)
{
    tables = shop;
    good("sql", "SELECT * FROM |", "orders");
    good("sql", "SELECT * FROM |", "ORDERS o WHERE o.id = 1");
    good("sql", "SELECT * FROM |", "audit.log");
    good("sql", "SELECT * FROM|", " customers");
    good("sql", "SELECT * FROM ord|", "er_items");
    bad("sql", "SELECT * FROM |", "", "invoices");
    bad("sql", "SELECT * FROM |", "orders", "_old");
    bad("sql", "SELECT * FROM ord|", "er", "ing");
    bad("sql", "SELECT |", "count(*) FROM ", "invoices");
    good("sql", "SELECT |", "count(*) FROM orders JOIN customers ON true");
    bad("sql", "SELECT |", "count(*) FROM orders o LEFT JOIN ", "clients");
    good("sql", "SELECT |", "(SELECT max(id) FROM orders), 1.5 FROM generate_series(1, 10) g");
    bad("sql", "SELECT |", "(SELECT max(id) FROM ", "sales");
    good("sql", "INSERT INTO |", "orders (id) VALUES (1)");
    bad("sql", "INSERT INTO |", "", "invoices");
    bad("sql", "|", "INSERT INTO ", "invoices");
    bad("sql", "UPDATE |", "", "invoices");
    bad("sql", "DELETE FROM |", "", "invoices");
    good("sql", "SELECT * FROM |", "pg_class");
    tables = NULL;
}

static void only_columns_that_are_there_follow_a_table(void **state)
{
    tables = shop;
    good("sql", "SELECT o.|  FROM orders o", "placed_at");
    good("sql", "SELECT o.|  FROM orders o", "*");
    bad("sql", "SELECT o.|  FROM orders o", "", "balance");
    good("sql", "SELECT o.cust|  FROM orders o", "omer_id, o.id");
    bad("sql", "SELECT o.id, |  FROM orders o", "o.", "total");
    good("sql", "SELECT c.|\nFROM customers AS c", "\"Full Name\"");
    good("sql", "SELECT * FROM orders, customers c WHERE |", "orders.customer_id = c.id AND balance > 1.5");
    bad("sql", "SELECT * FROM orders, customers c WHERE |", "c.", "placed_at");
    good("sql", "SELECT x.|", "quantity");             /* nobody knows yet what x is */
    bad("sql", "SELECT 1, |", "x.", "nonsense");
    tables = NULL;
}

static void what_sql_makes_itself_may_be_named(void **state)
{
    tables = shop;
    good("sql", "WITH recent AS (SELECT 1) SELECT * FROM |", "recent r WHERE r.id = 1");
    good("sql", "CREATE TABLE notes (id int);\nSELECT * FROM |", "notes");
    good("sql", "SELECT |", "extract(year FROM placed_at) FROM orders");
    good("sql", "SELECT extract(year FROM |)", "placed_at");
    good("sql", "SELECT a IS DISTINCT FROM |", "b");
    good("sql", "|", "WITH sums AS (SELECT 1) SELECT * FROM sums");
    good("sql", "SELECT 'from |", "nowhere");
    good("sql", "-- from |", "nowhere");
    good("sql", "GRANT SELECT ON orders TO clerk; REVOKE ALL ON orders FROM |", "clerk");
    good("sql", "SELECT |", "fromage, joiner, x_from, 2.5e3 FROM orders");
    good("sql", "COPY orders FROM |", "'/tmp/orders.csv'");
    tables = NULL;
}

/* Names beyond ASCII, and a schema without any other. */
static void names_of_all_alphabets_are_names(void **state)
{
    tables = "bücher(größe integer, jahr integer)\n";
    good("sql", "SELECT * FROM |", "bücher b WHERE b.größe > 1");
    good("sql", "SELECT * FROM bü|", "cher");
    bad("sql", "SELECT * FROM bü|", "", "ro");
    good("sql", "SELECT b.|  FROM bücher b", "größe");
    bad("sql", "SELECT b.|  FROM bücher b", "", "zahl");
    tables = "\"\x01\"(\"\x02\" integer)\n"; /* cannot be said in a grammar */
    good("sql", "SELECT |", "x.*, 1");
    tables = NULL;
}

static void strings_of_other_languages_name_what_is_there(void **state)
{
    tables = shop;
    good("python", "db.execute(\"SELECT * FROM |", "orders WHERE id = %s\", (1,))\n");
    bad("python", "db.execute(\"SELECT * FROM |", "", "invoices");
    bad("python", "db.execute(\"SELECT * FROM ord|\")", "er", "ing");
    bad("python", "db.execute('SELECT * FROM |", "", "invoices");
    bad("python", "db.execute(\"\"\"\n    SELECT o.id\n    FROM |\n\"\"\")", "", "invoices");
    bad("python", "db.execute(\"\"\"\n    SELECT o.|\n    FROM orders o\n\"\"\")", "", "balance");
    good("python", "db.execute(\"\"\"\n    SELECT o.|\n    FROM orders o\n\"\"\")", "placed_at");
    good("python", "db.execute(\"\"\"SELECT \"Full Name\" FROM |", "customers\"\"\").fetchall())]}\n");
    bad("javascript", "db.query(`SELECT ${a} FROM |`)", "", "invoices");
    good("javascript", "db.query(`SELECT ${a} FROM |", "${table} WHERE id = $1`, [id]);");
    bad("c", "PQexec(c, \"SELECT *\\nFROM\\n|", "", "invoices");
    good("c", "PQexec(c, \"SELECT * FROM |", "orders o, customers WHERE o.id = 'x'\"); f())");
    bad("c", "PQexec(c, \"SELECT max(id|", ") FROM orders", ")");
    /* What is not known here, and code that is no SQL. */
    good("python", "db.execute(\"SELECT * FROM |", "\" + table)\n");
    good("python", "db.execute(f\"SELECT * FROM |", "{table} WHERE a = 1\")\n");
    good("python", "db.execute(\"SELECT * FROM |", "%s\" % table)\n");
    good("python", "x = \"taken from |", "nowhere\"");
    good("python", "from |", "nowhere import x");
    good("python", "db.execute(\"SELECT 1\")\nfrom |", "nowhere import x");
    tables = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(brackets_close_what_is_open),
        cmocka_unit_test(brackets_in_strings_and_comments_do_not_count),
        cmocka_unit_test(a_block_keeps_its_indentation),
        cmocka_unit_test(known_text_counts),
        cmocka_unit_test(only_tables_that_are_there_follow_from),
        cmocka_unit_test(only_columns_that_are_there_follow_a_table),
        cmocka_unit_test(what_sql_makes_itself_may_be_named),
        cmocka_unit_test(names_of_all_alphabets_are_names),
        cmocka_unit_test(strings_of_other_languages_name_what_is_there),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
