-- grpo.sql - teach the model, inside PostgreSQL, to answer with one of three labels, and the right one
--
--     psql -f examples/grpo_labels/grpo.sql [-v more='{"steps": 20, "seed": 2}']
--
-- The right answers are rows of a table that somebody has labelled. DROP SCHEMA grpo_labels CASCADE removes everything.
--
-- SPDX-License-Identifier: PostgreSQL
\set ON_ERROR_STOP on
\if :{?more}
\else
    \set more '{}'
\endif
CREATE EXTENSION IF NOT EXISTS dsr1;
CREATE SCHEMA grpo_labels;

CREATE TYPE grpo_labels.label AS ENUM ('complaint', 'praise', 'question');
CREATE TABLE grpo_labels.message (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, aside bool, body text, label grpo_labels.label);
INSERT INTO grpo_labels.message (aside, body, label)
SELECT thing IN ('guitar', 'toaster', 'backpack', 'drone'), format(body, thing), label::grpo_labels.label
  FROM unnest('{lamp,kettle,tent,radio,bicycle,jacket,camera,sofa,blender,watch,guitar,toaster,backpack,drone}'::text[]) thing,
       (VALUES ('My %s arrived broken.', 'complaint'), ('The %s stopped working after a day.', 'complaint'),
               ('I am still waiting for my %s.', 'complaint'), ('The %s is not what I ordered.', 'complaint'),
               ('I love my new %s!', 'praise'), ('The %s is even better than I hoped.', 'praise'),
               ('Thank you, the %s works perfectly.', 'praise'), ('Best %s I ever had.', 'praise'),
               ('Do you have the %s in blue?', 'question'), ('How much is the %s?', 'question'),
               ('When will the %s be in stock again?', 'question'), ('Can I return the %s within a month?', 'question')) AS t(body, label);

-- 1 for the right label, 0.1 for another one, 0 for anything else
CREATE FUNCTION grpo_labels.reward(prompt text, completion text, meta jsonb) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN btrim(completion, E' \n') = meta->>'label' THEN 1
                WHEN btrim(completion, E' \n') = ANY (enum_range(NULL::grpo_labels.label)::text[]) THEN 0.1
                ELSE 0 END
$$;

CREATE VIEW grpo_labels.task AS
SELECT id, aside, 'Answer with one word: complaint, praise, question.' AS system, body AS prompt, jsonb_build_object('label', label) AS meta
  FROM grpo_labels.message;

SELECT dsr1_grpo('labels', 'SELECT system, prompt, meta FROM grpo_labels.task WHERE NOT aside ORDER BY id',
                 'grpo_labels.reward(text,text,jsonb)',
                 '{"steps": 100, "batch": 8, "group": 8, "refill": 2, "max_tokens": 8, "overlong": "keep", "lr": 3e-4, "eval_every": 10,
                   "eval": "SELECT system, prompt, meta FROM grpo_labels.task WHERE aside ORDER BY id"}'::jsonb || :'more'::jsonb) AS run \gset
SELECT dsr1_job_wait(:run) AS over;
SELECT step, round(reward::numeric, 3) AS reward, round(eval_reward::numeric, 3) AS aside, round(entropy::numeric, 2) AS entropy, errors
  FROM dsr1_grpo_steps WHERE run = :run AND eval_reward IS NOT NULL ORDER BY step;
SELECT state, errors, adapter_digest, last_error FROM dsr1_grpo_runs WHERE id = :run;
