-- Adapters: stored in the database, named by requests
SELECT dsr1_adapter_put('one', pg_read_binary_file('../../adapters/shipped1.gguf'), 'the first') =
       encode(sha256(pg_read_binary_file('../../adapters/shipped1.gguf')), 'hex') AS is_the_digest;
SELECT dsr1_adapter_put('two', pg_read_binary_file('../../adapters/shipped2.gguf')) IS NOT NULL AS put;
SELECT name, architecture, parameters > 0 AS parameters, rank, alpha, loaded, bytes =
       length(pg_read_binary_file('../../adapters/shipped1.gguf')) AS bytes, owner = current_user::regrole AS own, comment,
       model_digest = (SELECT digest FROM dsr1_models) AS model
  FROM dsr1_adapters ORDER BY name;
SELECT attstorage FROM pg_attribute WHERE attrelid = 'dsr1_adapter'::regclass AND attname = 'data';
SELECT dsr1_adapter_export('one') = pg_read_binary_file('../../adapters/shipped1.gguf') AS same;

-- by argument, by option, by the session's default; "" is none
CREATE TABLE answers AS
SELECT dsr1_complete('The sea is', 8, raw => true) AS plain,
       dsr1_complete('The sea is', 8, raw => true, adapter => 'one') AS one,
       dsr1_complete('The sea is', 8, raw => true, adapter => 'two') AS two;
SELECT plain <> one AS one_differs, plain <> two AS two_differs, one <> two AS differ FROM answers;
SET dsr1.adapter = 'one';
SELECT dsr1_complete('The sea is', 8, raw => true) = one AS by_default,
       dsr1_complete('The sea is', 8, raw => true, adapter => 'two') = two AS by_argument,
       dsr1_complete('The sea is', 8, raw => true, adapter => '') = plain AS none
  FROM answers;
CREATE TABLE turns AS SELECT name, dsr1_chat('[{"role": "user", "content": "Hello"}]',
       jsonb_build_object('max_tokens', 4, 'adapter', name)) ->> 'content' AS answer FROM unnest(ARRAY['', 'one', 'two', NULL]) AS name;
SELECT count(DISTINCT answer) AS by_option, count(*) FILTER (WHERE name IS NULL AND answer = (SELECT answer FROM turns WHERE name = 'one'))
       AS null_is_the_default FROM turns;
SELECT dsr1_scores('Lovely.', '{good,bad}') AS with_one \gset
SELECT dsr1_filter_score('Lovely.', 'It is praise.') AS filter_with_one, dsr1_logprob('The sea', ' is') AS logprob_with_one,
       dsr1_embed('The sea') AS embed_with_one \gset
SELECT string_agg(token, '' ORDER BY token_no) = one AS streamed
  FROM answers, dsr1_stream('The sea is', 8, raw => true) GROUP BY one;
RESET dsr1.adapter;
SELECT dsr1_scores('Lovely.', '{good,bad}') <> :'with_one' AS scores, dsr1_filter_score('Lovely.', 'It is praise.') <>
       :'filter_with_one' AS filter, dsr1_logprob('The sea', ' is') <> :'logprob_with_one' AS logprob,
       dsr1_embed('The sea') <> :'embed_with_one' AS embed;

-- rows with different adapters, and with none, in one query
CREATE TABLE rows AS SELECT i AS id, (ARRAY['', 'one', 'two'])[1 + i % 3]::name AS adapter FROM generate_series(1, 12) AS i;
EXPLAIN (COSTS OFF) SELECT dsr1_complete('The sea is', 8, raw => true, adapter => adapter) FROM rows;
SELECT count(*) FROM rows, answers
 WHERE dsr1_complete('The sea is', 8, raw => true, adapter => adapter) =
       CASE adapter WHEN 'one' THEN one WHEN 'two' THEN two ELSE plain END;
SET dsr1.enable_batch = off;
SELECT count(*) FROM rows, answers
 WHERE dsr1_complete('The sea is', 8, raw => true, adapter => adapter) =
       CASE adapter WHEN 'one' THEN one WHEN 'two' THEN two ELSE plain END;
RESET dsr1.enable_batch;

-- a name that is put again is another adapter, at once; what was named by digest is not
SELECT digest AS one_digest FROM dsr1_adapters WHERE name = 'one' \gset
SELECT digest AS model_digest FROM dsr1_models \gset
CREATE FUNCTION swap() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM dsr1_adapter_put('one', pg_read_binary_file('../../adapters/shipped2.gguf'));
	RETURN dsr1_complete('The sea is', 8, raw => true, adapter => 'one');
END $$;
BEGIN;
SELECT swap() = two AS now_two FROM answers;
\set VERBOSITY terse
SELECT dsr1_embed('The sea', :'model_digest', :'one_digest');
\set VERBOSITY default
ROLLBACK;
SELECT dsr1_complete('The sea is', 8, raw => true, adapter => 'one') = one AS one_again FROM answers;
SELECT dsr1_embed('The sea', :'model_digest', :'one_digest') = :'embed_with_one' AS by_digest,
       dsr1_embed('The sea', :'model_digest') = dsr1_embed('The sea') AS without;
SET dsr1.adapter = 'two';
SELECT dsr1_embed('The sea', :'model_digest', :'one_digest') = :'embed_with_one' AS by_digest,
       dsr1_embed('The sea', :'model_digest') = dsr1_embed('The sea') AS with_another;
RESET dsr1.adapter;
CREATE TABLE vectors (body text, one real[] GENERATED ALWAYS AS (dsr1_embed(body,
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0000000000000000000000000000000000000000000000000000000000000000')) STORED);

-- planning asks nothing, not even whether the adapter is there
EXPLAIN (COSTS OFF) SELECT dsr1_complete('The sea is', 8, adapter => 'nobody');
PREPARE by_name(name) AS SELECT dsr1_complete('The sea is', 8, raw => true, adapter => $1) = one FROM answers;
EXECUTE by_name('one');
EXECUTE by_name('two');

-- refused
SELECT dsr1_complete('The sea is', adapter => 'nobody');
SELECT dsr1_generate('x', '{"type": "boolean"}', '{"adapter": "nobody"}');
SELECT dsr1_generate('x', '{"type": "boolean"}', '{"adapter": 5}');
SET dsr1.adapter = 'nobody';
SELECT dsr1_filter('x', 'y');
RESET dsr1.adapter;
SELECT length(repeat('x', 64)) FROM set_config('dsr1.adapter', repeat('x', 64), false);
SELECT dsr1_adapter_put('three', 'no GGUF file');
SELECT dsr1_adapter_put('three', '');
SELECT dsr1_adapter_put('three', pg_read_binary_file('../../adapters/foreign.gguf'));
SELECT dsr1_adapter_put('three', substring(pg_read_binary_file('../../adapters/shipped1.gguf') FOR 5000));
SELECT dsr1_adapter_put('', pg_read_binary_file('../../adapters/shipped1.gguf'));
SELECT dsr1_adapter_put(NULL, 'x'), dsr1_adapter_put('x', NULL);
SELECT dsr1_adapter_drop('three');
SELECT dsr1_adapter_export('three');
SELECT name FROM dsr1_adapters ORDER BY name;
BEGIN READ ONLY;
SELECT dsr1_adapter_put('three', 'x');
ROLLBACK;

-- whose they are
CREATE ROLE regress_dsr1_put;
CREATE ROLE regress_dsr1_use;
GRANT EXECUTE ON FUNCTION dsr1_adapter_put, dsr1_adapter_drop, dsr1_adapter_export TO regress_dsr1_put;
GRANT EXECUTE ON FUNCTION dsr1_complete TO regress_dsr1_use;
SET ROLE regress_dsr1_use;
SELECT dsr1_complete('The sea is', 8, raw => true, adapter => 'one') <> '' AS used;
SELECT name, rank FROM dsr1_adapters ORDER BY name;
SELECT name FROM dsr1_adapter;
SELECT dsr1_adapter_put('mine', 'x');
SELECT dsr1_adapter_drop('one');
SELECT dsr1_adapter_export('one');
SET ROLE regress_dsr1_put;
SELECT dsr1_adapter_put('one', 'x');
SELECT dsr1_adapter_drop('one');
SELECT dsr1_adapter_export('one');
RESET ROLE;
CREATE TABLE bytes AS SELECT pg_read_binary_file('../../adapters/shipped2.gguf') AS bytes;
GRANT SELECT ON bytes TO regress_dsr1_put;
SET ROLE regress_dsr1_put;
SELECT dsr1_adapter_put('mine', bytes) IS NOT NULL AS put FROM bytes;
SELECT owner FROM dsr1_adapters WHERE name = 'mine';
SELECT dsr1_adapter_put('mine', bytes, 'again') IS NOT NULL AS put FROM bytes;
SELECT dsr1_adapter_export('mine') = bytes AS exported FROM bytes;
RESET ROLE;
SELECT dsr1_adapter_put('mine', bytes, 'by another') IS NOT NULL AS put FROM bytes;
SELECT owner, comment FROM dsr1_adapters WHERE name = 'mine';
SELECT dsr1_adapter_drop('mine');

-- what is dropped goes, file and all; a file that is gone comes back for others
SELECT dsr1_adapter_drop('two');
SELECT dsr1_complete('The sea is', 8, raw => true, adapter => 'two');
SELECT count(*) FROM pg_ls_dir('pg_stat_tmp/dsr1_adapters') AS file
 WHERE file = encode(sha256(pg_read_binary_file('../../adapters/shipped2.gguf')), 'hex') || '.gguf';
SELECT dsr1_adapter_put('twin', pg_read_binary_file('../../adapters/shipped1.gguf')) = :'one_digest' AS same;
SELECT dsr1_adapter_drop('twin');
SELECT loaded FROM dsr1_adapters WHERE name = 'one';
SELECT dsr1_complete('The sea is', 8, raw => true, adapter => 'one') = one AS still FROM answers;
SELECT loaded FROM dsr1_adapters WHERE name = 'one';

DROP TABLE answers, turns, rows, vectors, bytes;
DROP FUNCTION swap;
DROP OWNED BY regress_dsr1_put, regress_dsr1_use;
DROP ROLE regress_dsr1_put, regress_dsr1_use;
SELECT dsr1_adapter_drop('one');
