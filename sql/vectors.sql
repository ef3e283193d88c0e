-- Vectors, and what depends on the model's file
SELECT array_length(v, 1) > 1 AS many, abs((SELECT sum(x::float8 * x) FROM unnest(v) AS x) - 1) < 1e-5 AS length_one
  FROM (SELECT dsr1_embed('Hello world') AS v) AS s;
SELECT dsr1_similarity('A dog barks.', 'A dog barks.') > 0.9999 AS itself,
       dsr1_similarity('A dog barks.', 'A puppy barks.') > dsr1_similarity('A dog barks.', 'Tax law of 1987') AS like_dogs;

-- pinned to the model's digest: IMMUTABLE, so an index may use it
SELECT digest AS model FROM dsr1_models \gset
SELECT dsr1_embed('Hello', :'model') = dsr1_embed('Hello') AS same;
CREATE TABLE regress_texts (id int, body text);
INSERT INTO regress_texts VALUES (1, 'one'), (2, 'two');
SELECT format('CREATE INDEX regress_index ON regress_texts ((dsr1_embed(body, %L)))', :'model') AS command \gset
:command;
SELECT format('ALTER TABLE regress_texts ADD vector real[] GENERATED ALWAYS AS (dsr1_embed(body, %L)) STORED', :'model') AS command \gset
:command;
SELECT bool_and(vector = dsr1_embed(body)) AS same FROM regress_texts;
DROP TABLE regress_texts;
SELECT count(*), bool_and(loaded), bool_and(length(digest) = 64 AND context > 0 AND bytes > 0) FROM dsr1_models;

-- tokens there and back
SELECT dsr1_detokenize(dsr1_tokenize(t)) = t AS same, cardinality(dsr1_tokenize(t)) = dsr1_count_tokens(t) AS counted
  FROM (VALUES ('Hello world'), (''), ('Städte und 日本語 too')) AS v (t);
SELECT n, starts_with(t, dsr1_truncate(t, n)) AS beginning, dsr1_count_tokens(dsr1_truncate(t, n)) <= n AS short_enough
  FROM (SELECT 'Städte und 日本語 too'::text AS t) AS s, generate_series(0, 12, 3) AS n;
SELECT dsr1_truncate('short', 100);
SELECT dsr1_prewarm('The capital of France is') = dsr1_count_tokens('The capital of France is') AS prewarmed;
SELECT dsr1_reload();

-- refused
\set VERBOSITY sqlstate
SELECT dsr1_embed('x', repeat('0', 64));
SELECT dsr1_embed('x', 'abc');
SELECT dsr1_detokenize(ARRAY[-1]);
SELECT dsr1_detokenize(ARRAY[1, NULL]);
SELECT dsr1_truncate('x', -1);
SELECT dsr1_embed(repeat('word ', 5000));
