-- Other ways to generate: conversations, streams, summaries, aggregates
SELECT r ->> 'finish_reason' AS finish, (r -> 'usage' ->> 'completion')::int AS tokens, length(r ->> 'content') > 0 AS content
  FROM dsr1_chat('[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Name a river."}]', '{"max_tokens": 4}') AS r;
SELECT jsonb_array_length(r -> 'logprobs') AS n, (r -> 'logprobs' -> 0 ->> 'logprob')::float8 <= 0 AS negative
  FROM dsr1_chat('[{"role": "user", "content": "Name a river."}]', '{"max_tokens": 3, "logprobs": true}') AS r;

-- the pieces of a stream are the answer
SELECT string_agg((s).token, '' ORDER BY (s).token_no) = dsr1_complete('The capital of France is', 8, raw => true) AS same,
       count(*) = max((s).token_no) AS numbered, bool_and((s).logprob <= 0) AS logprobs
  FROM (SELECT dsr1_stream('The capital of France is', 8, raw => true) AS s) AS t;
SELECT string_agg(token, '' ORDER BY token_no) = dsr1_complete('The capital of France is', 8, raw => true) AS same
  FROM dsr1_stream('The capital of France is', 8, raw => true);
SELECT dsr1_stream(NULL);
-- what an editor tells: a grammar that the text is the beginning of, how it begins, and a half token to be taken anew
SELECT string_agg(token, '') ~ '^(ab|ac)+a?$' AS masked FROM
  dsr1_stream('The capital of France is', raw => true, options => '{"max_tokens": 5, "grammar": "root ::= (\"a\" [bc])*", "open_end": true}');
SELECT string_agg(s.token, '') = dsr1_complete('The capital of France is', 4, raw => true) AS opening
  FROM dsr1_stream('The capital', 4, raw => true, options => '{"opening": " of France is"}') AS s;
SELECT string_agg(token, '') LIKE 'nce%' AS healed
  FROM dsr1_stream('The capital of Fra', 4, raw => true, options => '{"heal": true}');
-- a stream that is not read to its end leaves nothing behind
SELECT (dsr1_stream('Once upon a time', 400, raw => true)).token_no LIMIT 2;
SELECT dsr1_complete('The capital of France is', 1, raw => true);

SELECT array_length(string_to_array(dsr1_summarize('Berlin is big. Many people live there, and more come every year.', 5), ' '), 1) <= 5 AS short;

-- aggregates, over no rows, some, and more than fit the context
SELECT dsr1_agg(t, 'Name the countries.') IS NULL AS nothing FROM (VALUES ('x')) AS v (t) WHERE t = 'y';
SELECT dsr1_agg(NULL, 'Name the countries.') IS NULL AS nulls;
SELECT length(dsr1_summarize_agg(t ORDER BY t)) > 0 AS some FROM (VALUES ('France is nice.'), (NULL), ('Italy is warm.')) AS v (t);
SET dsr1.max_tokens = 8;
SELECT length(dsr1_agg(t || repeat(' and on it goes', 100), 'Name the countries.')) > 0 AS many
  FROM (VALUES ('France is nice.'), ('Italy is warm.'), ('Norway is cold.'), ('Spain is dry.')) AS v (t);
RESET dsr1.max_tokens;

-- refused
\set VERBOSITY sqlstate
SELECT dsr1_chat('{}');
SELECT dsr1_chat('[]');
SELECT dsr1_chat('"hello"');
SELECT dsr1_chat('[{"role": "user"}]');
SELECT dsr1_chat('[{"role": "nobody", "content": "x"}]');
SELECT dsr1_chat('[{"role": "user", "content": "x"}]', '{"max_tokens": "many"}');
SELECT dsr1_chat('[{"role": "user", "content": "x"}]', '{"no_such_option": 1}');
SELECT dsr1_chat('[{"role": "user", "content": "x"}]', '{"top_p": 2}');
SELECT dsr1_chat('[{"role": "user", "content": "x"}]', '{"stop": [1]}');
SELECT dsr1_chat('[{"role": "user", "content": "x"}]', '{"adapter": "nobody"}');
SELECT dsr1_chat('[{"role": "user", "content": "x"}]', '[]');
SELECT dsr1_fim('def f(', ')', '{"no_such_option": 1}');
SELECT dsr1_summarize('x', 0);
SELECT dsr1_stream('x', max_tokens => 0);
SELECT dsr1_stream('x', raw => true, options => '{"no_such_option": 1}');
SELECT dsr1_stream('x', raw => true, options => '{"grammar": "root ::= ("}');
SELECT dsr1_stream('x', raw => true, options => '{"heal": 1}');
SELECT dsr1_stream('x', options => '{"suffix": "y"}');
SELECT dsr1_fim('def f(', ')', '{"suffix": "y"}');
