-- A statement's answers come from one model (tests/fake/script.h: [as N] answers as model number N)
SELECT dsr1_complete('[as 1]one');
SELECT dsr1_complete('[as 2]two');
SELECT dsr1_complete('[as 1]' || i) FROM generate_series(1, 3) AS i;

-- swapped while a statement runs
SELECT dsr1_complete('[as ' || CASE WHEN i < 3 THEN 1 ELSE 2 END || ']' || i) FROM generate_series(1, 4) AS i;
SET dsr1.enable_batch = off;
SELECT dsr1_complete('[as ' || CASE WHEN i < 3 THEN 1 ELSE 2 END || ']' || i) FROM generate_series(1, 4) AS i;
RESET dsr1.enable_batch;
SELECT dsr1_scores('[as 1]', '{a,b}'), dsr1_embed('[as 2]');
SELECT dsr1_similarity('[as 1]', '[as 2]');
\set VERBOSITY sqlstate
SELECT dsr1_filter('[as 1]', 'x'), (SELECT count(*) FROM dsr1_stream('[as 2]two pieces'));
SET dsr1.on_error = 'null';
SELECT dsr1_complete('[as 1]'), dsr1_complete('[as 2]');
RESET dsr1.on_error;
\set VERBOSITY default

-- the next statement is another
BEGIN;
SELECT dsr1_complete('[as 1]one');
SELECT dsr1_complete('[as 2]two');
COMMIT;

-- pinned by its digest: the model that answers must be that one
SELECT length(digest), digest = (SELECT digest FROM dsr1_models) AS same FROM dsr1_models;
SELECT digest AS model FROM dsr1_models \gset
SELECT array_length(dsr1_embed('hello', :'model'), 1);
SELECT dsr1_embed('[as 2]hello', :'model');
\set VERBOSITY sqlstate
SELECT dsr1_embed('hello', '0000000000000000000000000000000000000000000000000000000000000000');
\set VERBOSITY default

-- a job notes the digest, and asks again what another model has answered
CREATE TABLE swapped (id int PRIMARY KEY, body text, answer text);
INSERT INTO swapped SELECT i, CASE WHEN i = 2 THEN '[as-once swapped 9]' ELSE '' END || 'row ' || i FROM generate_series(1, 3) AS i;
SELECT dsr1_annotate('swapped', 'answer', '{body}') AS job \gset
SELECT dsr1_job_wait(:job, '60s');
SELECT state, done, failed, model_digest = :'model' AS digest FROM dsr1_jobs WHERE id = :job;
SELECT id, answer FROM swapped ORDER BY id;
DROP TABLE swapped;
