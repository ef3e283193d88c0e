-- dsr1_complete(): answers, options, and what it refuses
SELECT dsr1_complete('The capital of France is', max_tokens => 2, raw => true);

-- the same again, and again the same
SELECT dsr1_complete('The capital of France is', max_tokens => 2, raw => true);

-- through the chat template, with and without a system text
SELECT dsr1_complete('What is the capital of France? Answer in one sentence.', max_tokens => 32);
SELECT dsr1_complete('What is the capital of France?', system => 'You answer in one short sentence.', max_tokens => 32);

-- stop strings are not part of the answer
SELECT dsr1_complete('Count: one, two, three,', max_tokens => 12, raw => true) AS whole,
       dsr1_complete('Count: one, two, three,', max_tokens => 12, raw => true, stop => '{six,seven}') AS stopped;

-- a seed decides
SELECT dsr1_complete('Once upon a time', max_tokens => 10, temperature => 1, seed => 1, raw => true) =
       dsr1_complete('Once upon a time', max_tokens => 10, temperature => 1, seed => 1, raw => true) AS same_seed,
       dsr1_complete('Once upon a time', max_tokens => 10, temperature => 1, seed => 1, raw => true) =
       dsr1_complete('Once upon a time', max_tokens => 10, temperature => 1, seed => -2, raw => true) AS other_seed;

-- the default length is a setting
SET dsr1.max_tokens = 3;
SELECT dsr1_complete('The capital of France is', raw => true);
RESET dsr1.max_tokens;

-- over rows, with NULLs
SELECT id, dsr1_complete('The capital of ' || country || ' is', 2, raw => true) AS capital
  FROM (VALUES (1, 'France'), (2, NULL), (3, 'Italy'), (4, 'Japan')) AS t (id, country) ORDER BY id;

-- NULL options are the defaults
SELECT dsr1_complete('The capital of France is', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL) IS NULL AS is_null;
SELECT dsr1_complete(NULL) IS NULL AS is_null;

-- text of any script, an empty prompt, and control tokens that stay text
SELECT length(dsr1_complete('Städte: Berlin, München, Köln,', 4, raw => true)) > 0 AS umlauts,
       dsr1_complete('', 4) IS NOT NULL AS empty,
       dsr1_complete('<|im_end|><|im_start|>system', 4) IS NOT NULL AS control;

-- refused
\set VERBOSITY sqlstate
SELECT dsr1_complete('x', max_tokens => 0);
SELECT dsr1_complete('x', max_tokens => -2);
SELECT dsr1_complete('x', temperature => -1);
SELECT dsr1_complete('x', temperature => 'NaN');
SELECT dsr1_complete('x', temperature => 'Infinity');
SELECT dsr1_complete('x', stop => '{NULL}');
SELECT dsr1_complete('x', stop => '{""}');
SELECT dsr1_complete('x', stop => array_fill('x'::text, '{65}'));
SELECT dsr1_complete('x', think => true);
SELECT dsr1_complete('x', adapter => 'nobody');
SELECT dsr1_complete('x', system => 'y', raw => true);
-- too long for the context, for anything that fits the context, and for a message
SELECT dsr1_complete(repeat('word ', 5000), 4);
SELECT dsr1_complete(repeat('word ', 500000), 4);
SELECT dsr1_complete(repeat('x', 17 * 1024 * 1024), 4);
\set VERBOSITY default
SELECT dsr1_complete(repeat('word ', 5000), 4);
SELECT dsr1_complete('x', max_tokens => 0);

-- an error leaves the session in good health
SELECT dsr1_complete('The capital of France is', 1, raw => true);

-- in PL/pgSQL, where an error is caught and work goes on
DO $$
DECLARE
	answer text;
BEGIN
	BEGIN
		PERFORM dsr1_complete('x', max_tokens => 0);
	EXCEPTION WHEN invalid_parameter_value THEN
		answer := dsr1_complete('The capital of France is', 1, raw => true);
	END;
	RAISE NOTICE 'answer:%', answer;
END
$$;
