-- Answers of a given form: JSON of a schema, and values of PostgreSQL's types
SELECT jsonb_typeof(j) AS type, length(j ->> 'name') <= 12 AS name, (j ->> 'age')::int BETWEEN 0 AND 120 AS age, (SELECT count(*) FROM jsonb_object_keys(j)) AS keys
  FROM dsr1_generate('Tell me about a person.', '{"type": "object", "properties": {"name": {"type": "string", "maxLength": 12},
       "age": {"type": "integer", "minimum": 0, "maximum": 120}}, "required": ["name", "age"], "additionalProperties": false}') AS j;
SELECT dsr1_generate('Heads or tails?', '{"enum": ["heads", "tails"]}') IN ('"heads"', '"tails"') AS one_of_two;

-- the fields that were asked for, as strings or null
SELECT array(SELECT jsonb_object_keys(j) ORDER BY 1) AS keys, (SELECT bool_and(jsonb_typeof(value) IN ('string', 'null')) FROM jsonb_each(j)) AS types
  FROM dsr1_extract('Ann lives in Oslo.', ARRAY['name', 'city', 'a "quoted" one']) AS j;
SELECT array(SELECT jsonb_object_keys(j) ORDER BY 1) AS keys
  FROM dsr1_extract('Ann lives in Oslo.', '{"name": "of the person", "city": "where she lives"}'::jsonb) AS j;

-- any type
CREATE TYPE regress_color AS ENUM ('red', 'green', 'it''s "odd"');
CREATE DOMAIN regress_short AS varchar(10);
CREATE TYPE regress_part AS (code regress_short, n smallint);
CREATE TYPE regress_invoice AS (customer text, total numeric, paid boolean, color regress_color, tags text[], due date, part regress_part, more jsonb);
SELECT pg_typeof(i) AS type, (i).color IS NULL OR (i).color = ANY (enum_range(NULL::regress_color)) AS color, coalesce(length((i).part.code) <= 10, true) AS code
  FROM dsr1_populate(NULL::regress_invoice, 'Ann Lee bought three red apples for 12.50 and has paid.') AS i;
SELECT pg_typeof(dsr1_populate(NULL::regress_color, 'A meadow')) AS color, dsr1_populate(NULL::int, 'I have two dogs.') IS NOT NULL AS number,
       pg_typeof(dsr1_populate(NULL::text[], 'cats and dogs')) AS list, dsr1_populate(NULL::boolean, 'Water is wet.') IN (true, false) AS truth,
       dsr1_populate(NULL::date, 'On the third of May 2024') IS NOT NULL AS day, dsr1_populate(NULL::text, NULL) IS NULL AS nothing;
-- whatever the text is, no cast fails
SELECT count(*) AS n, count(v) AS values
  FROM generate_series(1, 20) AS g, LATERAL (SELECT dsr1_populate(NULL::regress_part, md5(g::text) || repeat('"}\', g)) AS v) AS s;
-- a wish to call a function
SELECT r ->> 'finish_reason' AS finish, jsonb_typeof(r -> 'tool_calls' -> 0 -> 'arguments') AS arguments
  FROM dsr1_chat('[{"role": "user", "content": "What is the weather in Oslo?"}]',
                 '{"tools": [{"name": "weather", "parameters": {"city": "string"}}], "tool_choice": "required", "max_tokens": 200}') AS r;

-- refused
\set VERBOSITY sqlstate
SELECT dsr1_generate('x', '{"type": "no such type"}');
SELECT dsr1_generate('Write a long story.', '{"type": "string", "minLength": 200}', '{"max_tokens": 5}');
SELECT dsr1_populate(NULL::record, 'x');
SELECT dsr1_extract('x', '{}'::text[]);
SELECT dsr1_extract('x', '[]'::jsonb);
SET dsr1.on_error = 'null';
SELECT dsr1_generate('Write a long story.', '{"type": "string", "minLength": 200}', '{"max_tokens": 5}') IS NULL AS cut_off;
RESET dsr1.on_error;
DROP TYPE regress_invoice, regress_part, regress_color;
DROP DOMAIN regress_short;
