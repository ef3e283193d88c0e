/* pg_ext/dsr1--0.1.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION dsr1" to load this file. \quit

--
-- Generation
--

-- Not strict: NULL options mean the default. Returns NULL for a NULL prompt.
CREATE FUNCTION dsr1_complete(prompt text,
                              max_tokens int DEFAULT NULL,
                              temperature float8 DEFAULT 0,
                              seed bigint DEFAULT 0,
                              stop text[] DEFAULT NULL,
                              system text DEFAULT NULL,
                              think bool DEFAULT NULL,
                              raw bool DEFAULT false,
                              adapter name DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'sql_complete'
LANGUAGE C VOLATILE PARALLEL SAFE CALLED ON NULL INPUT COST 100000;

COMMENT ON FUNCTION dsr1_complete(text, int, float8, bigint, text[], text, bool, bool, name) IS
'the language model''s answer to a prompt, or with raw => true the text that follows it';

REVOKE EXECUTE ON FUNCTION dsr1_complete(text, int, float8, bigint, text[], text, bool, bool, name) FROM PUBLIC;

--
-- Tokens
--

CREATE FUNCTION dsr1_count_tokens(input text)
RETURNS int
AS 'MODULE_PATHNAME', 'sql_count_tokens'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;

COMMENT ON FUNCTION dsr1_count_tokens(text) IS
'number of tokens that the language model reads for a text';

REVOKE EXECUTE ON FUNCTION dsr1_count_tokens(text) FROM PUBLIC;

--
-- Operations
--

CREATE FUNCTION dsr1_version()
RETURNS text
AS 'MODULE_PATHNAME', 'sql_version'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION dsr1_version() IS 'version of the dsr1 library';

CREATE FUNCTION dsr1_stat_engine(OUT pid int,
                                 OUT state text,
                                 OUT uptime interval,
                                 OUT restarts bigint,
                                 OUT batch_now int,
                                 OUT queue int,
                                 OUT kv_used bigint,
                                 OUT kv_size bigint,
                                 OUT prefix_hit_ratio float8,
                                 OUT tok_s_prefill float8,
                                 OUT tok_s_decode float8,
                                 OUT rss bigint,
                                 OUT last_error text)
RETURNS record
AS 'MODULE_PATHNAME', 'sql_stat_engine'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;

COMMENT ON FUNCTION dsr1_stat_engine() IS 'state of the inference engine; never starts it';

CREATE VIEW dsr1_stat_engine AS
    SELECT * FROM @extschema@.dsr1_stat_engine();

COMMENT ON VIEW dsr1_stat_engine IS 'state of the inference engine, one row';
COMMENT ON COLUMN dsr1_stat_engine.pid IS 'process of the engine, NULL while there is none';
COMMENT ON COLUMN dsr1_stat_engine.state IS 'stopped, starting, loading, ready, restarting or failed';
COMMENT ON COLUMN dsr1_stat_engine.uptime IS 'since the engine became ready';
COMMENT ON COLUMN dsr1_stat_engine.restarts IS 'how often the engine was started again after it died';
COMMENT ON COLUMN dsr1_stat_engine.batch_now IS 'requests running now';
COMMENT ON COLUMN dsr1_stat_engine.queue IS 'requests waiting';
COMMENT ON COLUMN dsr1_stat_engine.kv_used IS 'bytes of keys and values in use';
COMMENT ON COLUMN dsr1_stat_engine.kv_size IS 'bytes for keys and values (dsr1.kv_cache_size)';
COMMENT ON COLUMN dsr1_stat_engine.prefix_hit_ratio IS 'share of prompt tokens found in the cache';
COMMENT ON COLUMN dsr1_stat_engine.tok_s_prefill IS 'prompt tokens computed per second of such work';
COMMENT ON COLUMN dsr1_stat_engine.tok_s_decode IS 'answer tokens computed per second of such work';
COMMENT ON COLUMN dsr1_stat_engine.rss IS 'bytes of memory the engine occupies';
COMMENT ON COLUMN dsr1_stat_engine.last_error IS 'why the engine died or did not start last time';

GRANT SELECT ON dsr1_stat_engine TO PUBLIC;
