-- dsr1_stat_engine: one row about the engine
SELECT dsr1_count_tokens('x') AS tokens;
SELECT state, pid IS NOT NULL AS pid, uptime > '0' AS uptime, batch_now, queue, kv_size > 0 AS kv_size,
       kv_used BETWEEN 0 AND kv_size AS kv_used, prefix_hit_ratio BETWEEN 0 AND 1 AS prefix_hit_ratio,
       tok_s_prefill > 0 AS tok_s_prefill, tok_s_decode > 0 AS tok_s_decode, rss > 0 AS rss, restarts, last_error
  FROM dsr1_stat_engine;

-- a prompt that has been seen is not computed again
SELECT dsr1_complete(repeat('The cat sat on the mat. ', 20), 1) IS NOT NULL AS done;
SELECT dsr1_complete(repeat('The cat sat on the mat. ', 20), 1) IS NOT NULL AS done;
SELECT prefix_hit_ratio > 0 AS hits FROM dsr1_stat_engine;
