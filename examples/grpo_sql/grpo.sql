-- grpo.sql - teach the model, inside PostgreSQL, to answer questions about a table with SQL
--
--     psql -f examples/grpo_sql/grpo.sql [-v more='{"steps": 20, "seed": 2}']
--
-- What the model writes is run. So the run belongs to a role that may do nothing but read the table: its reward function is
-- called as that role, in a read-only subtransaction, for a second at most. A superuser makes the role;
-- DROP SCHEMA grpo_sql CASCADE; DROP OWNED BY grpo_pupil; DROP ROLE grpo_pupil remove everything.
--
-- SPDX-License-Identifier: PostgreSQL
\set ON_ERROR_STOP on
\if :{?more}
\else
    \set more '{}'
\endif
CREATE EXTENSION IF NOT EXISTS dsr1;
CREATE SCHEMA grpo_sql;

CREATE TABLE grpo_sql.stock (item text, color text, price int);
INSERT INTO grpo_sql.stock VALUES ('lamp', 'red', 36), ('chair', 'blue', 24), ('vase', 'red', 51), ('jacket', 'green', 42),
    ('clock', 'black', 29), ('table', 'yellow', 61), ('mirror', 'white', 33), ('carpet', 'blue', 47), ('bottle', 'black', 55),
    ('box', 'yellow', 22);

CREATE TABLE grpo_sql.question (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, aside bool, body text, query text);
INSERT INTO grpo_sql.question (aside, body, query)
SELECT false, * FROM (VALUES ('How many items are there?', 'SELECT count(*) FROM stock'),
                             ('What is the average price?', 'SELECT avg(price) FROM stock'),
                             ('Which item is the most expensive?', 'SELECT item FROM stock ORDER BY price DESC LIMIT 1')) AS v
UNION ALL
SELECT color IN ('black', 'yellow'), v.* FROM unnest('{red,blue,green,white,black,yellow}'::text[]) color,
       LATERAL (VALUES (format('Which items are %s?', color), format('SELECT item FROM stock WHERE color = %L', color)),
                       (format('How many items are %s?', color), format('SELECT count(*) FROM stock WHERE color = %L', color))) AS v
UNION ALL
SELECT price IN (40, 50), v.* FROM unnest('{25,30,35,45,40,50}'::int[]) price,
       LATERAL (VALUES (format('Which items cost more than %s?', price), format('SELECT item FROM stock WHERE price > %s', price)),
                       (format('How many items cost less than %s?', price), format('SELECT count(*) FROM stock WHERE price < %s', price))) AS v;

-- The rows of a query, sorted, or NULL where it fails. What it has done is undone, and it can only read.
CREATE FUNCTION grpo_sql.rows_of(query text) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    found text[];
BEGIN
    BEGIN
        SET LOCAL transaction_read_only = on;
        SET LOCAL search_path = grpo_sql, pg_catalog;
        EXECUTE format(E'SELECT COALESCE(array_agg(r ORDER BY r), \'{}\') FROM (SELECT (q.*)::text AS r FROM (%s\n) AS q LIMIT 1000) AS all_rows', query)
           INTO found;
        -- variables outlive a subtransaction that is rolled back, its settings do not
        RAISE SQLSTATE 'GRPO0';
    EXCEPTION
        WHEN SQLSTATE 'GRPO0' THEN RETURN found;
        WHEN query_canceled THEN RAISE;
        WHEN OTHERS THEN RETURN NULL;
    END;
END $$;

-- 1: the same rows; 0.4: as many columns; 0.3: it runs; 0.1: it begins with SELECT; 0: anything else
CREATE FUNCTION grpo_sql.reward(prompt text, completion text, meta jsonb) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
    query text := regexp_replace(btrim(completion, E' \n'), ';$', '');
    got text[];
    wanted text[];
BEGIN
    IF query !~* '^select\M' OR query LIKE '%;%' THEN
        RETURN 0;
    END IF;
    got := grpo_sql.rows_of(query);
    wanted := grpo_sql.rows_of(meta->>'query');
    RETURN CASE WHEN got IS NULL THEN 0.1
                WHEN got = wanted THEN 1
                WHEN length(got[1]) - length(replace(got[1], ',', '')) = length(wanted[1]) - length(replace(wanted[1], ',', '')) THEN 0.4
                ELSE 0.3 END;
END $$;

CREATE VIEW grpo_sql.task AS
SELECT id, aside, 'Table stock(item, color, price). Answer with one SQL query.' AS system, body AS prompt, jsonb_build_object('query', query) AS meta
  FROM grpo_sql.question;

CREATE ROLE grpo_pupil LOGIN;
GRANT USAGE ON SCHEMA grpo_sql TO grpo_pupil;
GRANT SELECT ON grpo_sql.stock, grpo_sql.task TO grpo_pupil;
GRANT EXECUTE ON FUNCTION dsr1_grpo TO grpo_pupil;

SET ROLE grpo_pupil;
SELECT dsr1_grpo('sql', 'SELECT system, prompt, meta FROM grpo_sql.task WHERE NOT aside ORDER BY id',
                 'grpo_sql.reward(text,text,jsonb)',
                 '{"steps": 100, "batch": 4, "group": 8, "refill": 2, "max_tokens": 32, "overlong": "keep", "lr": 3e-4, "eval_every": 10,
                   "reward_timeout": 1,
                   "eval": "SELECT system, prompt, meta FROM grpo_sql.task WHERE aside ORDER BY id"}'::jsonb || :'more'::jsonb) AS run \gset
SELECT dsr1_job_wait(:run) AS over;
SELECT step, round(reward::numeric, 3) AS reward, round(eval_reward::numeric, 3) AS aside, round(entropy::numeric, 2) AS entropy, errors
  FROM dsr1_grpo_steps WHERE run = :run AND eval_reward IS NOT NULL ORDER BY step;
SELECT state, errors, adapter_digest, last_error FROM dsr1_grpo_runs WHERE id = :run;
