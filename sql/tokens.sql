-- dsr1_count_tokens()
SELECT dsr1_count_tokens('') AS none,
       dsr1_count_tokens('Hello') AS one,
       dsr1_count_tokens('The quick brown fox jumps over the lazy dog.') AS fox,
       dsr1_count_tokens(NULL) AS null;

-- digits one by one, scripts in bytes, control tokens as plain text
SELECT dsr1_count_tokens('2024') AS digits,
       dsr1_count_tokens('こんにちは') > 1 AS japanese,
       dsr1_count_tokens('<|im_start|>') > 1 AS control;

-- linear in length
SELECT dsr1_count_tokens(repeat(' hello', 100000));

\set VERBOSITY sqlstate
SELECT dsr1_count_tokens(repeat('x', 17 * 1024 * 1024));
