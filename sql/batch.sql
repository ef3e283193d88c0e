-- Queries over many rows ask ahead; their answers are the same without
LOAD 'dsr1';
CREATE TABLE regress_notes AS
    SELECT i AS id, 'Note ' || i || CASE WHEN i % 2 = 0 THEN ' is nice.' ELSE ' is bad.' END AS body, i % 10 AS grp
      FROM generate_series(1, 40) AS i;
ALTER TABLE regress_notes ADD PRIMARY KEY (id);
ANALYZE regress_notes;
-- plans with counts of requests, but without the model's counts of tokens
CREATE FUNCTION regress_explain(query text, options text DEFAULT 'ANALYZE, ') RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (' || options || 'COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) ' || query LOOP
		CONTINUE WHEN line ~ 'Tokens:|Window:|Index Searches|Sort Method|Storage|Buckets|Batches:|Disabled';
		-- 16 and later sort for an aggregate's ORDER BY, too
		RETURN NEXT regexp_replace(replace(line, 'Sort Key: grp, id', 'Sort Key: grp'), '\.00', '', 'g');
	END LOOP;
END
$$;
CREATE FUNCTION regress_answers(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answers text;
BEGIN
	EXECUTE 'SELECT md5(string_agg(q::text, E''\n'')) FROM (' || query || ') AS q' INTO answers;
	RETURN answers;
END
$$;
SET max_parallel_workers_per_gather = 0;

-- a SELECT list, a condition, both of the same
SELECT regress_explain($$SELECT id, dsr1_classify(body, ARRAY['good', 'bad']) FROM regress_notes$$);
SELECT regress_explain($$SELECT id FROM regress_notes WHERE grp < 5 AND dsr1_filter_score(body, 'praise') >= 0$$);
SELECT regress_explain($$SELECT id, dsr1_filter_score(body, 'praise') FROM regress_notes WHERE dsr1_filter_score(body, 'praise') >= 0$$);
-- what calibration asks besides is asked once
SET dsr1.calibrate = on;
SELECT regress_explain($$SELECT id, dsr1_classify(body, ARRAY['good', 'bad']) FROM regress_notes$$);
RESET dsr1.calibrate;
-- two conditions: the second is asked for what the first keeps
SELECT regress_explain($$SELECT id FROM regress_notes WHERE dsr1_filter_score(body, 'praise') < 0 AND dsr1_filter_score(body, 'blame') >= 0$$);
-- LIMIT: the window grows 1, 2, 4
SELECT regress_explain($$SELECT dsr1_classify(body, ARRAY['good', 'bad']) FROM regress_notes LIMIT 1$$);
SELECT regress_explain($$SELECT dsr1_classify(body, ARRAY['good', 'bad']) FROM regress_notes LIMIT 4$$);
-- the same question is asked once in a statement
SELECT regress_explain($$SELECT dsr1_classify(body, ARRAY['good', 'bad']) FROM (SELECT 'same' AS body FROM regress_notes OFFSET 0) AS s$$);
SELECT regress_explain($$SELECT s FROM (SELECT dsr1_complete(body, 1) AS s FROM regress_notes WHERE id <= 5) AS x WHERE s IS NOT NULL AND length(s) >= 0$$);
-- not asked: what CASE, COALESCE, AND and OR do not come to
SELECT regress_explain($$SELECT CASE WHEN grp = 1 THEN dsr1_complete(body, 1) WHEN grp = 2 THEN dsr1_complete(body, 2) END,
                                coalesce(nullif(grp, 3)::text, dsr1_complete(body, 3)),
                                grp = 4 AND dsr1_filter(body, 'praise'), grp <> 5 OR dsr1_filter(body, 'blame') FROM regress_notes$$);
-- joins, aggregates and windows
SELECT regress_explain($$SELECT dsr1_complete(a.body || b.body, 1) FROM regress_notes a JOIN regress_notes b ON a.id = b.id + 30$$);
SELECT regress_explain($$SELECT count(dsr1_complete(body, 1)), max(dsr1_complete(body, 1)) FILTER (WHERE grp = 0) FROM regress_notes$$);
SELECT regress_explain($$SELECT dsr1_complete(string_agg(body, ' ' ORDER BY id), 1) FROM regress_notes GROUP BY grp$$);
-- UPDATE, INSERT ... SELECT, views, CTEs, subqueries
ALTER TABLE regress_notes ADD label text;
BEGIN;
SELECT regress_explain($$UPDATE regress_notes SET label = dsr1_classify(body, ARRAY['good', 'bad'])$$);
SELECT count(*), bool_and(label = dsr1_classify(body, ARRAY['good', 'bad'])) FROM regress_notes;
ROLLBACK;
BEGIN;
SELECT regress_explain($$INSERT INTO regress_notes (id, label) SELECT id + 100, dsr1_classify(body, ARRAY['good', 'bad']) FROM regress_notes$$);
ROLLBACK;
-- calls in RETURNING are asked ahead of the rows that were changed
BEGIN;
SELECT regress_explain($$UPDATE regress_notes SET label = 'x' WHERE id <= 8 RETURNING id, dsr1_complete(body || label, 1)$$);
SELECT regress_explain($$DELETE FROM regress_notes USING generate_series(1, 3) AS n WHERE id = n RETURNING n, upper(dsr1_complete(body, 1))$$);
SELECT regress_explain($$INSERT INTO regress_notes (id, body) SELECT id + 200, body FROM regress_notes WHERE id > 36 RETURNING id, dsr1_complete(body, 1)$$);
ROLLBACK;
BEGIN;
CREATE TABLE regress_returned AS SELECT id, dsr1_complete(body || id, 1) AS answer FROM regress_notes WHERE id <= 8;
WITH changed AS (UPDATE regress_notes SET label = id WHERE id <= 8 RETURNING id, dsr1_complete(body || label, 1) AS answer)
SELECT count(*), bool_and(c.answer IS NOT DISTINCT FROM r.answer) AS same FROM changed AS c JOIN regress_returned AS r USING (id);
UPDATE regress_notes SET label = 'y' WHERE id = 1 RETURNING id, label, dsr1_complete(body, 1) IS NOT NULL AS answered, (SELECT max(n.id) FROM regress_notes AS n) AS highest;
ROLLBACK;
-- also of partitions, whose columns may lie otherwise; a whole row of another type is left as it is
BEGIN;
CREATE TABLE regress_parts (id int, body text, label text) PARTITION BY RANGE (id);
CREATE TABLE regress_parts_low PARTITION OF regress_parts FOR VALUES FROM (0) TO (5);
CREATE TABLE regress_parts_high (label text, gone int, body text, id int);
ALTER TABLE regress_parts_high DROP COLUMN gone;
ALTER TABLE regress_parts ATTACH PARTITION regress_parts_high FOR VALUES FROM (5) TO (1000);
SELECT regress_explain($$INSERT INTO regress_parts SELECT id, body, 'z' FROM regress_notes WHERE id <= 8 RETURNING id, dsr1_complete(body || label, 1)$$);
SELECT regress_explain($$UPDATE regress_parts SET label = 'x' WHERE id <= 8 RETURNING id, dsr1_complete(body || label, 1)$$);
WITH changed AS (UPDATE regress_parts SET label = id RETURNING id, label, dsr1_complete(body || label, 1) AS answer)
SELECT count(*), bool_and(c.label = c.id::text AND answer IS NOT DISTINCT FROM dsr1_complete(p.body || c.id, 1)) AS same FROM changed AS c JOIN regress_parts AS p USING (id);
WITH changed AS (UPDATE regress_parts AS p SET label = id RETURNING p, dsr1_complete(body, 1) AS answer)
SELECT count(*), bool_and((p).label = (p).id::text AND answer IS NOT DISTINCT FROM dsr1_complete((p).body, 1)) AS same FROM changed;
ROLLBACK;
-- calls of calls are asked once those are answered: 8 and 8, and 8 more
SELECT regress_explain($$SELECT id, dsr1_classify(dsr1_complete(body, 2) || id, ARRAY['good', 'bad']) FROM regress_notes WHERE grp < 2$$);
SELECT regress_explain($$SELECT dsr1_complete(dsr1_complete(dsr1_complete(body, 1) || id, 2) || id, 3) FROM regress_notes WHERE grp < 2$$);
SELECT regress_explain($$SELECT max(dsr1_filter_score(coalesce(dsr1_complete(body, 2) || id, body), 'praise')) FROM regress_notes WHERE grp < 2$$);
-- an error of the sixth row's inner call comes with that row
SELECT id, dsr1_complete(dsr1_complete(CASE id WHEN 6 THEN repeat('word ', 9000) ELSE body END, 1) || id, 2) IS NOT NULL AS answered
  FROM regress_notes WHERE id <= 8 ORDER BY id LIMIT 5;
\set VERBOSITY terse
SELECT id, dsr1_complete(dsr1_complete(CASE id WHEN 6 THEN repeat('word ', 9000) ELSE body END, 1) || id, 2) IS NOT NULL AS answered
  FROM regress_notes WHERE id <= 8 ORDER BY id;
SET dsr1.on_error = 'null';
SELECT id, dsr1_complete(dsr1_complete(CASE id WHEN 6 THEN repeat('word ', 9000) ELSE body END, 1) || id, 2) IS NOT NULL AS answered
  FROM regress_notes WHERE id <= 8 ORDER BY id;
RESET dsr1.on_error;
\set VERBOSITY default
CREATE VIEW regress_view AS SELECT id, dsr1_classify(body, ARRAY['good', 'bad']) AS label FROM regress_notes;
SELECT regress_explain($$SELECT * FROM regress_view$$);
-- an unused column of a view costs nothing
SELECT regress_explain($$SELECT id FROM regress_view$$);
SELECT regress_explain($$WITH c AS MATERIALIZED (SELECT * FROM regress_view) SELECT * FROM c a JOIN c b USING (id)$$);

-- planning asks nothing
SELECT regress_explain($$SELECT id FROM regress_notes WHERE body = dsr1_complete('The capital of France is', 1)$$, '');
-- ORDER BY ... LIMIT asks after the sort
SELECT regress_explain($$SELECT id, dsr1_complete(body, 1) FROM regress_notes ORDER BY grp, id LIMIT 2$$);
-- cheap conditions first, wherever they are written
SELECT regress_explain($$SELECT id FROM regress_notes WHERE dsr1_filter_score(body, 'praise') >= 0 AND id <= 3$$);
-- what a query would ask, without asking
SELECT requests, prompt_tokens > 0 AS tokens FROM dsr1_estimate('SELECT dsr1_complete(body, 1), dsr1_filter(body, $$praise$$) FROM regress_notes');
SELECT requests FROM dsr1_estimate('SELECT 1');
-- nothing is batched where it cannot be, or is not wanted
SELECT regress_explain($$SELECT dsr1_complete('Hello', 1)$$);
SET dsr1.enable_batch = off;
SELECT regress_explain($$SELECT id, dsr1_complete(body, 1) FROM regress_notes WHERE id <= 2$$);
RESET dsr1.enable_batch;

-- the same answers, with and without
CREATE TABLE regress_queries (n serial, query text, answers text);
INSERT INTO regress_queries (query) VALUES
    ($$SELECT id, dsr1_scores(body, ARRAY['good', 'bad', 'so so']) FROM regress_notes$$),
    ($$SELECT id, CASE WHEN grp > 5 THEN dsr1_complete(body, 2) WHEN grp = 2 THEN dsr1_complete(body, 3) ELSE 'none' END FROM regress_notes$$),
    ($$SELECT dsr1_classify(body, ARRAY['good', 'bad']) AS c, count(*) FROM regress_notes GROUP BY c ORDER BY c$$),
    ($$SELECT grp, string_agg(dsr1_complete(body, 2), ',' ORDER BY id) FROM regress_notes GROUP BY grp ORDER BY grp$$),
    ($$SELECT sum(dsr1_filter_score(body, 'praise')) FILTER (WHERE grp < 5) FROM regress_notes$$),
    ($$SELECT a.id, dsr1_complete(a.body || b.body, 2) FROM regress_notes a JOIN regress_notes b ON a.id = b.id + 1 WHERE dsr1_filter_score(a.body, 'praise') > 0.4 ORDER BY 1$$),
    ($$SELECT a.id, b.id, dsr1_complete(b.body, 1) FROM regress_notes a LEFT JOIN regress_notes b ON a.id = b.id + 30 AND dsr1_filter_score(b.body, 'praise') > 0.4 ORDER BY 1$$),
    ($$SELECT id, (SELECT dsr1_complete(n.body, 2)) FROM regress_notes n WHERE id < 10$$),
    ($$SELECT id, x.c FROM regress_notes n, LATERAL (SELECT dsr1_complete(n.body, 2) AS c FROM regress_notes m WHERE m.id = n.id + 1) x WHERE n.id < 10$$),
    ($$SELECT id, row_number() OVER (ORDER BY dsr1_filter_score(body, 'praise'), id) FROM regress_notes$$),
    ($$SELECT dsr1_classify(dsr1_summarize(body, 3), ARRAY['good', 'bad']) FROM regress_notes WHERE id < 8$$),
    ($$SELECT id, dsr1_complete(dsr1_complete(dsr1_complete(body, 1) || id, 2) || dsr1_classify(body, ARRAY['good', 'bad']), 3) FROM regress_notes WHERE id < 12$$),
    ($$SELECT count(dsr1_classify(dsr1_complete(body, 2), ARRAY['good', 'bad'])) FILTER (WHERE grp < 6) FROM regress_notes$$),
    ($$SELECT id FROM regress_notes WHERE id < 12 AND dsr1_filter_score(dsr1_complete(body, 2), 'praise') > 0.3 AND dsr1_filter_score(body, 'blame') > 0.1$$),
    ($$SELECT unnest(ARRAY[id, 0]), dsr1_complete(body, 2) FROM regress_notes WHERE id < 8$$),
    ($$SELECT id FROM regress_notes WHERE (grp < 3 OR dsr1_filter_score(body, 'praise') > 0.4) AND dsr1_filter_score(body, 'blame') > 0.1$$),
    ($$SELECT id, dsr1_complete(NULLIF(body, 'Note 3 is bad.'), 2), dsr1_filter(NULL, body) FROM regress_notes WHERE id < 5$$),
    ($$SELECT id, dsr1_complete(body, 2) FROM regress_notes WHERE id < 5 UNION ALL SELECT id, dsr1_complete(body, 2) FROM regress_notes WHERE id > 37$$),
    ($$WITH RECURSIVE r AS (SELECT 1 AS n, dsr1_complete('one', 1, raw => true) AS t UNION ALL SELECT n + 1, dsr1_complete(t, 1, raw => true) FROM r WHERE n < 4) SELECT * FROM r$$);
SET dsr1.prefetch_rows = 7;
UPDATE regress_queries SET answers = regress_answers(query);
SET dsr1.enable_batch = off;
SELECT n, answers IS NOT DISTINCT FROM regress_answers(query) AS same FROM regress_queries ORDER BY n;
RESET dsr1.enable_batch;
RESET dsr1.prefetch_rows;

-- cursors stop and go on, also backwards
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id, dsr1_complete(body, 1) IS NOT NULL AS answered FROM regress_notes ORDER BY id;
FETCH 3 FROM c;
SELECT dsr1_complete('The capital of France is', 1, raw => true);
FETCH BACKWARD 2 FROM c;
FETCH 2 FROM c;
COMMIT;
-- prepared statements, also generic ones
PREPARE q (int) AS SELECT count(dsr1_complete(body, 1)) FROM regress_notes WHERE id <= $1;
SET plan_cache_mode = force_generic_plan;
EXECUTE q (2);
EXECUTE q (5);
RESET plan_cache_mode;
-- in parallel workers
SET max_parallel_workers_per_gather = 2;
SET parallel_setup_cost = 0;
SET min_parallel_table_scan_size = 0;
ALTER TABLE regress_notes SET (parallel_workers = 2);
SELECT regress_explain($$SELECT id, dsr1_complete(body, 1) FROM regress_notes$$, '');
SELECT count(dsr1_complete(body, 1)) FROM regress_notes;
SET max_parallel_workers_per_gather = 0;

-- an error comes when its row does, and leaves the session in good health
\set VERBOSITY sqlstate
SELECT dsr1_complete(CASE id WHEN 9 THEN repeat('word ', 5000) ELSE body END, 1) IS NOT NULL AS answered
  FROM (SELECT * FROM regress_notes ORDER BY id) AS s LIMIT 8;
SELECT count(dsr1_complete(CASE id WHEN 9 THEN repeat('word ', 5000) ELSE body END, 1)) FROM regress_notes;
SET dsr1.on_error = 'null';
SELECT count(dsr1_complete(CASE id WHEN 9 THEN repeat('word ', 5000) ELSE body END, 1)) FROM regress_notes;
RESET dsr1.on_error;
DO $$
BEGIN
	FOR i IN 1 .. 3 LOOP
		BEGIN
			PERFORM dsr1_complete(CASE id WHEN i THEN repeat('word ', 5000) ELSE body END, 1) FROM regress_notes;
		EXCEPTION WHEN program_limit_exceeded THEN
			NULL;
		END;
	END LOOP;
END
$$;
SELECT count(dsr1_complete(body, 1)) FROM regress_notes;
SELECT batch_now + queue AS running FROM dsr1_stat_engine;

DROP TABLE regress_notes, regress_queries CASCADE;
DROP FUNCTION regress_explain, regress_answers;
