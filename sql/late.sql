-- Conditions that ask wait until joins, sorts and limits have dropped rows
LOAD 'dsr1';
CREATE TABLE regress_many AS SELECT i AS id, 'text ' || i AS body, i % 10 AS grp FROM generate_series(1, 200) AS i;
CREATE TABLE regress_few AS SELECT i * 20 AS id, 'note ' || i AS note FROM generate_series(1, 10) AS i;
ANALYZE regress_many, regress_few;
CREATE FUNCTION regress_explain(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) ' || query LOOP
		CONTINUE WHEN line ~ 'Tokens:|Window:|Sort Method|Storage|Buckets|Batches:|Disabled|Rows Removed|Memo Hits';
		-- before 18, rows of a loop are rounded
		RETURN NEXT regexp_replace(regexp_replace(replace(line, 'rows=9.78', 'rows=10'), '\.00', '', 'g'), '"?(regress_)', '\1');
	END LOOP;
END
$$;
SET max_parallel_workers_per_gather = 0;
-- a join that drops most rows comes first, from either side
SET enable_nestloop = off;
SET enable_mergejoin = off;
SELECT regress_explain($$SELECT m.id, note FROM regress_many m JOIN regress_few USING (id) WHERE dsr1_filter_score(body, 'x') >= 0$$);
SELECT regress_explain($$SELECT m.id, note FROM regress_many m JOIN regress_few f ON m.id = f.id AND m.grp = 0 AND f.note <> 'note 3'
                          WHERE dsr1_filter_score(body, 'x') >= 0 AND dsr1_filter_score(note, 'y') >= 0$$);
-- also with more than one condition, and calls behind them
SELECT regress_explain($$SELECT m.id, dsr1_complete(body, 1) FROM regress_many m JOIN regress_few USING (id)
                          WHERE dsr1_filter_score(body, 'x') >= 0 AND dsr1_filter_score(body, 'y') >= 0$$);
SET enable_hashjoin = off;
SET enable_nestloop = on;
SELECT regress_explain($$SELECT m.id FROM regress_many m WHERE dsr1_filter_score(body, 'x') >= 0 AND EXISTS (SELECT 1 FROM regress_few f WHERE f.id = m.id)$$);
SET enable_nestloop = off;
SET enable_mergejoin = on;
SELECT regress_explain($$SELECT m.id, note FROM regress_many m JOIN regress_few USING (id) WHERE dsr1_filter_score(note, 'x') >= 0$$);
RESET enable_hashjoin;
RESET enable_nestloop;
RESET enable_mergejoin;
-- not where the join keeps all
SELECT regress_explain($$SELECT f.id FROM regress_few f LEFT JOIN regress_many USING (id) WHERE dsr1_filter_score(note, 'x') >= 0$$);
-- ORDER BY ... LIMIT: the first rows in order are enough
SELECT regress_explain($$SELECT id FROM regress_many WHERE dsr1_filter_score(body, 'x') >= 0 ORDER BY grp, id DESC LIMIT 3$$);
SELECT regress_explain($$SELECT id, dsr1_complete(body, 1) FROM regress_many
                          WHERE dsr1_filter_score(body, 'x') >= 0 AND dsr1_filter_score(body, 'y') >= 0 ORDER BY grp, id LIMIT 2$$);
-- the same rows without
CREATE TABLE regress_rows AS
    SELECT 'join' AS what, array_agg(id ORDER BY id) AS ids
      FROM (SELECT m.id FROM regress_many m JOIN regress_few USING (id) WHERE dsr1_filter(body || note, 'It is about a number.')) AS s
    UNION ALL
    SELECT 'limit', array_agg(id) FROM (SELECT id FROM regress_many WHERE dsr1_filter_score(body, 'x') > 0.2 ORDER BY grp, id LIMIT 5) AS s;
SET dsr1.enable_late_filter = off;
SELECT r.what, r.ids IS NOT DISTINCT FROM s.ids AS same
  FROM regress_rows AS r,
       (SELECT 'join' AS what, array_agg(id ORDER BY id) AS ids
          FROM (SELECT m.id FROM regress_many m JOIN regress_few USING (id) WHERE dsr1_filter(body || note, 'It is about a number.')) AS s
        UNION ALL
        SELECT 'limit', array_agg(id) FROM (SELECT id FROM regress_many WHERE dsr1_filter_score(body, 'x') > 0.2 ORDER BY grp, id LIMIT 5) AS s) AS s
 WHERE r.what = s.what ORDER BY 1;
SELECT regress_explain($$SELECT id FROM regress_few WHERE dsr1_filter_score(note, 'x') >= 0 ORDER BY note LIMIT 2$$);
RESET dsr1.enable_late_filter;
-- a policy is not overtaken: what it hides is seen by nothing else
CREATE ROLE regress_dsr1_reader;
GRANT SELECT ON regress_few, regress_many TO regress_dsr1_reader;
GRANT EXECUTE ON FUNCTION dsr1_filter_score TO regress_dsr1_reader;
ALTER TABLE regress_few ENABLE ROW LEVEL SECURITY;
CREATE POLICY regress_policy ON regress_few USING (dsr1_filter_score(note, 'public') >= 0);
SET ROLE regress_dsr1_reader;
SELECT regress_explain($$SELECT id FROM regress_few ORDER BY note LIMIT 2$$);
RESET ROLE;
DROP TABLE regress_many, regress_few, regress_rows;
DROP FUNCTION regress_explain;
REVOKE ALL ON FUNCTION dsr1_filter_score FROM regress_dsr1_reader;
DROP ROLE regress_dsr1_reader;
