-- grpo.sql - teach the model, inside PostgreSQL, to answer with the JSON that is asked for, and nothing else
--
--     psql -f examples/grpo_json/grpo.sql [-v more='{"steps": 20, "seed": 2}']
--
-- Prompts come from a query, rewards from a function: it looks at keys and at values. Everything lies in a schema of its
-- own; DROP SCHEMA grpo_json CASCADE removes it.
--
-- SPDX-License-Identifier: PostgreSQL
\set ON_ERROR_STOP on
\if :{?more}
\else
    \set more '{}'
\endif
CREATE EXTENSION IF NOT EXISTS dsr1;
CREATE SCHEMA grpo_json;

CREATE TABLE grpo_json.thing (id int PRIMARY KEY, aside bool, item text, color text, price int, material text, city text);
INSERT INTO grpo_json.thing
SELECT n, n % 5 = 0,
       (CASE WHEN n % 5 = 0 THEN '{box,shelf,plate,coat}'
             ELSE '{lamp,chair,vase,jacket,table,clock,mirror,carpet,bottle,basket}' END::text[])[1 + n / 5 % CASE WHEN n % 5 = 0 THEN 4 ELSE 10 END],
       ('{red,blue,green,yellow,black}'::text[])[1 + n * 7 % 5], 5 + n * 13 % 85,
       ('{wood,glass,steel,wool,leather}'::text[])[1 + n * 3 / 2 % 5], ('{Lisbon,Oslo,Lima,Osaka,Dublin,Cairo}'::text[])[1 + n * 5 % 6]
  FROM generate_series(1, 240) n;

-- Two facts about each thing; what a right answer says is the prompt's meta.
CREATE VIEW grpo_json.task AS
SELECT id, aside, 'Answer in JSON.' AS system,
       CASE id % 3 WHEN 0 THEN format('The %s is %s and costs %s euros. Give me a JSON object with the keys item, color, price.', item, color, price)
                   WHEN 1 THEN format('The %s is made of %s and comes from %s. Give me a JSON object with the keys item, material, city.', item, material, city)
                   ELSE format('The %s is %s. Give me a JSON object with the keys item, color.', item, color) END AS prompt,
       CASE id % 3 WHEN 0 THEN jsonb_build_object('item', item, 'color', color, 'price', price)
                   WHEN 1 THEN jsonb_build_object('item', item, 'material', material, 'city', city)
                   ELSE jsonb_build_object('item', item, 'color', color) END AS meta
  FROM grpo_json.thing;

-- The object in a text, or NULL.
CREATE FUNCTION grpo_json.object_in(answer text) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    RETURN CASE WHEN jsonb_typeof(answer::jsonb) = 'object' THEN answer::jsonb END;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END $$;

-- How much of what was wanted is there: a key counts half, its right value the rest; what nobody asked for costs.
CREATE FUNCTION grpo_json.share(answer jsonb, wanted jsonb) RETURNS float8 LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT sum(CASE WHEN NULLIF(answer->>key, '') IS NULL THEN 0
                    WHEN lower(btrim(answer->>key)) = lower(value) OR answer->>key ~* ('^\W*' || value || '( euros?)?\W*$') THEN 1
                    ELSE 0.5 END) / count(*)
           / (1 + 0.5 * GREATEST(0, (SELECT count(*) FROM jsonb_object_keys(answer)) - count(*)))
      FROM jsonb_each_text(wanted)
$$;

-- 0.4 for an object and nothing else, 0.1 for one within other text, and up to 0.6 and 0.2 for what it says.
CREATE FUNCTION grpo_json.reward(prompt text, completion text, meta jsonb) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$
    SELECT COALESCE(0.4 + 0.6 * grpo_json.share(grpo_json.object_in(completion), meta),
                    0.1 + 0.2 * grpo_json.share(grpo_json.object_in(substring(completion from '\{[^{}]*\}')), meta),
                    CASE WHEN completion LIKE '%{%' THEN 0.05 ELSE 0 END)
$$;

SELECT dsr1_grpo('json', 'SELECT system, prompt, meta FROM grpo_json.task WHERE NOT aside ORDER BY id',
                 'grpo_json.reward(text,text,jsonb)',
                 '{"steps": 56, "batch": 2, "max_tokens": 36, "overlong": "keep", "lr": 6e-4, "schedule": "cosine", "warmup": 2, "eval_every": 8,
                   "eval": "SELECT system, prompt, meta FROM grpo_json.task WHERE aside ORDER BY id"}'::jsonb || :'more'::jsonb) AS run \gset
SELECT dsr1_job_wait(:run) AS over;
SELECT step, round(reward::numeric, 3) AS reward, round(eval_reward::numeric, 3) AS aside, round(entropy::numeric, 2) AS entropy, errors
  FROM dsr1_grpo_steps WHERE run = :run AND (eval_reward IS NOT NULL OR step % 10 = 0) ORDER BY step;
SELECT step, reward, completion FROM dsr1_grpo_rollouts WHERE run = :run AND n = 1 ORDER BY step DESC LIMIT 5;
SELECT state, errors, adapter_digest, last_error FROM dsr1_grpo_runs WHERE id = :run;
