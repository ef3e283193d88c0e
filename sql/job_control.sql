-- Jobs are paused, changed, retried, cancelled; rows fail; tables are watched
SET client_min_messages = warning;
CREATE TABLE item (id int PRIMARY KEY, body text, answer text);
INSERT INTO item SELECT g, 'text ' || g FROM generate_series(1, 50) g;

-- a job that was paused in its own transaction never starts
BEGIN;
SELECT dsr1_annotate('item', 'answer', '{body}') AS job \gset
SELECT dsr1_job_pause(:job);
COMMIT;
SELECT dsr1_job_wait(:job, '200 ms');
SELECT state, done, pending FROM dsr1_jobs WHERE id = :job;
SELECT dsr1_job_alter(:job, '{"batch": 3, "priority": -5}');
SELECT options FROM dsr1_jobs WHERE id = :job;
SELECT dsr1_job_resume(:job);
SELECT dsr1_job_wait(:job, '60 s');
SELECT state, done, pending FROM dsr1_jobs WHERE id = :job;

-- cancelled while it waits for the engine: that is told, and nothing is written any more
UPDATE item SET answer = NULL;
SELECT dsr1_annotate('item', 'answer', '[hang]{body}') AS job \gset
DO $$ BEGIN
    WHILE (SELECT batch_now FROM dsr1_stat_engine) < 32 LOOP PERFORM pg_sleep(0.01); END LOOP;
END $$;
SELECT phase, rows_in_flight FROM dsr1_stat_progress_job WHERE job = :job;
SELECT dsr1_job_cancel(:job);
DO $$ BEGIN
    WHILE (SELECT batch_now FROM dsr1_stat_engine) > 0 LOOP PERFORM pg_sleep(0.01); END LOOP;
END $$;
SELECT state, done, pending FROM dsr1_jobs WHERE id = :job;
SELECT dsr1_job_wait(:job);

-- rows fail alone: by the engine, by a constraint, by their encoding, by a trigger
CREATE TABLE risky (id int PRIMARY KEY, body text, answer text CHECK (answer <> 'taboo'));
INSERT INTO risky VALUES (1, 'good'), (2, '[error -6 too many tokens]'), (3, 'taboo'), (4, '[say %ff]'), (5, 'fine'),
    (6, '[error-once busy -7 busy]later'), (7, 'skipped'), (8, NULL);
CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id = 7 THEN RETURN NULL; END IF; RETURN NEW; END $$;
CREATE TRIGGER skip BEFORE UPDATE ON risky FOR EACH ROW EXECUTE FUNCTION skip();
SELECT dsr1_annotate('risky', 'answer', '{body}') AS job \gset
SELECT dsr1_job_wait(:job, '60 s');
SELECT id, answer FROM risky ORDER BY id;
SELECT state, done, failed, total FROM dsr1_jobs WHERE id = :job;
SELECT key, category, sqlstate, message, attempts, next_retry FROM dsr1_job_errors WHERE job = :job ORDER BY key;

-- they are tried again when somebody says so
DROP TRIGGER skip ON risky;
UPDATE risky SET body = 'harmless' WHERE id IN (2, 4);
SELECT dsr1_job_retry(:job);
SELECT dsr1_job_wait(:job, '60 s');
SELECT state, done, failed FROM dsr1_jobs WHERE id = :job;
SELECT key, message FROM dsr1_job_errors WHERE job = :job;

-- more errors than allowed end the job
SELECT dsr1_annotate('risky', 'answer', 'taboo[say taboo]', '{"max_errors": 1, "batch": 2}') AS job \gset
SELECT dsr1_job_wait(:job, '60 s');
SELECT state, last_error, failed >= 2 AS failed, pending > 0 AS pending FROM dsr1_jobs WHERE id = :job;

-- a row over which the engine dies: it is found out, the others are done
CREATE TABLE poisoned (id int PRIMARY KEY, body text, answer text);
INSERT INTO poisoned SELECT g, 'text ' || g FROM generate_series(1, 20) g;
UPDATE poisoned SET body = '[die 0]' WHERE id = 5;
SELECT dsr1_annotate('poisoned', 'answer', '{body}') AS job \gset
SELECT dsr1_job_wait(:job, '120 s');
SELECT count(answer), count(*) FILTER (WHERE answer = body) FROM poisoned;
SELECT key, category, sqlstate, message FROM dsr1_job_errors WHERE job = :job ORDER BY key;
SELECT state, done, failed FROM dsr1_jobs WHERE id = :job;

-- a condition that fails on one row
CREATE TABLE divided (id int PRIMARY KEY, by int, answer text);
INSERT INTO divided VALUES (1, 1), (2, 2), (3, 5);
BEGIN;
SELECT dsr1_annotate('divided', 'answer', 'row {id}', '{"where": "10 / by > 1"}') AS job \gset
UPDATE divided SET by = 0 WHERE id = 2;
COMMIT;
SELECT dsr1_job_wait(:job, '60 s');
SELECT id, answer FROM divided ORDER BY id;
SELECT key, category, sqlstate, message FROM dsr1_job_errors WHERE job = :job;

-- a table is watched: new rows, changed rows, a changed key, rows that go
CREATE TABLE watched (id int PRIMARY KEY, at timestamptz UNIQUE NOT NULL, body text, other text, answer text);
INSERT INTO watched VALUES (1, '2020-01-01 00:00+00', 'one', '-'), (2, '2020-01-02 00:00+00', 'two', '-');
SELECT dsr1_annotate('watched', 'answer', 'saw {body}', '{"watch": true, "key": "at"}') AS job \gset
SELECT dsr1_job_wait(:job, '60 s');
SET TIME ZONE 'Asia/Tokyo';
SET datestyle = 'German';
INSERT INTO watched VALUES (3, '2020-01-03 00:00+00', 'three', '-');
UPDATE watched SET body = 'first' WHERE id = 1;
UPDATE watched SET other = 'changed' WHERE id = 2;
RESET datestyle;
RESET TIME ZONE;
SELECT dsr1_job_wait(:job, '60 s');
SELECT id, answer FROM watched ORDER BY id;
SELECT state, done, pending FROM dsr1_jobs WHERE id = :job;
UPDATE watched SET at = '2021-01-01' WHERE id = 3;
DELETE FROM watched WHERE id = 2;
SELECT dsr1_job_wait(:job, '60 s');
SELECT id, answer FROM watched ORDER BY id;
SELECT dsr1_job_cancel(:job);
INSERT INTO watched VALUES (4, '2020-01-04', 'four', '-');
SELECT id, answer FROM watched WHERE answer IS NULL;
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'watched'::regclass;

-- the table goes, a column goes
BEGIN;
SELECT dsr1_annotate('divided', 'answer', 'row {id}') AS job \gset
DROP TABLE divided;
COMMIT;
SELECT dsr1_job_wait(:job, '60 s');
SELECT state, category, sqlstate, last_error FROM dsr1_jobs WHERE id = :job;
BEGIN;
SELECT dsr1_annotate('item', 'answer', 'row {body}') AS job \gset
ALTER TABLE item RENAME body TO content;
COMMIT;
SELECT dsr1_job_wait(:job, '60 s');
SELECT state, category, sqlstate, last_error FROM dsr1_jobs WHERE id = :job;
ALTER TABLE item RENAME content TO body;
SELECT dsr1_job_resume(:job);
SELECT dsr1_job_wait(:job, '60 s');
SELECT state, last_error FROM dsr1_jobs WHERE id = :job;

-- refused
\set VERBOSITY sqlstate
SELECT dsr1_job_pause(:job);
SELECT dsr1_job_resume(:job);
\set VERBOSITY terse
SELECT dsr1_job_pause(-1);
SELECT dsr1_job_wait(-1);
SELECT dsr1_job_alter(:job, '{"where": "true"}');
SELECT dsr1_job_alter(:job, '{"batch": 1000}');
SELECT dsr1_job_alter(:job, '[]');
SELECT dsr1_job_verify(:job, -1);
SELECT dsr1_job_retry(:job);
SELECT dsr1_job_wait(NULL) IS NULL;
CREATE TRIGGER mine AFTER INSERT ON item FOR EACH STATEMENT EXECUTE FUNCTION dsr1_job_enqueue('1');
INSERT INTO item VALUES (1000, 'x');
DROP TRIGGER mine ON item;
CREATE TRIGGER mine AFTER INSERT ON item FOR EACH ROW EXECUTE FUNCTION dsr1_job_enqueue('no number');
INSERT INTO item VALUES (1001, 'x');
DROP TABLE item, risky, poisoned, watched;
DROP FUNCTION skip;
