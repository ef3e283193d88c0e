-- What the planner makes of our functions: volatility, costs, selectivities, counted in calls
LOAD 'dsr1';
-- what a function asks counts, too
SET dsr1.track = 'all';
SET max_parallel_workers_per_gather = 0;
CREATE TABLE regress_plan AS SELECT i AS id, 'Text ' || i AS body, i % 4 AS grp FROM generate_series(1, 24) AS i;
ALTER TABLE regress_plan ADD PRIMARY KEY (id);
ANALYZE regress_plan;
-- calls that a query makes, as the view of usage counts them
CREATE FUNCTION regress_calls(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	before bigint;
	after bigint;
BEGIN
	SELECT coalesce(sum(calls), 0) INTO before FROM dsr1_stat_usage;
	EXECUTE 'SELECT md5(string_agg(q::text, '''')) FROM (' || query || ') AS q';
	SELECT coalesce(sum(calls), 0) INTO after FROM dsr1_stat_usage;
	RETURN after - before;
END
$$;
CREATE FUNCTION regress_plan(query text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	plan jsonb;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
	RETURN plan -> 0 -> 'Plan';
END
$$;

-- a condition keeps a third of the rows as far as anybody knows, and then what it kept so far
SELECT regress_plan($$SELECT * FROM regress_plan WHERE dsr1_filter(body, 'It is a text.')$$) -> 'Plan Rows' AS unknown;
SELECT count(*) FILTER (WHERE keeps) AS kept, count(*) FILTER (WHERE NOT keeps) AS dropped FROM (SELECT dsr1_filter(body, 'It is a text.') AS keeps FROM regress_plan OFFSET 0) AS f \gset
SELECT (regress_plan($$SELECT * FROM regress_plan WHERE dsr1_filter(body, 'It is a text.')$$) -> 'Plan Rows')::int
       = greatest(1, round(24 * (:kept + 1) / (:kept + :dropped + 3.0))) AS learned;
SELECT regress_plan($$SELECT * FROM regress_plan WHERE dsr1_filter(body, 'Another one.')$$) -> 'Plan Rows' AS still_unknown;

-- STABLE: good enough to look something up in an index, and then asked once, not for each row
SET enable_seqscan = off;
SELECT p ->> 'Node Type' AS node, p ->> 'Index Cond' AS condition
  FROM regress_plan($$SELECT * FROM regress_plan WHERE id = length(dsr1_complete('Hello', 1))$$) AS p;
SELECT regress_calls($$SELECT * FROM regress_plan WHERE id = length(dsr1_complete('Hello', 1))$$);
RESET enable_seqscan;
SELECT regress_calls($$SELECT * FROM regress_plan WHERE id = length(dsr1_complete('Hello', 2))$$) AS scanned;
-- but not to be kept in a table or an index; with a digest it is
\set VERBOSITY sqlstate
CREATE TABLE regress_generated (body text, answer text GENERATED ALWAYS AS (dsr1_complete(body, 1)) STORED);
CREATE INDEX ON regress_plan (dsr1_complete(body, 1));
\set VERBOSITY default
SELECT provolatile FROM pg_proc WHERE oid = 'dsr1_embed(text, dsr1_digest)'::regprocedure;

-- a single call is never compiled, however long its answer may be; many rows are worth it
SELECT (regress_plan(q) ->> 'Total Cost')::float8 < current_setting('jit_above_cost')::float8 AS not_compiled
  FROM (VALUES ($$SELECT dsr1_complete('Hello')$$), ($$SELECT dsr1_complete('Hello', 1000000)$$),
               ($$SELECT dsr1_summarize('Hello', 1000000)$$), ($$SELECT dsr1_classify('Hello', '{a,b}')$$)) AS v (q);
SELECT (regress_plan($$SELECT dsr1_complete(i::text, 256) FROM generate_series(1, 100000) AS i$$) ->> 'Total Cost')::float8
       > current_setting('jit_above_cost')::float8 AS compiled;

-- STRICT: a filter on the inner side of an outer join makes it an inner one; who keeps NULLs does not
SELECT regress_plan($$SELECT * FROM regress_plan a LEFT JOIN regress_plan b ON b.id = a.id + 20 WHERE dsr1_filter(b.body, 'x')$$)
       @? '$.** ? (@."Join Type" == "Left")' AS still_outer;
SELECT regress_plan($$SELECT * FROM regress_plan a LEFT JOIN regress_plan b ON b.id = a.id + 20
                      WHERE coalesce(dsr1_filter(b.body, 'x'), true)$$) @? '$.** ? (@."Join Type" == "Left")' AS still_outer;
SET enable_nestloop = off;
-- so PostgreSQL would filter below the join, 24 calls; it waits above it for the 3 that the join keeps
SELECT regress_calls($$SELECT * FROM regress_plan a LEFT JOIN regress_plan b ON b.id = a.id + 20 WHERE a.id <= 3 AND dsr1_filter(b.body, 'late')$$) AS late;
SET dsr1.enable_late_filter = off;
SELECT regress_calls($$SELECT * FROM regress_plan a LEFT JOIN regress_plan b ON b.id = a.id + 20 WHERE a.id <= 3 AND dsr1_filter(b.body, 'early')$$) AS early;
RESET dsr1.enable_late_filter;
RESET enable_nestloop;

-- written twice, computed once; a column of a view that nobody reads, never
SELECT regress_calls($$SELECT dsr1_complete(body, 1), upper(dsr1_complete(body, 1)) FROM regress_plan WHERE length(dsr1_complete(body, 1)) >= 0$$);
CREATE VIEW regress_plan_view AS SELECT id, dsr1_complete(body, 3) AS answer FROM regress_plan;
SELECT regress_calls('SELECT id FROM regress_plan_view');
-- LIMIT asks for what it returns, as the window grows: 1, then 2 more
SELECT regress_calls('SELECT answer FROM regress_plan_view LIMIT 1');
SELECT regress_calls('SELECT answer FROM regress_plan_view LIMIT 3');
-- behind a sort with LIMIT, only what is left is asked
SELECT regress_calls($$SELECT id, dsr1_complete(body, 4) FROM regress_plan ORDER BY grp, id DESC LIMIT 3$$);
-- cheap conditions come first, wherever they stand
SELECT regress_calls($$SELECT * FROM regress_plan WHERE dsr1_filter(body, 'cheap') AND id <= 5$$);

DROP VIEW regress_plan_view;
DROP FUNCTION regress_calls, regress_plan;
DROP TABLE regress_plan;
