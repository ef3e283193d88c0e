/* pg_ext/dsr1--0.1.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION dsr1" to load this file. \quit

--
-- What the planner is told
--

CREATE FUNCTION dsr1_support(internal)
RETURNS internal
AS 'MODULE_PATHNAME', 'sql_support'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION dsr1_support(internal) IS 'costs, selectivities and rows, for the planner';

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
LANGUAGE C STABLE CALLED ON NULL INPUT PARALLEL SAFE COST 100000
SUPPORT @extschema@.dsr1_support;

COMMENT ON FUNCTION dsr1_complete(text, int, float8, bigint, text[], text, bool, bool, name) IS
'the language model''s answer to a prompt, or with raw => true the text that follows it';
REVOKE EXECUTE ON FUNCTION dsr1_complete(text, int, float8, bigint, text[], text, bool, bool, name) FROM PUBLIC;

CREATE FUNCTION dsr1_chat(messages jsonb, options jsonb DEFAULT '{}')
RETURNS jsonb
AS 'MODULE_PATHNAME', 'sql_chat'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100000
SUPPORT @extschema@.dsr1_support;

COMMENT ON FUNCTION dsr1_chat(jsonb, jsonb) IS
'the next turn of a conversation: content, finish_reason, usage, and as asked for reasoning, logprobs, tool_calls';
REVOKE EXECUTE ON FUNCTION dsr1_chat(jsonb, jsonb) FROM PUBLIC;

CREATE FUNCTION dsr1_generate(prompt text, schema jsonb, options jsonb DEFAULT '{}')
RETURNS jsonb
AS 'MODULE_PATHNAME', 'sql_generate'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100000
SUPPORT @extschema@.dsr1_support;

COMMENT ON FUNCTION dsr1_generate(text, jsonb, jsonb) IS
'an answer that is JSON of the given schema';
REVOKE EXECUTE ON FUNCTION dsr1_generate(text, jsonb, jsonb) FROM PUBLIC;

CREATE FUNCTION dsr1_populate(base anyelement, input text, instruction text DEFAULT '')
RETURNS anyelement
AS 'MODULE_PATHNAME', 'sql_populate'
LANGUAGE C STABLE CALLED ON NULL INPUT PARALLEL SAFE COST 100000
SUPPORT @extschema@.dsr1_support;

COMMENT ON FUNCTION dsr1_populate(anyelement, text, text) IS
'a value of the type of base, read out of a text';
REVOKE EXECUTE ON FUNCTION dsr1_populate(anyelement, text, text) FROM PUBLIC;

CREATE FUNCTION dsr1_stream(prompt text,
                              max_tokens int DEFAULT NULL,
                              temperature float8 DEFAULT 0,
                              seed bigint DEFAULT 0,
                              stop text[] DEFAULT NULL,
                              system text DEFAULT NULL,
                              think bool DEFAULT NULL,
                              raw bool DEFAULT false,
                              adapter name DEFAULT NULL,
                              options jsonb DEFAULT NULL,
                              OUT token_no int,
                              OUT token text,
                              OUT logprob float8)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'sql_stream'
LANGUAGE C VOLATILE CALLED ON NULL INPUT PARALLEL RESTRICTED COST 100000 ROWS 100;

COMMENT ON FUNCTION dsr1_stream(text, int, float8, bigint, text[], text, bool, bool, name, jsonb) IS
'an answer piece by piece, as it is computed; in a SELECT list, rows come at once';
REVOKE EXECUTE ON FUNCTION dsr1_stream(text, int, float8, bigint, text[], text, bool, bool, name, jsonb) FROM PUBLIC;

CREATE FUNCTION dsr1_fim(prefix text, suffix text, options jsonb DEFAULT '{}')
RETURNS text
AS 'MODULE_PATHNAME', 'sql_fim'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100000
SUPPORT @extschema@.dsr1_support;

COMMENT ON FUNCTION dsr1_fim(text, text, jsonb) IS
'what stands between a beginning and an end, of code above all';
REVOKE EXECUTE ON FUNCTION dsr1_fim(text, text, jsonb) FROM PUBLIC;

--
-- Decisions
--

CREATE FUNCTION dsr1_classify(input text, labels text[], instruction text DEFAULT '')
RETURNS text
AS 'MODULE_PATHNAME', 'sql_classify'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100000
SUPPORT @extschema@.dsr1_support;

COMMENT ON FUNCTION dsr1_classify(text, text[], text) IS
'the label that fits a text best';
REVOKE EXECUTE ON FUNCTION dsr1_classify(text, text[], text) FROM PUBLIC;

CREATE FUNCTION dsr1_classify(input text, base anyenum, instruction text DEFAULT '')
RETURNS anyenum
AS 'MODULE_PATHNAME', 'sql_classify_enum'
LANGUAGE C STABLE CALLED ON NULL INPUT PARALLEL SAFE COST 100000
SUPPORT @extschema@.dsr1_support;

COMMENT ON FUNCTION dsr1_classify(text, anyenum, text) IS
'the value of an enum that fits a text best';
REVOKE EXECUTE ON FUNCTION dsr1_classify(text, anyenum, text) FROM PUBLIC;

CREATE FUNCTION dsr1_classify_multi(input text, labels text[], threshold float8 DEFAULT 0.5, instruction text DEFAULT '')
RETURNS text[]
AS 'MODULE_PATHNAME', 'sql_classify_multi'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100000
SUPPORT @extschema@.dsr1_support;

COMMENT ON FUNCTION dsr1_classify_multi(text, text[], float8, text) IS
'the labels that apply to a text, each with at least that probability';
REVOKE EXECUTE ON FUNCTION dsr1_classify_multi(text, text[], float8, text) FROM PUBLIC;

CREATE FUNCTION dsr1_scores(input text, labels text[], instruction text DEFAULT '')
RETURNS float8[]
AS 'MODULE_PATHNAME', 'sql_scores'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100000
SUPPORT @extschema@.dsr1_support;

COMMENT ON FUNCTION dsr1_scores(text, text[], text) IS
'how probable each label is; their sum is 1';
REVOKE EXECUTE ON FUNCTION dsr1_scores(text, text[], text) FROM PUBLIC;

CREATE FUNCTION dsr1_filter(input text, condition text)
RETURNS boolean
AS 'MODULE_PATHNAME', 'sql_filter'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100000
SUPPORT @extschema@.dsr1_support;

COMMENT ON FUNCTION dsr1_filter(text, text) IS
'whether a condition holds for a text; NULL if the model is less sure than dsr1.filter_threshold';
REVOKE EXECUTE ON FUNCTION dsr1_filter(text, text) FROM PUBLIC;

CREATE FUNCTION dsr1_filter_score(input text, condition text)
RETURNS float8
AS 'MODULE_PATHNAME', 'sql_filter_score'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100000
SUPPORT @extschema@.dsr1_support;

COMMENT ON FUNCTION dsr1_filter_score(text, text) IS
'the probability that a condition holds for a text';
REVOKE EXECUTE ON FUNCTION dsr1_filter_score(text, text) FROM PUBLIC;

CREATE FUNCTION dsr1_score(input text, rubric text[])
RETURNS float8
AS 'MODULE_PATHNAME', 'sql_score'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100000
SUPPORT @extschema@.dsr1_support;

COMMENT ON FUNCTION dsr1_score(text, text[]) IS
'a mark between 1 and the number of levels: the expectation over the levels described';
REVOKE EXECUTE ON FUNCTION dsr1_score(text, text[]) FROM PUBLIC;

CREATE FUNCTION dsr1_extract(input text, fields text[])
RETURNS jsonb
AS 'MODULE_PATHNAME', 'sql_extract'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100000
SUPPORT @extschema@.dsr1_support;

COMMENT ON FUNCTION dsr1_extract(text, text[]) IS
'fields out of a text, as strings or null';
REVOKE EXECUTE ON FUNCTION dsr1_extract(text, text[]) FROM PUBLIC;

CREATE FUNCTION dsr1_extract(input text, fields jsonb)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'sql_extract_described'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100000
SUPPORT @extschema@.dsr1_support;

COMMENT ON FUNCTION dsr1_extract(text, jsonb) IS
'fields out of a text, by name and description';
REVOKE EXECUTE ON FUNCTION dsr1_extract(text, jsonb) FROM PUBLIC;

CREATE FUNCTION dsr1_summarize(input text, max_words int DEFAULT 60)
RETURNS text
AS 'MODULE_PATHNAME', 'sql_summarize'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100000
SUPPORT @extschema@.dsr1_support;

COMMENT ON FUNCTION dsr1_summarize(text, int) IS
'a summary of a text';
REVOKE EXECUTE ON FUNCTION dsr1_summarize(text, int) FROM PUBLIC;

CREATE FUNCTION dsr1_rank(query text, documents text[], OUT ord int, OUT score float8)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'sql_rank'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100000 ROWS 10
SUPPORT @extschema@.dsr1_support;

COMMENT ON FUNCTION dsr1_rank(text, text[]) IS
'documents by how probably they answer a query, best first; ord counts from 1';
REVOKE EXECUTE ON FUNCTION dsr1_rank(text, text[]) FROM PUBLIC;

CREATE FUNCTION dsr1_logprob(prompt text, continuation text)
RETURNS float8
AS 'MODULE_PATHNAME', 'sql_logprob'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100000
SUPPORT @extschema@.dsr1_support;

COMMENT ON FUNCTION dsr1_logprob(text, text) IS
'natural logarithm of the probability that a prompt goes on like this';
REVOKE EXECUTE ON FUNCTION dsr1_logprob(text, text) FROM PUBLIC;

--
-- Aggregates
--

CREATE FUNCTION dsr1_agg_add(internal, text, text)
RETURNS internal
AS 'MODULE_PATHNAME', 'sql_agg_add'
LANGUAGE C IMMUTABLE CALLED ON NULL INPUT PARALLEL RESTRICTED COST 1;

COMMENT ON FUNCTION dsr1_agg_add(internal, text, text) IS
'transition function of dsr1_agg';
REVOKE EXECUTE ON FUNCTION dsr1_agg_add(internal, text, text) FROM PUBLIC;

CREATE FUNCTION dsr1_agg_add(internal, text)
RETURNS internal
AS 'MODULE_PATHNAME', 'sql_agg_add'
LANGUAGE C IMMUTABLE CALLED ON NULL INPUT PARALLEL RESTRICTED COST 1;

COMMENT ON FUNCTION dsr1_agg_add(internal, text) IS
'transition function of dsr1_summarize_agg';
REVOKE EXECUTE ON FUNCTION dsr1_agg_add(internal, text) FROM PUBLIC;

CREATE FUNCTION dsr1_agg_answer(internal)
RETURNS text
AS 'MODULE_PATHNAME', 'sql_agg_answer'
LANGUAGE C STABLE CALLED ON NULL INPUT PARALLEL RESTRICTED COST 100000;

COMMENT ON FUNCTION dsr1_agg_answer(internal) IS
'final function of dsr1_agg';
REVOKE EXECUTE ON FUNCTION dsr1_agg_answer(internal) FROM PUBLIC;

CREATE FUNCTION dsr1_agg_summary(internal)
RETURNS text
AS 'MODULE_PATHNAME', 'sql_agg_summary'
LANGUAGE C STABLE CALLED ON NULL INPUT PARALLEL RESTRICTED COST 100000;

COMMENT ON FUNCTION dsr1_agg_summary(internal) IS
'final function of dsr1_summarize_agg';
REVOKE EXECUTE ON FUNCTION dsr1_agg_summary(internal) FROM PUBLIC;

CREATE AGGREGATE dsr1_agg(input text, instruction text)
(
    SFUNC = @extschema@.dsr1_agg_add,
    STYPE = internal,
    FINALFUNC = @extschema@.dsr1_agg_answer,
    PARALLEL = RESTRICTED
);

COMMENT ON AGGREGATE dsr1_agg(text, text) IS
'what the model answers about all texts together, in parts where they are too long for its context';
REVOKE EXECUTE ON FUNCTION dsr1_agg(text, text) FROM PUBLIC;

CREATE AGGREGATE dsr1_summarize_agg(input text)
(
    SFUNC = @extschema@.dsr1_agg_add,
    STYPE = internal,
    FINALFUNC = @extschema@.dsr1_agg_summary,
    PARALLEL = RESTRICTED
);

COMMENT ON AGGREGATE dsr1_summarize_agg(text) IS 'a summary of all texts together';
REVOKE EXECUTE ON FUNCTION dsr1_summarize_agg(text) FROM PUBLIC;

--
-- Vectors and tokens
--

CREATE DOMAIN dsr1_digest AS text
    CONSTRAINT dsr1_digest_check CHECK (VALUE ~ '^[0-9a-f]{64}$');

COMMENT ON DOMAIN dsr1_digest IS 'which model: SHA-256 of its file, as dsr1_models shows it';

CREATE FUNCTION dsr1_embed(input text)
RETURNS real[]
AS 'MODULE_PATHNAME', 'sql_embed'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100000
SUPPORT @extschema@.dsr1_support;

COMMENT ON FUNCTION dsr1_embed(text) IS
'a vector of length 1 for a text';
REVOKE EXECUTE ON FUNCTION dsr1_embed(text) FROM PUBLIC;

CREATE FUNCTION dsr1_embed(input text, model dsr1_digest)
RETURNS real[]
AS 'MODULE_PATHNAME', 'sql_embed_by'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100000
SUPPORT @extschema@.dsr1_support;

COMMENT ON FUNCTION dsr1_embed(text, dsr1_digest) IS
'the same by the model of this digest only and without adapter, hence IMMUTABLE: for indexes and generated columns';
REVOKE EXECUTE ON FUNCTION dsr1_embed(text, dsr1_digest) FROM PUBLIC;

CREATE FUNCTION dsr1_embed(input text, model dsr1_digest, adapter dsr1_digest)
RETURNS real[]
AS 'MODULE_PATHNAME', 'sql_embed_by_adapter'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100000
SUPPORT @extschema@.dsr1_support;

COMMENT ON FUNCTION dsr1_embed(text, dsr1_digest, dsr1_digest) IS
'the same with the adapter of that digest, which must be in this database';
REVOKE EXECUTE ON FUNCTION dsr1_embed(text, dsr1_digest, dsr1_digest) FROM PUBLIC;

CREATE FUNCTION dsr1_similarity(a text, b text)
RETURNS float8
AS 'MODULE_PATHNAME', 'sql_similarity'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100000
SUPPORT @extschema@.dsr1_support;

COMMENT ON FUNCTION dsr1_similarity(text, text) IS
'cosine of the angle between two texts'' vectors';
REVOKE EXECUTE ON FUNCTION dsr1_similarity(text, text) FROM PUBLIC;

CREATE FUNCTION dsr1_tokenize(input text)
RETURNS int[]
AS 'MODULE_PATHNAME', 'sql_tokenize'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;

COMMENT ON FUNCTION dsr1_tokenize(text) IS
'the tokens that the language model reads for a text';
REVOKE EXECUTE ON FUNCTION dsr1_tokenize(text) FROM PUBLIC;

CREATE FUNCTION dsr1_detokenize(tokens int[])
RETURNS text
AS 'MODULE_PATHNAME', 'sql_detokenize'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;

COMMENT ON FUNCTION dsr1_detokenize(int[]) IS
'the text of some tokens';
REVOKE EXECUTE ON FUNCTION dsr1_detokenize(int[]) FROM PUBLIC;

CREATE FUNCTION dsr1_count_tokens(input text)
RETURNS int
AS 'MODULE_PATHNAME', 'sql_count_tokens'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;

COMMENT ON FUNCTION dsr1_count_tokens(text) IS
'number of tokens that the language model reads for a text';
REVOKE EXECUTE ON FUNCTION dsr1_count_tokens(text) FROM PUBLIC;

CREATE FUNCTION dsr1_truncate(input text, max_tokens int)
RETURNS text
AS 'MODULE_PATHNAME', 'sql_truncate'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;

COMMENT ON FUNCTION dsr1_truncate(text, int) IS
'the beginning of a text that has at most so many tokens';
REVOKE EXECUTE ON FUNCTION dsr1_truncate(text, int) FROM PUBLIC;

--
-- Operations
--

CREATE FUNCTION dsr1_prewarm(prefix text)
RETURNS int
AS 'MODULE_PATHNAME', 'sql_prewarm'
LANGUAGE C VOLATILE STRICT PARALLEL SAFE COST 100000;

COMMENT ON FUNCTION dsr1_prewarm(text) IS
'computes the beginning of raw prompts ahead; returns how many tokens it has';
REVOKE EXECUTE ON FUNCTION dsr1_prewarm(text) FROM PUBLIC;

CREATE FUNCTION dsr1_reload()
RETURNS void
AS 'MODULE_PATHNAME', 'sql_reload'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED COST 1000;

COMMENT ON FUNCTION dsr1_reload() IS
'has the engine open its model''s file again';
REVOKE EXECUTE ON FUNCTION dsr1_reload() FROM PUBLIC;

CREATE FUNCTION dsr1_estimate(query text, OUT requests bigint, OUT prompt_tokens bigint, OUT seconds float8)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'sql_estimate'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED COST 1000 ROWS 1;

COMMENT ON FUNCTION dsr1_estimate(text) IS
'about how much a query would ask the model, and how long that takes; nothing is asked';
REVOKE EXECUTE ON FUNCTION dsr1_estimate(text) FROM PUBLIC;

CREATE FUNCTION dsr1_models(OUT name text,
                            OUT digest dsr1_digest,
                            OUT architecture text,
                            OUT parameters bigint,
                            OUT quantisation text,
                            OUT context int,
                            OUT loaded boolean,
                            OUT bytes bigint,
                            OUT path text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'sql_models'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED COST 1000 ROWS 1;

COMMENT ON FUNCTION dsr1_models() IS
'the models that can be used';

CREATE VIEW dsr1_models AS
    SELECT * FROM @extschema@.dsr1_models();

COMMENT ON VIEW dsr1_models IS 'the models that can be used; path is shown to members of pg_read_all_stats';
COMMENT ON COLUMN dsr1_models.name IS 'what its file calls it';
COMMENT ON COLUMN dsr1_models.digest IS 'SHA-256 of its file; NULL where it could not be computed';
COMMENT ON COLUMN dsr1_models.architecture IS 'as its file says';
COMMENT ON COLUMN dsr1_models.parameters IS 'how many numbers it has';
COMMENT ON COLUMN dsr1_models.quantisation IS 'the type that most of its numbers are kept in';
COMMENT ON COLUMN dsr1_models.context IS 'tokens that a request may have, prompt and answer together';
COMMENT ON COLUMN dsr1_models.loaded IS 'whether the engine serves it now';
COMMENT ON COLUMN dsr1_models.bytes IS 'of its file';
COMMENT ON COLUMN dsr1_models.path IS 'of its file, for members of pg_read_all_stats';

GRANT SELECT ON dsr1_models TO PUBLIC;

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

-- ---------------------------------------------------------------------
-- Prompts with names
--
-- A plain table: its grants say who may write prompts and who may use them,
-- and dumps carry it.
-- ---------------------------------------------------------------------

CREATE TABLE dsr1_prompts (
    name name CHECK (name <> ''),
    version int CHECK (version > 0),
    prompt text NOT NULL,
    comment text NOT NULL DEFAULT '',
    author name NOT NULL DEFAULT CURRENT_USER,
    created timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (name, version)
);

SELECT pg_catalog.pg_extension_config_dump('@extschema@.dsr1_prompts', '');

COMMENT ON TABLE dsr1_prompts IS 'prompts of this database by name and version, for dsr1_prompt()';
COMMENT ON COLUMN dsr1_prompts.name IS 'what dsr1_prompt() calls it';
COMMENT ON COLUMN dsr1_prompts.version IS 'counted from 1; the largest is the one in use';
COMMENT ON COLUMN dsr1_prompts.prompt IS 'the text, where {1} stands for the first argument of dsr1_prompt()';
COMMENT ON COLUMN dsr1_prompts.comment IS 'what it is for, or what has changed';
COMMENT ON COLUMN dsr1_prompts.author IS 'who put it';
COMMENT ON COLUMN dsr1_prompts.created IS 'when it was put';

GRANT SELECT ON dsr1_prompts TO PUBLIC;

CREATE FUNCTION dsr1_prompt(name name)
RETURNS text
AS 'MODULE_PATHNAME', 'sql_prompt'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;

COMMENT ON FUNCTION dsr1_prompt(name) IS
'the latest version of a prompt of dsr1_prompts as it stands, for dsr1_annotate above all';

CREATE FUNCTION dsr1_prompt(name name, VARIADIC arguments "any")
RETURNS text
AS 'MODULE_PATHNAME', 'sql_prompt'
LANGUAGE C STABLE CALLED ON NULL INPUT PARALLEL SAFE COST 100;

COMMENT ON FUNCTION dsr1_prompt(name, "any") IS
'the latest version of a prompt of dsr1_prompts, with arguments in place of {1}, {2}, ...';

CREATE FUNCTION dsr1_prompt_version(name name, version int)
RETURNS text
AS 'MODULE_PATHNAME', 'sql_prompt_version'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;

COMMENT ON FUNCTION dsr1_prompt_version(name, int) IS
'a version of a prompt of dsr1_prompts as it stands';

CREATE FUNCTION dsr1_prompt_version(name name, version int, VARIADIC arguments "any")
RETURNS text
AS 'MODULE_PATHNAME', 'sql_prompt_version'
LANGUAGE C STABLE CALLED ON NULL INPUT PARALLEL SAFE COST 100;

COMMENT ON FUNCTION dsr1_prompt_version(name, int, "any") IS
'a version of a prompt of dsr1_prompts, with arguments in place of {1}, {2}, ...';

-- One at a time for each name, so that two sessions get two versions.
CREATE FUNCTION dsr1_prompt_put(name name, prompt text, comment text DEFAULT '')
RETURNS int
LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT pg_advisory_xact_lock(hashtext('dsr1_prompts'), hashtext($1::text));
    WITH latest AS (SELECT p.version, p.prompt FROM @extschema@.dsr1_prompts p
                     WHERE p.name = $1 ORDER BY p.version DESC LIMIT 1),
         stored AS (INSERT INTO @extschema@.dsr1_prompts (name, version, prompt, comment)
                    SELECT $1, COALESCE((SELECT version FROM latest), 0) + 1, $2, $3
                     WHERE NOT EXISTS (SELECT FROM latest WHERE latest.prompt = $2)
                    RETURNING version)
    SELECT version FROM stored UNION ALL SELECT version FROM latest WHERE latest.prompt = $2;
$$;

COMMENT ON FUNCTION dsr1_prompt_put(name, text, text) IS
'stores a prompt as the next version of its name, unless the latest is the same; returns that version';

-- ---------------------------------------------------------------------
-- Adapters
--
-- Their bytes are rows, so that dumps, backups and standbys have them.  The
-- table belongs to the owner of the extension; whoever may run a function may
-- run it with an adapter of this database, which the library reads itself.
-- ---------------------------------------------------------------------

CREATE TABLE dsr1_adapter (
    name name PRIMARY KEY CHECK (name <> ''),
    digest dsr1_digest NOT NULL,
    owner regrole NOT NULL,
    data bytea NOT NULL,
    architecture text NOT NULL,
    parameters bigint NOT NULL,
    rank int NOT NULL,
    alpha float8 NOT NULL,
    model_digest dsr1_digest NOT NULL,
    created timestamptz NOT NULL DEFAULT pg_catalog.now(),
    comment text
);

-- Not compressed, which floats hardly are, so that pieces can be read.
ALTER TABLE dsr1_adapter ALTER COLUMN data SET STORAGE EXTERNAL;

COMMENT ON TABLE dsr1_adapter IS 'adapters with their bytes; look at dsr1_adapters instead';

SELECT pg_catalog.pg_extension_config_dump('@extschema@.dsr1_adapter', '');

CREATE FUNCTION dsr1_adapter_put(adapter name, data bytea, comment text DEFAULT NULL)
RETURNS dsr1_digest
AS 'MODULE_PATHNAME', 'sql_adapter_put'
LANGUAGE C VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE COST 100000;

COMMENT ON FUNCTION dsr1_adapter_put(name, bytea, text) IS
'stores an adapter, a GGUF file with a LoRA for the model that is served, or replaces the one of that name; returns its SHA-256';
REVOKE EXECUTE ON FUNCTION dsr1_adapter_put(name, bytea, text) FROM PUBLIC;

CREATE FUNCTION dsr1_adapter_drop(adapter name)
RETURNS void
AS 'MODULE_PATHNAME', 'sql_adapter_drop'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

COMMENT ON FUNCTION dsr1_adapter_drop(name) IS 'forgets an adapter';
REVOKE EXECUTE ON FUNCTION dsr1_adapter_drop(name) FROM PUBLIC;

CREATE FUNCTION dsr1_adapter_export(adapter name)
RETURNS bytea
AS 'MODULE_PATHNAME', 'sql_adapter_export'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 1000;

COMMENT ON FUNCTION dsr1_adapter_export(name) IS 'the bytes of an adapter''s GGUF file';
REVOKE EXECUTE ON FUNCTION dsr1_adapter_export(name) FROM PUBLIC;

CREATE FUNCTION dsr1_adapter_loaded(digest text)
RETURNS boolean
AS 'MODULE_PATHNAME', 'sql_adapter_loaded'
LANGUAGE C VOLATILE STRICT PARALLEL SAFE COST 100;

COMMENT ON FUNCTION dsr1_adapter_loaded(text) IS 'whether an adapter lies ready for the engine of this server';

CREATE VIEW dsr1_adapters AS
    SELECT a.name, a.digest, a.architecture, a.parameters, a.rank, a.alpha, a.model_digest,
           @extschema@.dsr1_adapter_loaded(a.digest) AS loaded, pg_catalog.octet_length(a.data)::bigint AS bytes,
           a.owner, a.created, a.comment
      FROM @extschema@.dsr1_adapter a;

COMMENT ON VIEW dsr1_adapters IS 'the adapters of this database, which dsr1.adapter and the option "adapter" may name';
COMMENT ON COLUMN dsr1_adapters.name IS 'what dsr1.adapter and the option "adapter" call it';
COMMENT ON COLUMN dsr1_adapters.digest IS 'SHA-256 of its file';
COMMENT ON COLUMN dsr1_adapters.architecture IS 'of the models that it fits';
COMMENT ON COLUMN dsr1_adapters.parameters IS 'how many numbers it has';
COMMENT ON COLUMN dsr1_adapters.rank IS 'the largest of its pairs of matrices';
COMMENT ON COLUMN dsr1_adapters.alpha IS 'each pair counts alpha / its rank; 0: once';
COMMENT ON COLUMN dsr1_adapters.model_digest IS 'SHA-256 of the model that was served when it was put';
COMMENT ON COLUMN dsr1_adapters.loaded IS 'whether its file lies ready for the engine of this server; it is made when it is wanted';
COMMENT ON COLUMN dsr1_adapters.bytes IS 'of its file';
COMMENT ON COLUMN dsr1_adapters.owner IS 'who put it, and whose members may replace, drop and export it';
COMMENT ON COLUMN dsr1_adapters.created IS 'when it was put';
COMMENT ON COLUMN dsr1_adapters.comment IS 'what its owner says about it';

GRANT SELECT ON dsr1_adapters TO PUBLIC;

-- ---------------------------------------------------------------------
-- Jobs
--
-- The tables belong to the owner of the extension; the functions below, and
-- the workers of jobs, write to them on behalf of others.
-- ---------------------------------------------------------------------

CREATE TABLE dsr1_job (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('annotate', 'grpo')),
    owner regrole NOT NULL,
    relation regclass,
    target name NOT NULL,
    key text[] NOT NULL,
    into_table regclass,
    prompt text NOT NULL,
    options jsonb NOT NULL,
    watch bool NOT NULL,
    state text NOT NULL DEFAULT 'running'
        CHECK (state IN ('running', 'paused', 'done', 'failed', 'cancelled')),
    done bigint NOT NULL DEFAULT 0,
    prompt_tokens bigint NOT NULL DEFAULT 0,
    cached_tokens bigint NOT NULL DEFAULT 0,
    generated_tokens bigint NOT NULL DEFAULT 0,
    engine_ms float8 NOT NULL DEFAULT 0,
    rows_per_s float8,
    created timestamptz NOT NULL DEFAULT pg_catalog.now(),
    started timestamptz,
    finished timestamptz,
    attempts int NOT NULL DEFAULT 0,
    next_attempt timestamptz,
    category text,
    sqlstate text,
    last_error text,
    seed bigint NOT NULL,
    max_tokens int NOT NULL,
    version text NOT NULL,
    prompt_digest text NOT NULL,
    model_digest text,
    adapter_digest text,
    CHECK (kind <> 'annotate' OR relation IS NOT NULL)
) WITH (fillfactor = 50);

-- One row for each row of a job's table: to be done, done, or failed.
CREATE TABLE dsr1_job_row (
    job bigint NOT NULL,
    key jsonb NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    pending bool NOT NULL DEFAULT true,
    version int NOT NULL DEFAULT 0,
    attempts int NOT NULL DEFAULT 0,
    next_retry timestamptz,
    category text,
    sqlstate text,
    message text,
    done_at timestamptz,
    prompt_digest bytea,
    PRIMARY KEY (job, key)
);

CREATE UNIQUE INDEX dsr1_job_row_pending ON dsr1_job_row (job, id) WHERE pending;
CREATE INDEX dsr1_job_row_id ON dsr1_job_row (id);
CREATE INDEX dsr1_job_row_error ON dsr1_job_row (job) WHERE category IS NOT NULL;

-- A run of training is a job of kind grpo, whose target is the adapter and whose prompt the query for prompts.
CREATE TABLE dsr1_grpo_run (
    job bigint PRIMARY KEY REFERENCES dsr1_job ON DELETE CASCADE,
    reward text NOT NULL,
    token text NOT NULL,
    steps int NOT NULL
);

CREATE TABLE dsr1_grpo_prompt (
    job bigint NOT NULL REFERENCES dsr1_job ON DELETE CASCADE,
    aside bool NOT NULL,
    n bigint GENERATED ALWAYS AS IDENTITY,
    line jsonb NOT NULL,
    PRIMARY KEY (job, aside, n)
);

CREATE TABLE dsr1_grpo_step (
    job bigint NOT NULL REFERENCES dsr1_job ON DELETE CASCADE,
    step int NOT NULL,
    at timestamptz NOT NULL,
    reward float8,
    reward_std float8,
    eval_reward float8,
    eval_length float8,
    loss float8,
    kl float8,
    entropy float8,
    length float8,
    ended float8,
    clipped_low float8,
    clipped_high float8,
    mismatch float8,
    grad_norm float8,
    lr float8,
    groups int,
    useful int,
    rounds int,
    errors int,
    tokens int,
    train_tokens int,
    seconds float8,
    rollout_seconds float8,
    reward_seconds float8,
    train_seconds float8,
    cpu_seconds float8,
    PRIMARY KEY (job, step)
);

CREATE TABLE dsr1_grpo_rollout (
    job bigint NOT NULL REFERENCES dsr1_job ON DELETE CASCADE,
    step int NOT NULL,
    n int NOT NULL,
    prompt text,
    completion text,
    reward float8,
    advantage float8,
    tokens int,
    finish text,
    PRIMARY KEY (job, step, n)
);

CREATE TABLE dsr1_grpo_error (
    job bigint NOT NULL REFERENCES dsr1_job ON DELETE CASCADE,
    step int NOT NULL,
    n int NOT NULL,
    prompt text,
    completion text,
    sqlstate text,
    message text,
    PRIMARY KEY (job, step, n)
);

COMMENT ON TABLE dsr1_grpo_run IS 'runs of training; look at dsr1_grpo_runs instead';
COMMENT ON TABLE dsr1_grpo_prompt IS 'prompts of runs of training, as they were when the run was made';
COMMENT ON SEQUENCE dsr1_grpo_prompt_n_seq IS 'order of prompts';
COMMENT ON TABLE dsr1_grpo_step IS 'steps of runs of training; look at dsr1_grpo_steps instead';
COMMENT ON TABLE dsr1_grpo_rollout IS 'answers of runs of training; look at dsr1_grpo_rollouts instead';
COMMENT ON TABLE dsr1_grpo_error IS 'answers without reward; look at dsr1_grpo_errors instead';

SELECT pg_catalog.pg_extension_config_dump('@extschema@.dsr1_grpo_run', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.dsr1_grpo_prompt', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.dsr1_grpo_step', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.dsr1_grpo_rollout', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.dsr1_grpo_error', '');
SELECT pg_catalog.pg_extension_config_dump(pg_catalog.pg_get_serial_sequence('@extschema@.dsr1_grpo_prompt', 'n')::regclass, '');

COMMENT ON TABLE dsr1_job IS 'jobs; look at dsr1_jobs instead';
COMMENT ON TABLE dsr1_job_row IS 'rows of jobs: to be done, done, or failed';
COMMENT ON SEQUENCE dsr1_job_row_id_seq IS 'order in which rows of jobs are taken';
COMMENT ON SEQUENCE dsr1_job_id_seq IS 'numbers of jobs';

SELECT pg_catalog.pg_extension_config_dump('@extschema@.dsr1_job', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.dsr1_job_row', '');
SELECT pg_catalog.pg_extension_config_dump(pg_catalog.pg_get_serial_sequence('@extschema@.dsr1_job', 'id')::regclass, '');
SELECT pg_catalog.pg_extension_config_dump(pg_catalog.pg_get_serial_sequence('@extschema@.dsr1_job_row', 'id')::regclass, '');

CREATE VIEW dsr1_jobs AS
    SELECT j.id, j.kind, j.owner, j.relation, j.target, j.state, j.done,
           f.failed, j.done + f.failed + p.pending AS total, p.pending,
           CASE WHEN j.state = 'running' THEN j.rows_per_s END AS rows_per_s,
           CASE WHEN j.state = 'running' AND j.rows_per_s > 0
                THEN pg_catalog.make_interval(secs => p.pending / j.rows_per_s) END AS eta,
           j.category, j.sqlstate, j.last_error, j.next_attempt, j.created, j.started, j.finished,
           j.prompt, j.options, j.into_table, j.watch,
           j.prompt_tokens, j.cached_tokens, j.generated_tokens, j.engine_ms,
           j.model_digest, j.prompt_digest, j.seed, j.version, j.adapter_digest
      FROM @extschema@.dsr1_job j,
           LATERAL (SELECT pg_catalog.count(*) + COALESCE((SELECT g.steps - j.done FROM @extschema@.dsr1_grpo_run g
                                                            WHERE g.job = j.id), 0) AS pending
                      FROM @extschema@.dsr1_job_row r WHERE r.job = j.id AND r.pending) p,
           LATERAL (SELECT pg_catalog.count(*) AS failed FROM @extschema@.dsr1_job_row r
                     WHERE r.job = j.id AND r.category IS NOT NULL AND NOT r.pending) f
     WHERE pg_catalog.pg_has_role(j.owner, 'USAGE')
        OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE');

COMMENT ON VIEW dsr1_jobs IS 'jobs of the roles that you are a member of, or all for pg_read_all_stats';
COMMENT ON COLUMN dsr1_jobs.id IS 'number of the job: dsr1_job_pause() and the others take it';
COMMENT ON COLUMN dsr1_jobs.kind IS 'annotate: a column is filled; grpo: an adapter is trained, and rows are steps';
COMMENT ON COLUMN dsr1_jobs.owner IS 'whose rights the job has';
COMMENT ON COLUMN dsr1_jobs.relation IS 'the table whose rows are asked about';
COMMENT ON COLUMN dsr1_jobs.target IS 'the column, or the adapter';
COMMENT ON COLUMN dsr1_jobs.state IS 'running, paused, done, failed or cancelled';
COMMENT ON COLUMN dsr1_jobs.done IS 'answers written so far';
COMMENT ON COLUMN dsr1_jobs.failed IS 'rows in dsr1_job_errors that are not tried again by themselves';
COMMENT ON COLUMN dsr1_jobs.total IS 'done, failed and pending';
COMMENT ON COLUMN dsr1_jobs.pending IS 'rows, or steps, still to be done';
COMMENT ON COLUMN dsr1_jobs.rows_per_s IS 'speed of late, while it runs';
COMMENT ON COLUMN dsr1_jobs.eta IS 'time left, at the speed of late';
COMMENT ON COLUMN dsr1_jobs.category IS 'of what stopped it: job_temporary or job_permanent';
COMMENT ON COLUMN dsr1_jobs.sqlstate IS 'of what stopped it';
COMMENT ON COLUMN dsr1_jobs.last_error IS 'what stopped it';
COMMENT ON COLUMN dsr1_jobs.next_attempt IS 'when it goes on by itself';
COMMENT ON COLUMN dsr1_jobs.created IS 'when it was made';
COMMENT ON COLUMN dsr1_jobs.started IS 'when a worker first took it up';
COMMENT ON COLUMN dsr1_jobs.finished IS 'when nothing was left, or it ended';
COMMENT ON COLUMN dsr1_jobs.prompt IS 'what is asked, with the row''s columns in braces; or the query for prompts';
COMMENT ON COLUMN dsr1_jobs.options IS 'as they were given, and altered';
COMMENT ON COLUMN dsr1_jobs.into_table IS 'the side table that answers go into; NULL: the column';
COMMENT ON COLUMN dsr1_jobs.watch IS 'whether rows that come or change later are done, too';
COMMENT ON COLUMN dsr1_jobs.prompt_tokens IS 'of all that was asked';
COMMENT ON COLUMN dsr1_jobs.cached_tokens IS 'of them, found computed';
COMMENT ON COLUMN dsr1_jobs.generated_tokens IS 'of all answers';
COMMENT ON COLUMN dsr1_jobs.engine_ms IS 'time that its requests spent in the engine';
COMMENT ON COLUMN dsr1_jobs.model_digest IS 'SHA-256 of the model file that gave the answers';
COMMENT ON COLUMN dsr1_jobs.prompt_digest IS 'SHA-256 of the prompt, as the column holds it';
COMMENT ON COLUMN dsr1_jobs.seed IS 'of its answers';
COMMENT ON COLUMN dsr1_jobs.version IS 'of dsr1 that made the job';
COMMENT ON COLUMN dsr1_jobs.adapter_digest IS 'SHA-256 of the adapter that the job asks with, or has trained; NULL for none';

CREATE VIEW dsr1_job_errors AS
    SELECT r.job, r.key, r.category, r.sqlstate, r.message, r.attempts, r.next_retry, r.done_at AS at
      FROM @extschema@.dsr1_job_row r JOIN @extschema@.dsr1_job j ON j.id = r.job
     WHERE r.category IS NOT NULL
       AND (pg_catalog.pg_has_role(j.owner, 'USAGE')
            OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'));

COMMENT ON VIEW dsr1_job_errors IS 'rows of jobs that failed, and why';
COMMENT ON COLUMN dsr1_job_errors.job IS 'number in dsr1_jobs';
COMMENT ON COLUMN dsr1_job_errors.key IS 'columns of the row''s primary key, and their values';
COMMENT ON COLUMN dsr1_job_errors.category IS 'row_temporary or row_permanent';
COMMENT ON COLUMN dsr1_job_errors.sqlstate IS 'of the error';
COMMENT ON COLUMN dsr1_job_errors.message IS 'of the error';
COMMENT ON COLUMN dsr1_job_errors.attempts IS 'how often it was tried';
COMMENT ON COLUMN dsr1_job_errors.next_retry IS 'when it is tried again; NULL: when dsr1_job_retry() says so';
COMMENT ON COLUMN dsr1_job_errors.at IS 'when it failed last';

CREATE FUNCTION dsr1_annotate(relation regclass, target name, prompt text, options jsonb DEFAULT '{}')
RETURNS bigint
AS 'MODULE_PATHNAME', 'sql_annotate'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

CREATE FUNCTION dsr1_job_enqueue()
RETURNS trigger
AS 'MODULE_PATHNAME', 'sql_job_enqueue'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION dsr1_job_pause(job bigint)
RETURNS void
AS 'MODULE_PATHNAME', 'sql_job_pause'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

CREATE FUNCTION dsr1_job_resume(job bigint)
RETURNS void
AS 'MODULE_PATHNAME', 'sql_job_resume'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

CREATE FUNCTION dsr1_job_cancel(job bigint)
RETURNS void
AS 'MODULE_PATHNAME', 'sql_job_cancel'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

CREATE FUNCTION dsr1_job_alter(job bigint, options jsonb)
RETURNS void
AS 'MODULE_PATHNAME', 'sql_job_alter'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

CREATE FUNCTION dsr1_job_retry(job bigint)
RETURNS bigint
AS 'MODULE_PATHNAME', 'sql_job_retry'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

CREATE FUNCTION dsr1_job_wait(job bigint, timeout interval DEFAULT NULL)
RETURNS bool
AS 'MODULE_PATHNAME', 'sql_job_wait'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION dsr1_job_verify(job bigint, sample int DEFAULT 100, OUT key jsonb, OUT equal bool)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'sql_job_verify'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

COMMENT ON FUNCTION dsr1_annotate(regclass, name, text, jsonb) IS
'makes a job that fills a column of every row with the answer to a prompt about the row; returns its number';
COMMENT ON FUNCTION dsr1_job_enqueue() IS 'the trigger of jobs that watch their table';
COMMENT ON FUNCTION dsr1_job_pause(bigint) IS 'a job stops until it is resumed';
COMMENT ON FUNCTION dsr1_job_resume(bigint) IS 'a paused or failed job goes on';
COMMENT ON FUNCTION dsr1_job_cancel(bigint) IS 'a job ends for good; what it has written stays';
COMMENT ON FUNCTION dsr1_job_alter(bigint, jsonb) IS 'changes batch, max_errors, retries or priority of a job';
COMMENT ON FUNCTION dsr1_job_retry(bigint) IS 'tries the rows again that failed; returns their number';
COMMENT ON FUNCTION dsr1_job_wait(bigint, interval) IS
'waits until a job has nothing left to do; false if the time was over before';
COMMENT ON FUNCTION dsr1_job_verify(bigint, int) IS
'asks again about a sample of a job''s rows: is the answer the same? NULL where the row has changed since';

REVOKE EXECUTE ON FUNCTION dsr1_annotate(regclass, name, text, jsonb) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION dsr1_job_verify(bigint, int) FROM PUBLIC;

--
-- Training
--

CREATE FUNCTION dsr1_grpo(adapter name, prompts text, reward regprocedure, options jsonb DEFAULT '{}')
RETURNS bigint
AS 'MODULE_PATHNAME', 'sql_grpo'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

COMMENT ON FUNCTION dsr1_grpo(name, text, regprocedure, jsonb) IS
'trains an adapter on answers to a query''s prompts, which a function rewards; a job, whose number is returned';

REVOKE EXECUTE ON FUNCTION dsr1_grpo(name, text, regprocedure, jsonb) FROM PUBLIC;

CREATE VIEW dsr1_grpo_runs AS
    SELECT j.id, j.owner, j.target AS adapter, g.reward AS reward_function, j.state, j.done AS step, g.steps,
           l.reward, e.eval_reward, c.errors,
           CASE WHEN j.state = 'running' AND j.rows_per_s > 0
                THEN pg_catalog.make_interval(secs => (g.steps - j.done) / j.rows_per_s) END AS eta,
           j.category, j.sqlstate, j.last_error, j.next_attempt, j.created, j.started, j.finished,
           j.prompt AS prompts, j.options, j.seed, j.model_digest, j.version,
           j.adapter_digest
      FROM @extschema@.dsr1_job j JOIN @extschema@.dsr1_grpo_run g ON g.job = j.id
           LEFT JOIN LATERAL (SELECT s.reward FROM @extschema@.dsr1_grpo_step s
                               WHERE s.job = j.id AND s.reward IS NOT NULL ORDER BY s.step DESC LIMIT 1) l ON true
           LEFT JOIN LATERAL (SELECT s.eval_reward FROM @extschema@.dsr1_grpo_step s
                               WHERE s.job = j.id AND s.eval_reward IS NOT NULL ORDER BY s.step DESC LIMIT 1) e ON true,
           LATERAL (SELECT pg_catalog.count(*) AS errors FROM @extschema@.dsr1_grpo_error x WHERE x.job = j.id) c
     WHERE pg_catalog.pg_has_role(j.owner, 'USAGE')
        OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE');

COMMENT ON VIEW dsr1_grpo_runs IS 'runs of training of the roles that you are a member of, or all for pg_read_all_stats';
COMMENT ON COLUMN dsr1_grpo_runs.id IS 'number of the job: dsr1_job_pause(), _resume(), _cancel() and _wait() take it';
COMMENT ON COLUMN dsr1_grpo_runs.owner IS 'whose rights the run has';
COMMENT ON COLUMN dsr1_grpo_runs.adapter IS 'the adapter that is trained';
COMMENT ON COLUMN dsr1_grpo_runs.reward_function IS 'what judges answers';
COMMENT ON COLUMN dsr1_grpo_runs.state IS 'running, paused, done, failed or cancelled';
COMMENT ON COLUMN dsr1_grpo_runs.step IS 'steps done';
COMMENT ON COLUMN dsr1_grpo_runs.steps IS 'steps wanted';
COMMENT ON COLUMN dsr1_grpo_runs.reward IS 'mean of the last step';
COMMENT ON COLUMN dsr1_grpo_runs.eval_reward IS 'mean of answers to the prompts set aside, when they were last looked at';
COMMENT ON COLUMN dsr1_grpo_runs.errors IS 'answers that the reward function failed on';
COMMENT ON COLUMN dsr1_grpo_runs.eta IS 'time left, at the speed of late';
COMMENT ON COLUMN dsr1_grpo_runs.category IS 'of what stopped it: job_temporary or job_permanent';
COMMENT ON COLUMN dsr1_grpo_runs.sqlstate IS 'of what stopped it';
COMMENT ON COLUMN dsr1_grpo_runs.last_error IS 'what stopped it';
COMMENT ON COLUMN dsr1_grpo_runs.next_attempt IS 'when it goes on by itself';
COMMENT ON COLUMN dsr1_grpo_runs.created IS 'when it was made';
COMMENT ON COLUMN dsr1_grpo_runs.started IS 'when a worker first took it up';
COMMENT ON COLUMN dsr1_grpo_runs.finished IS 'when it ended';
COMMENT ON COLUMN dsr1_grpo_runs.prompts IS 'the query that gave the prompts';
COMMENT ON COLUMN dsr1_grpo_runs.options IS 'as they were given, and altered';
COMMENT ON COLUMN dsr1_grpo_runs.seed IS 'of its answers and of the order of prompts';
COMMENT ON COLUMN dsr1_grpo_runs.model_digest IS 'SHA-256 of the model that is trained';
COMMENT ON COLUMN dsr1_grpo_runs.version IS 'of dsr1 that made the run';
COMMENT ON COLUMN dsr1_grpo_runs.adapter_digest IS 'SHA-256 of the adapter, once it is done and stands in dsr1_adapters';

CREATE VIEW dsr1_grpo_steps AS
    SELECT s.job AS run, s.step, s.at, s.reward, s.reward_std, s.eval_reward, s.loss, s.kl, s.entropy, s.length, s.ended,
           s.grad_norm, s.lr, s.clipped_low, s.clipped_high, s.mismatch, s.groups, s.useful, s.rounds, s.errors,
           s.tokens, s.train_tokens, s.tokens / NULLIF(s.rollout_seconds, 0) AS rollout_tokens_per_s,
           s.train_tokens / NULLIF(s.train_seconds, 0) AS train_tokens_per_s,
           s.seconds, s.rollout_seconds, s.reward_seconds, s.train_seconds, s.cpu_seconds
      FROM @extschema@.dsr1_grpo_step s JOIN @extschema@.dsr1_job j ON j.id = s.job
     WHERE pg_catalog.pg_has_role(j.owner, 'USAGE')
        OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE');

COMMENT ON VIEW dsr1_grpo_steps IS 'steps of runs of training, one row each; step 0 only looks at the prompts set aside';
COMMENT ON COLUMN dsr1_grpo_steps.run IS 'number in dsr1_grpo_runs';
COMMENT ON COLUMN dsr1_grpo_steps.step IS 'counted from 1';
COMMENT ON COLUMN dsr1_grpo_steps.at IS 'when it was done';
COMMENT ON COLUMN dsr1_grpo_steps.reward IS 'mean over all answers of the step';
COMMENT ON COLUMN dsr1_grpo_steps.reward_std IS 'their spread';
COMMENT ON COLUMN dsr1_grpo_steps.eval_reward IS 'mean of answers to the prompts set aside';
COMMENT ON COLUMN dsr1_grpo_steps.loss IS 'of the step''s first update';
COMMENT ON COLUMN dsr1_grpo_steps.kl IS 'divergence from the model without adapter, where option beta is not 0';
COMMENT ON COLUMN dsr1_grpo_steps.entropy IS 'mean of -log p of what was sampled';
COMMENT ON COLUMN dsr1_grpo_steps.length IS 'mean length of answers, in tokens';
COMMENT ON COLUMN dsr1_grpo_steps.ended IS 'share of answers that ended by themselves';
COMMENT ON COLUMN dsr1_grpo_steps.grad_norm IS 'norm of the gradient, before it is cut';
COMMENT ON COLUMN dsr1_grpo_steps.lr IS 'rate of learning';
COMMENT ON COLUMN dsr1_grpo_steps.clipped_low IS 'share of tokens whose ratio was cut from below, in the last update';
COMMENT ON COLUMN dsr1_grpo_steps.clipped_high IS 'share of tokens whose ratio was cut from above, in the last update';
COMMENT ON COLUMN dsr1_grpo_steps.mismatch IS 'mean |log p| between the engine that sampled and the network that learns';
COMMENT ON COLUMN dsr1_grpo_steps.groups IS 'prompts, each with a group of answers';
COMMENT ON COLUMN dsr1_grpo_steps.useful IS 'groups whose answers are not all worth the same';
COMMENT ON COLUMN dsr1_grpo_steps.rounds IS 'how often answers were sampled: more than once where groups without spread were replaced';
COMMENT ON COLUMN dsr1_grpo_steps.errors IS 'answers without reward';
COMMENT ON COLUMN dsr1_grpo_steps.tokens IS 'tokens sampled';
COMMENT ON COLUMN dsr1_grpo_steps.train_tokens IS 'tokens learned from';
COMMENT ON COLUMN dsr1_grpo_steps.rollout_tokens_per_s IS 'tokens sampled per second of sampling';
COMMENT ON COLUMN dsr1_grpo_steps.train_tokens_per_s IS 'tokens learned from per second of learning';
COMMENT ON COLUMN dsr1_grpo_steps.seconds IS 'of the whole step';
COMMENT ON COLUMN dsr1_grpo_steps.rollout_seconds IS 'spent sampling';
COMMENT ON COLUMN dsr1_grpo_steps.reward_seconds IS 'spent waiting for rewards';
COMMENT ON COLUMN dsr1_grpo_steps.train_seconds IS 'spent learning';
COMMENT ON COLUMN dsr1_grpo_steps.cpu_seconds IS 'processor time of the trainer';

CREATE VIEW dsr1_grpo_rollouts AS
    SELECT o.job AS run, o.step, o.n, o.prompt, o.completion, o.reward, o.advantage, o.tokens, o.finish
      FROM @extschema@.dsr1_grpo_rollout o JOIN @extschema@.dsr1_job j ON j.id = o.job
     WHERE pg_catalog.pg_has_role(j.owner, 'USAGE');

COMMENT ON VIEW dsr1_grpo_rollouts IS 'answers of your runs of training: of each step as many as option rollouts says';
COMMENT ON COLUMN dsr1_grpo_rollouts.run IS 'number in dsr1_grpo_runs';
COMMENT ON COLUMN dsr1_grpo_rollouts.step IS 'of dsr1_grpo_steps';
COMMENT ON COLUMN dsr1_grpo_rollouts.n IS 'place within the step';
COMMENT ON COLUMN dsr1_grpo_rollouts.prompt IS 'what was asked';
COMMENT ON COLUMN dsr1_grpo_rollouts.completion IS 'what was answered';
COMMENT ON COLUMN dsr1_grpo_rollouts.reward IS 'what the function said of it';
COMMENT ON COLUMN dsr1_grpo_rollouts.advantage IS 'how much better than its group, over the group''s spread';
COMMENT ON COLUMN dsr1_grpo_rollouts.tokens IS 'length of the answer';
COMMENT ON COLUMN dsr1_grpo_rollouts.finish IS 'end, stop, or length where max_tokens cut it off';

CREATE VIEW dsr1_grpo_errors AS
    SELECT x.job AS run, x.step, x.n, x.prompt, x.completion, x.sqlstate, x.message
      FROM @extschema@.dsr1_grpo_error x JOIN @extschema@.dsr1_job j ON j.id = x.job
     WHERE pg_catalog.pg_has_role(j.owner, 'USAGE');

COMMENT ON VIEW dsr1_grpo_errors IS 'answers of your runs of training that the reward function failed on, and why';
COMMENT ON COLUMN dsr1_grpo_errors.run IS 'number in dsr1_grpo_runs';
COMMENT ON COLUMN dsr1_grpo_errors.step IS 'of dsr1_grpo_steps';
COMMENT ON COLUMN dsr1_grpo_errors.n IS 'place within the step';
COMMENT ON COLUMN dsr1_grpo_errors.prompt IS 'what was asked';
COMMENT ON COLUMN dsr1_grpo_errors.completion IS 'what was answered';
COMMENT ON COLUMN dsr1_grpo_errors.sqlstate IS 'of the function''s error';
COMMENT ON COLUMN dsr1_grpo_errors.message IS 'of the function''s error';

GRANT SELECT ON dsr1_grpo_runs, dsr1_grpo_steps, dsr1_grpo_rollouts, dsr1_grpo_errors TO PUBLIC;

CREATE FUNCTION dsr1_stat_progress_job(OUT pid int, OUT datid oid, OUT job bigint, OUT phase text,
                                       OUT rows_in_flight int, OUT rows_done bigint, OUT rows_failed bigint,
                                       OUT started timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'sql_stat_progress_job'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;

COMMENT ON FUNCTION dsr1_stat_progress_job() IS 'workers of jobs, of all databases';

CREATE VIEW dsr1_stat_progress_job AS
    SELECT p.pid, p.datid, d.datname, p.job, p.phase, p.rows_in_flight, p.rows_done, p.rows_failed, p.started
      FROM @extschema@.dsr1_stat_progress_job() p LEFT JOIN pg_catalog.pg_database d ON d.oid = p.datid;

COMMENT ON VIEW dsr1_stat_progress_job IS 'workers of jobs, one row each';
COMMENT ON COLUMN dsr1_stat_progress_job.pid IS 'process of the worker';
COMMENT ON COLUMN dsr1_stat_progress_job.datid IS 'database of the job';
COMMENT ON COLUMN dsr1_stat_progress_job.datname IS 'its name';
COMMENT ON COLUMN dsr1_stat_progress_job.job IS 'number in dsr1_jobs of that database';
COMMENT ON COLUMN dsr1_stat_progress_job.phase IS 'what the worker does now';
COMMENT ON COLUMN dsr1_stat_progress_job.rows_in_flight IS 'rows that wait for the engine''s answer';
COMMENT ON COLUMN dsr1_stat_progress_job.rows_done IS 'since the worker started';
COMMENT ON COLUMN dsr1_stat_progress_job.rows_failed IS 'since the worker started';
COMMENT ON COLUMN dsr1_stat_progress_job.started IS 'when the worker did';

GRANT SELECT ON dsr1_jobs, dsr1_job_errors, dsr1_stat_progress_job TO PUBLIC;

--
-- Requests, usage, cancelling
--

CREATE FUNCTION dsr1_stat_requests(OUT id bigint, OUT pid int, OUT datid oid, OUT login oid, OUT role oid,
                                   OUT kind text, OUT state text, OUT job bigint, OUT began timestamptz,
                                   OUT adapter text, OUT prompt_tokens int, OUT cached_tokens int,
                                   OUT generated_tokens int)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'sql_stat_requests'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;

CREATE FUNCTION dsr1_stat_usage(OUT login oid, OUT datid oid, OUT function text, OUT calls bigint, OUT errors bigint,
                                OUT prompt_tokens bigint, OUT cached_tokens bigint, OUT generated_tokens bigint,
                                OUT engine_ms float8, OUT tokens_today bigint, OUT stats_reset timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'sql_stat_usage'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;

CREATE FUNCTION dsr1_stat_reset(role oid DEFAULT 0)
RETURNS void
AS 'MODULE_PATHNAME', 'sql_stat_reset'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;

CREATE FUNCTION dsr1_cancel(request bigint)
RETURNS bool
AS 'MODULE_PATHNAME', 'sql_cancel'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;

COMMENT ON FUNCTION dsr1_stat_requests() IS 'requests to the inference engine that are on their way';
COMMENT ON FUNCTION dsr1_stat_usage() IS 'what roles have used of the inference engine';
COMMENT ON FUNCTION dsr1_stat_reset(oid) IS 'sets the figures of dsr1_stat_usage to zero, of one role or of all; not what counts towards a quota';
COMMENT ON FUNCTION dsr1_cancel(bigint) IS 'cancels a request of dsr1_stat_requests: its statement fails, or its row of a job is tried again';

REVOKE EXECUTE ON FUNCTION dsr1_stat_reset(oid) FROM PUBLIC;

CREATE VIEW dsr1_stat_requests AS
    SELECT r.id, r.pid, d.datname, pg_catalog.pg_get_userbyid(r.role) AS role, r.kind, r.state,
           r.prompt_tokens, r.cached_tokens, r.generated_tokens,
           pg_catalog.clock_timestamp() - r.began AS wait, r.job, a.query_id, a.query,
           COALESCE((SELECT pg_catalog.min(d.name::pg_catalog.text) FROM @extschema@.dsr1_adapter d
                      WHERE d.digest = r.adapter), r.adapter) AS adapter
      FROM @extschema@.dsr1_stat_requests() r
           LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = r.pid
           LEFT JOIN pg_catalog.pg_database d ON d.oid = r.datid;

COMMENT ON VIEW dsr1_stat_requests IS 'requests to the inference engine that are on their way';
COMMENT ON COLUMN dsr1_stat_requests.id IS 'what dsr1_cancel() takes';
COMMENT ON COLUMN dsr1_stat_requests.pid IS 'process that asks';
COMMENT ON COLUMN dsr1_stat_requests.datname IS 'its database';
COMMENT ON COLUMN dsr1_stat_requests.role IS 'as whom it asks';
COMMENT ON COLUMN dsr1_stat_requests.kind IS 'complete, score, embed, tokenize or detokenize';
COMMENT ON COLUMN dsr1_stat_requests.state IS 'waiting (for the engine to come, or for the role''s other requests), queued (in the engine), prefill (its prompt is computed), decode (its answer is) or cancelled';
COMMENT ON COLUMN dsr1_stat_requests.prompt_tokens IS 'of its prompt, as the engine knows them; NULL before it does';
COMMENT ON COLUMN dsr1_stat_requests.cached_tokens IS 'of them, found computed';
COMMENT ON COLUMN dsr1_stat_requests.generated_tokens IS 'of its answer until now';
COMMENT ON COLUMN dsr1_stat_requests.wait IS 'since it was asked';
COMMENT ON COLUMN dsr1_stat_requests.job IS 'the job that asks; NULL: a statement';
COMMENT ON COLUMN dsr1_stat_requests.query_id IS 'of the statement, as pg_stat_activity has it';
COMMENT ON COLUMN dsr1_stat_requests.query IS 'the statement; of other roles for members of pg_read_all_stats only';
COMMENT ON COLUMN dsr1_stat_requests.adapter IS 'its name in this database, else its digest; NULL for none';

CREATE VIEW dsr1_stat_usage AS
    SELECT pg_catalog.pg_get_userbyid(u.login) AS role, d.datname, u.function, u.calls, u.errors,
           u.prompt_tokens, u.cached_tokens, u.generated_tokens, u.engine_ms,
           CASE WHEN q.quota IS NOT NULL
                THEN GREATEST(0, q.quota - pg_catalog.sum(u.tokens_today) OVER (PARTITION BY u.login)) END AS quota_left,
           u.stats_reset
      FROM @extschema@.dsr1_stat_usage() u
           LEFT JOIN pg_catalog.pg_database d ON d.oid = u.datid
           LEFT JOIN LATERAL
           (SELECT NULLIF(pg_catalog.split_part(c, '=', 2)::bigint, -1) AS quota
              FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) c
             WHERE s.setrole = u.login AND s.setdatabase IN (0, u.datid)
               AND pg_catalog.starts_with(c, 'dsr1.max_tokens_per_day=')
             ORDER BY s.setdatabase DESC LIMIT 1) q ON true;

COMMENT ON VIEW dsr1_stat_usage IS 'what you, or for pg_read_all_stats everybody, have used of the inference engine';
COMMENT ON COLUMN dsr1_stat_usage.role IS 'who logged in';
COMMENT ON COLUMN dsr1_stat_usage.datname IS 'the database';
COMMENT ON COLUMN dsr1_stat_usage.function IS 'complete, score, embed, tokenize or detokenize';
COMMENT ON COLUMN dsr1_stat_usage.calls IS 'requests answered or failed';
COMMENT ON COLUMN dsr1_stat_usage.errors IS 'of them, failed';
COMMENT ON COLUMN dsr1_stat_usage.prompt_tokens IS 'of their prompts';
COMMENT ON COLUMN dsr1_stat_usage.cached_tokens IS 'of them, found computed';
COMMENT ON COLUMN dsr1_stat_usage.generated_tokens IS 'of their answers';
COMMENT ON COLUMN dsr1_stat_usage.engine_ms IS 'time that they spent in the engine';
COMMENT ON COLUMN dsr1_stat_usage.quota_left IS 'tokens left today of the role''s dsr1.max_tokens_per_day, in all databases; NULL: no limit';
COMMENT ON COLUMN dsr1_stat_usage.stats_reset IS 'when counting began';

GRANT SELECT ON dsr1_stat_requests, dsr1_stat_usage TO PUBLIC;
