-- Prompts that have names and versions
SELECT dsr1_prompt_put('topic', 'What is "{1}" about? One word of {2}.', 'a first try');
SELECT dsr1_prompt_put('topic', 'What is "{1}" about? One word of {2}.', 'the same is no new version');
SELECT dsr1_prompt_put('topic', E'One word of {2}.\n{1}');
SELECT name, version, prompt, comment, author = current_user AS mine FROM dsr1_prompts ORDER BY 1, 2;

-- the latest, and one that is asked for
SELECT dsr1_prompt('topic', 'My parcel is late.', ARRAY['billing', 'delivery']);
SELECT dsr1_prompt_version('topic', 1, 'My parcel is late.', 42);
SELECT dsr1_prompt('topic'), dsr1_prompt_version('topic', 1);

-- what an argument holds stays what it is; NULL is nothing
SELECT dsr1_prompt('topic', '{2} {1} {{ ''; DROP TABLE dsr1_prompts; --', '{1}');
SELECT dsr1_prompt('topic', NULL, 'two'), dsr1_prompt(NULL, 'one') IS NULL AS null_name,
       dsr1_prompt_version('topic', NULL, 'one') IS NULL AS null_version;

-- any type, and an array for all of them
SELECT dsr1_prompt('topic', 1.50, date '2020-01-02'), dsr1_prompt('topic', VARIADIC ARRAY[10, 20]);

-- braces that are none of ours
SELECT dsr1_prompt_put('braces', '{{1} {a} {} {1 } {"a": {1}} {{{1}}');
SELECT dsr1_prompt('braces', 'x');

-- errors
SELECT dsr1_prompt('topic', 'one');
SELECT dsr1_prompt('topic', VARIADIC NULL::text[]);
SELECT dsr1_prompt('topic', VARIADIC 'x'::text);
SELECT dsr1_prompt_put('zero', '{0} {99999999999}');
SELECT dsr1_prompt('zero', 'x');
SELECT dsr1_prompt('nothing');
SELECT dsr1_prompt_version('topic', 3, 'x');
SELECT dsr1_prompt_version('topic', -1, 'x');
\set VERBOSITY terse
SELECT dsr1_prompt_put('', 'x');
\set VERBOSITY default

-- within a statement it does not change, from one to the next it may
SELECT provolatile, proparallel FROM pg_proc WHERE proname IN ('dsr1_prompt', 'dsr1_prompt_version') GROUP BY 1, 2;

-- in front of the model, for every row
CREATE TABLE mail (id int, body text);
INSERT INTO mail VALUES (1, 'I want my money back.'), (2, 'Thank you!');
SELECT dsr1_prompt_put('thanks', 'Somebody says thanks: "{1}"');
SELECT m.id, dsr1_filter(m.body, 'x') IS NOT NULL AS asked, dsr1_count_tokens(dsr1_prompt('thanks', m.body)) > 5 AS filled
  FROM mail m ORDER BY 1;
SELECT dsr1_complete(dsr1_prompt('thanks', body), 4) = dsr1_complete('Somebody says thanks: "' || body || '"', 4) AS same
  FROM mail;
DROP TABLE mail;

-- in parallel workers, too
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
CREATE TABLE many AS SELECT g AS id FROM generate_series(1, 2000) g;
SELECT count(DISTINCT dsr1_prompt('thanks', id)) FROM many;
EXPLAIN (COSTS OFF) SELECT id FROM many WHERE dsr1_prompt('thanks', id) = 'x';
SELECT id FROM many WHERE dsr1_prompt('thanks', id) = 'Somebody says thanks: "17"';
DROP TABLE many;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;

-- who may use them, and who may write them
CREATE ROLE regress_dsr1_reader;
CREATE ROLE regress_dsr1_writer;
GRANT SELECT, INSERT ON dsr1_prompts TO regress_dsr1_writer;
SET ROLE regress_dsr1_reader;
SELECT dsr1_prompt('topic', 'a', 'b');
SELECT dsr1_prompt_put('topic', 'mine');
RESET ROLE;
SET ROLE regress_dsr1_writer;
SELECT dsr1_prompt_put('topic', 'ours');
SELECT version, author FROM dsr1_prompts WHERE prompt = 'ours';
UPDATE dsr1_prompts SET prompt = 'changed' WHERE version = 1;
RESET ROLE;
REVOKE SELECT ON dsr1_prompts FROM PUBLIC;
SET ROLE regress_dsr1_reader;
SELECT dsr1_prompt('topic');
RESET ROLE;
GRANT SELECT ON dsr1_prompts TO PUBLIC;
REVOKE ALL ON dsr1_prompts FROM regress_dsr1_writer;
DROP ROLE regress_dsr1_reader, regress_dsr1_writer;
DELETE FROM dsr1_prompts;
