-- What roles may use, what they have used, and what is on its way (tests/fake)
CREATE ROLE regress_dsr1_reader LOGIN;
CREATE ROLE regress_dsr1_other LOGIN;
GRANT EXECUTE ON FUNCTION dsr1_complete, dsr1_count_tokens TO regress_dsr1_reader, regress_dsr1_other;
ALTER ROLE regress_dsr1_reader SET dsr1.max_tokens_per_day = 20;
SELECT current_user AS admin \gset

-- tokens of a day: refused before any work, whatever role is put on
\c - regress_dsr1_reader
SHOW dsr1.max_tokens_per_day;
SET dsr1.max_tokens_per_day = 1000;
SELECT dsr1_complete('one two three four five six');
SELECT role, function, calls, errors, prompt_tokens, generated_tokens, quota_left FROM dsr1_stat_usage;
SELECT dsr1_complete('one two three four');
SELECT dsr1_complete('one');
SELECT quota_left FROM dsr1_stat_usage;
SELECT dsr1_count_tokens('nor this');
SELECT dsr1_stat_reset();
\c - :admin
SET SESSION AUTHORIZATION regress_dsr1_other;
SELECT dsr1_complete('another role has its own');
SELECT dsr1_complete('[error -4 broken]');
SELECT role, function, calls, errors, quota_left FROM dsr1_stat_usage;
RESET SESSION AUTHORIZATION;
SELECT role, function, calls, errors, quota_left FROM dsr1_stat_usage WHERE role LIKE 'regress%' ORDER BY role;
SELECT dsr1_stat_reset('regress_dsr1_reader'::regrole);
SELECT role, function, calls, quota_left FROM dsr1_stat_usage WHERE role LIKE 'regress%' ORDER BY role;

-- which of them are counted: the limit counts all
\c - :admin
CREATE FUNCTION regress_dsr1_inner(question text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN
    EXECUTE 'SELECT dsr1_complete($1)' INTO answer USING question;
    RETURN answer;
END $$;
ALTER ROLE regress_dsr1_other SET dsr1.max_tokens_per_day = 1000;
SELECT dsr1_stat_reset('regress_dsr1_other'::regrole);
CREATE VIEW regress_dsr1_used AS SELECT function, calls, prompt_tokens, 1000 - quota_left AS used FROM dsr1_stat_usage WHERE role = 'regress_dsr1_other';
SET SESSION AUTHORIZATION regress_dsr1_other;
SET dsr1.track = 'none';
RESET SESSION AUTHORIZATION;
SELECT used AS before FROM regress_dsr1_used \gset
SET dsr1.track = 'none';
SET SESSION AUTHORIZATION regress_dsr1_other;
SELECT dsr1_complete('one two three');
RESET SESSION AUTHORIZATION;
SELECT function, calls, prompt_tokens, used - :before > 0 AS used FROM regress_dsr1_used;
-- by default those that clients send: neither an open cursor nor an error that was caught makes one of them nested
RESET dsr1.track;
SHOW dsr1.track;
BEGIN;
SET SESSION AUTHORIZATION regress_dsr1_other;
DECLARE open CURSOR FOR SELECT generate_series(1, 10);
FETCH open;
SELECT dsr1_complete('with a cursor');
SAVEPOINT s;
SELECT dsr1_complete('[error -4 no]');
ROLLBACK TO s;
SELECT dsr1_complete('after an error');
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT function, calls, prompt_tokens FROM regress_dsr1_used;
SELECT dsr1_stat_reset('regress_dsr1_other'::regrole);
SET SESSION AUTHORIZATION regress_dsr1_other;
SELECT dsr1_complete('one two'), regress_dsr1_inner('one two three four');
RESET SESSION AUTHORIZATION;
SELECT function, calls, prompt_tokens FROM regress_dsr1_used;
SET dsr1.track = 'all';
SET SESSION AUTHORIZATION regress_dsr1_other;
SELECT regress_dsr1_inner('one two three four five');
RESET SESSION AUTHORIZATION;
SELECT function, calls, prompt_tokens FROM regress_dsr1_used;
RESET dsr1.track;
DROP VIEW regress_dsr1_used;
DROP FUNCTION regress_dsr1_inner;
ALTER ROLE regress_dsr1_other RESET dsr1.max_tokens_per_day;

-- requests at once: a job keeps within its owner's limit, by waiting; a session is refused
CREATE TABLE slow (id int PRIMARY KEY, body text, answer text);
GRANT SELECT, UPDATE ON slow TO regress_dsr1_other;
INSERT INTO slow SELECT g, '[hang]' FROM generate_series(1, 10) g;
ALTER ROLE regress_dsr1_other SET dsr1.max_concurrent = 4;
GRANT EXECUTE ON FUNCTION dsr1_annotate TO regress_dsr1_other;
GRANT CREATE ON SCHEMA public TO regress_dsr1_other;
\c - regress_dsr1_other
SELECT dsr1_annotate('slow', 'answer', '{body}{id}', '{"retries": 0}') AS job \gset
\c - :admin
DO $$ BEGIN
    WHILE (SELECT count(*) FROM dsr1_stat_requests WHERE state = 'decode') < 4 LOOP PERFORM pg_sleep(0.01); END LOOP;
END $$;
SELECT datname = current_database() AS here, role, kind, state, job = :job AS job, count(*), count(DISTINCT pid) AS workers,
       min(query) = 'dsr1 job ' || :job AS query, min(prompt_tokens) AS prompt, min(cached_tokens) AS cached, min(generated_tokens) AS generated
  FROM dsr1_stat_requests GROUP BY 1, 2, 3, 4, 5, pid, job;
\c - regress_dsr1_other
SELECT dsr1_complete('one more');
\c - regress_dsr1_reader
SELECT DISTINCT query FROM dsr1_stat_requests;
SELECT dsr1_cancel(max(id)) FROM dsr1_stat_requests;
SELECT dsr1_cancel(0), dsr1_cancel(-1), dsr1_cancel(9223372036854775807), dsr1_cancel(NULL);

-- one request is cancelled, its row fails
\c - regress_dsr1_other
SELECT dsr1_cancel(min(id)) FROM dsr1_stat_requests;
DO $$ BEGIN
    WHILE (SELECT count(*) FROM dsr1_job_errors) < 1 LOOP PERFORM pg_sleep(0.01); END LOOP;
END $$;
SELECT category, sqlstate, message FROM dsr1_job_errors;

-- jobs are seen, and changed, by their owners alone
SELECT count(*) FROM dsr1_jobs;
\c - regress_dsr1_reader
SELECT count(*) FROM dsr1_jobs;
SELECT count(*) FROM dsr1_job_errors;
\set VERBOSITY sqlstate
SELECT dsr1_job_cancel(:job);
SELECT dsr1_job_wait(:job);
\set VERBOSITY default
SELECT * FROM dsr1_job;
SELECT dsr1_annotate('slow', 'answer', 'x');
\c - regress_dsr1_other
SELECT dsr1_job_cancel(:job);
\c - :admin
DO $$ BEGIN
    WHILE (SELECT batch_now FROM dsr1_stat_engine) > 0 LOOP PERFORM pg_sleep(0.01); END LOOP;
END $$;
SELECT count(*) FROM dsr1_stat_requests;

-- rights and policies of the owner hold
CREATE TABLE secret (id int PRIMARY KEY, who name, body text, hidden text, answer text);
INSERT INTO secret SELECT g, CASE g % 2 WHEN 0 THEN 'regress_dsr1_other' ELSE 'somebody' END, 'row ' || g, 'hidden' FROM generate_series(1, 6) g;
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON secret USING (who = current_user);
GRANT SELECT (id, who, body), UPDATE (answer) ON secret TO regress_dsr1_other;
\c - regress_dsr1_other
SELECT dsr1_annotate('secret', 'answer', '{body} {hidden}');
SELECT dsr1_annotate('secret', 'body', 'x {id}');
SELECT dsr1_annotate('secret', 'answer', '{body}') AS job \gset
SELECT dsr1_job_wait(:job, '60 s');
SELECT done, total FROM dsr1_jobs WHERE id = :job;
\c - :admin
SELECT id, answer FROM secret ORDER BY id;

-- who cannot log in owns no job
CREATE ROLE regress_dsr1_group;
GRANT ALL ON slow TO regress_dsr1_group;
GRANT EXECUTE ON FUNCTION dsr1_annotate TO regress_dsr1_group;
SET ROLE regress_dsr1_group;
SELECT dsr1_annotate('slow', 'answer', 'x');
RESET ROLE;

DROP TABLE slow, secret;
DROP OWNED BY regress_dsr1_reader, regress_dsr1_other, regress_dsr1_group;
DROP ROLE regress_dsr1_reader, regress_dsr1_other, regress_dsr1_group;
