-- dsr1_annotate(): a column is filled, by an engine that echoes (tests/fake)
CREATE TABLE note (id int PRIMARY KEY, body text, topic text, answer text);
INSERT INTO note SELECT g, 'text ' || g, 'topic ' || g % 3 FROM generate_series(1, 100) g;

SELECT dsr1_annotate('note', 'answer', 'About {topic}: {body}') AS job \gset
SELECT dsr1_job_wait(:job, '60 s');
SELECT count(*), count(answer), min(answer), max(answer) FROM note;
SELECT kind, relation, target, state, done, failed, total, pending, model_digest IS NOT NULL AS model,
       generated_tokens, prompt_digest = encode(sha256('About {topic}: {body}'), 'hex') AS digest
  FROM dsr1_jobs WHERE id = :job;
SELECT count(*), bool_and(equal) FROM dsr1_job_verify(:job, 20);

-- an answer that was changed is found out; of a row that was changed nothing can be said
UPDATE note SET answer = 'forged' WHERE id = 7;
UPDATE note SET body = 'another text' WHERE id = 8;
SELECT equal, count(*), min(key::text) FROM dsr1_job_verify(:job, 1000) GROUP BY 1 ORDER BY 1;

-- the whole row, braces, quoted names, NULL inputs
CREATE TABLE odd ("the key" text, part int, "Say what" text, n numeric, said text, PRIMARY KEY (part, "the key"));
INSERT INTO odd VALUES ('a''b', 1, 'x"y', 1.50), ('c', 2, NULL, 7), ('d', 3, NULL, NULL);
SELECT dsr1_annotate('odd', 'said', 'Read this.') AS job \gset
SELECT dsr1_job_wait(:job, '60 s');
SELECT part, said FROM odd ORDER BY 1;
UPDATE odd SET said = NULL;
SELECT dsr1_annotate('odd', 'said', '{{n}} and {not a name} {"Say what"}/{N} {') AS job \gset
SELECT dsr1_job_wait(:job, '60 s');
SELECT part, said FROM odd ORDER BY 1;

-- rows that a condition leaves out
UPDATE note SET answer = NULL;
SELECT dsr1_annotate('note', 'answer', '{body}', '{"where": "id % 10 = 0 -- tens"}') AS job \gset
SELECT dsr1_job_wait(:job, '60 s');
SELECT count(*), count(answer), string_agg(id::text, ' ' ORDER BY id) FILTER (WHERE answer IS NOT NULL) FROM note;

-- answers of a type: labels, enums, booleans, numbers by the column, a schema
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE TABLE typed (id int PRIMARY KEY, body text, m mood, b bool, i int, j jsonb, l text);
INSERT INTO typed VALUES (1, 'I am glad that it is true'), (2, 'it made me sad and is false');
SELECT dsr1_annotate('typed', 'm', '{body}') AS m, dsr1_annotate('typed', 'b', '{body}') AS b,
       dsr1_annotate('typed', 'i', '[say 42]{id}') AS i,
       dsr1_annotate('typed', 'j', '[say {"a": 1}]{id}', '{"schema": {"type": "object"}}') AS j,
       dsr1_annotate('typed', 'l', '{body}', '{"labels": ["made", "am"]}') AS l \gset
SELECT bool_and(dsr1_job_wait(job, '60 s')) FROM unnest(ARRAY[:m, :b, :i, :j, :l]) job;
SELECT * FROM typed ORDER BY id;

-- a side table, which is made, and used again
SELECT dsr1_annotate('note', 'summary', 'Sum up {body}', '{"into": "note_summary", "where": "id <= 3"}') AS job \gset
SELECT dsr1_job_wait(:job, '60 s');
\d note_summary
SELECT * FROM note_summary ORDER BY id;
SELECT dsr1_annotate('note', 'summary', 'Again {body}', '{"into": "public.note_summary", "where": "id between 3 and 4"}') AS job \gset
SELECT dsr1_job_wait(:job, '60 s');
SELECT * FROM note_summary ORDER BY id;
SELECT count(*), bool_and(equal) FROM dsr1_job_verify(:job);

-- an empty table, and a partitioned one
CREATE TABLE nothing (id int PRIMARY KEY, a text);
SELECT dsr1_annotate('nothing', 'a', 'x {id}') AS job \gset
SELECT dsr1_job_wait(:job, '60 s');
SELECT state, total FROM dsr1_jobs WHERE id = :job;
CREATE TABLE parts (id int, p int, a text, PRIMARY KEY (id, p)) PARTITION BY LIST (p);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2);
INSERT INTO parts SELECT g, g % 2 + 1 FROM generate_series(1, 10) g;
SELECT dsr1_annotate('parts', 'a', 'part {p} row {id}') AS job \gset
SELECT dsr1_job_wait(:job, '60 s');
SELECT tableoid::regclass, count(a), max(a) FROM parts GROUP BY 1 ORDER BY 1;

-- rolled back, nothing happens
BEGIN;
SELECT dsr1_annotate('note', 'answer', 'never {body}') > 0;
ROLLBACK;
SELECT count(*) FROM dsr1_jobs WHERE prompt LIKE 'never%';

-- refused at once
\set VERBOSITY terse
CREATE TABLE keyless (id int, a text);
CREATE TABLE uniq (id int UNIQUE, other int NOT NULL, a text);
CREATE UNIQUE INDEX ON uniq (other) WHERE id > 0;
CREATE VIEW seen AS SELECT * FROM note;
CREATE TEMP TABLE temporary (id int PRIMARY KEY, a text);
CREATE TABLE generated (id int PRIMARY KEY, a text GENERATED ALWAYS AS (id::text) STORED);
SELECT dsr1_annotate('keyless', 'a', 'x');
SELECT dsr1_annotate('uniq', 'a', 'x', '{"key": "id"}');
SELECT dsr1_annotate('uniq', 'a', 'x', '{"key": ["other"]}');
SELECT dsr1_annotate('uniq', 'a', 'x', '{"key": "nothing"}');
SELECT dsr1_annotate('seen', 'answer', 'x');
SELECT dsr1_annotate('temporary', 'a', 'x');
SELECT dsr1_annotate('generated', 'a', 'x');
SELECT dsr1_annotate('note', 'nothing', 'x');
SELECT dsr1_annotate('note', 'id', 'x');
SELECT dsr1_annotate('note', 'answer', '{nothing}');
SELECT dsr1_annotate('note', 'answer', '{answer}');
SELECT dsr1_annotate('note', 'answer', 'x', '{"where": "nothing = 1"}');
SELECT dsr1_annotate('note', 'answer', 'x', '{"where": "id"}');
SELECT dsr1_annotate(0, 'answer', 'x');
SELECT dsr1_annotate('note', 'answer', NULL);
SELECT dsr1_annotate('note', 'answer', 'x', options) FROM unnest(ARRAY['[]', '1', '"x"']::jsonb[]) options;
SELECT dsr1_annotate('note', 'answer', 'x', '{"wat": 1}');
SELECT dsr1_annotate('note', 'answer', 'x', '{"batch": 0}');
SELECT dsr1_annotate('note', 'answer', 'x', '{"batch": 1.5}');
SELECT dsr1_annotate('note', 'answer', 'x', '{"batch": "many"}');
SELECT dsr1_annotate('note', 'answer', 'x', '{"labels": []}');
SELECT dsr1_annotate('note', 'answer', 'x', '{"labels": ["a", ""]}');
SELECT dsr1_annotate('note', 'answer', 'x', '{"labels": "a"}');
SELECT dsr1_annotate('note', 'answer', 'x', '{"labels": ["a"], "type": "text"}');
SELECT dsr1_annotate('note', 'answer', 'x', '{"type": "point"}');
SELECT dsr1_annotate('note', 'answer', 'x', '{"schema": []}');
SELECT dsr1_annotate('note', 'answer', 'x', '{"watch": 1}');
SELECT dsr1_annotate('note', 'answer', 'x', '{"priority": 1}');
SELECT dsr1_annotate('note', 'answer', 'x', '{"raw": true, "system": "x"}');
SELECT dsr1_annotate('note', 'answer', 'x', '{"into": "a.b.c.d"}');
BEGIN READ ONLY;
SELECT dsr1_annotate('note', 'answer', 'x');
ROLLBACK;
\set VERBOSITY default
DROP TABLE note, odd, typed, note_summary, nothing, parts, keyless, uniq, generated CASCADE;
DROP TYPE mood;
