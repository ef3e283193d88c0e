-- Decisions: the answer is one of those given, with its probability
SELECT dsr1_classify('I love this phone, it is wonderful!', ARRAY['positive', 'negative']) AS love,
       dsr1_classify('It is awful and broken, I want my money back.', ARRAY['positive', 'negative']) AS awful,
       dsr1_classify(NULL, ARRAY['a', 'b']) AS null_text;

-- the order of labels does not matter, and neither does one that is there twice
SELECT s.a[1] = s.b[3] AND s.a[2] = s.b[2] AND s.a[3] = s.b[1] AS same, s.c[1] = s.c[4] AND s.c[1] = s.a[1] AS twice,
       abs((SELECT sum(x) FROM unnest(s.a) AS x) - 1) < 1e-12 AS sum_is_one
  FROM (SELECT dsr1_scores('Awful, it broke.', ARRAY['good', 'bad', 'so so']) AS a,
               dsr1_scores('Awful, it broke.', ARRAY['so so', 'bad', 'good']) AS b,
               dsr1_scores('Awful, it broke.', ARRAY['good', 'bad', 'so so', 'good']) AS c) AS s;

-- what classify says is the likeliest
SELECT t, dsr1_classify(t, l) = l[array_position(dsr1_scores(t, l), (SELECT max(x) FROM unnest(dsr1_scores(t, l)) x))] AS likeliest
  FROM (VALUES ('The match ended two to one.'), ('Parliament passed the law.'), ('"quotes", {braces} and \ too')) AS v (t),
       (SELECT ARRAY['sports', 'politics', 'a "quoted" one', 'sport']::text[] AS l) AS labels;

-- calibrated: relative to texts that say nothing, over which each label's mean is then the same
SET dsr1.calibrate = on;
SELECT max(mean) - min(mean) < 1e-9 AS nothing_said
  FROM (SELECT n, avg(ln(p)) AS mean
          FROM (VALUES ('N/A'), ('[MASK]'), ('')) AS v (t), unnest(dsr1_scores(t, ARRAY['good', 'bad', 'so so'])) WITH ORDINALITY AS u (p, n)
         GROUP BY n) AS m;
SELECT abs((SELECT sum(x) FROM unnest(s.a) AS x) - 1) < 1e-12 AS sum_is_one, s.a[1] = s.b[2] AND s.a[2] = s.b[1] AS same,
       s.c = CASE WHEN s.a[1] > s.a[2] THEN 'good' ELSE 'bad' END AS likeliest
  FROM (SELECT dsr1_scores('Awful, it broke.', ARRAY['good', 'bad']) AS a, dsr1_scores('Awful, it broke.', ARRAY['bad', 'good']) AS b,
               dsr1_classify('Awful, it broke.', ARRAY['good', 'bad']) AS c) AS s;
RESET dsr1.calibrate;

-- an enum in, one of its values out
CREATE TYPE regress_mood AS ENUM ('happy', 'sad', 'it''s "odd"');
SELECT dsr1_classify('I cry all day.', NULL::regress_mood), pg_typeof(dsr1_classify('I cry all day.', 'happy'::regress_mood));
DROP TYPE regress_mood;

SELECT dsr1_classify_multi('The screen broke.', ARRAY['screen', 'price'], 0) AS all_of_them,
       dsr1_classify_multi('The screen broke.', ARRAY['screen', 'price'], 1) AS none,
       dsr1_classify_multi('The screen broke.', ARRAY['screen', 'price']) <@ ARRAY['screen', 'price'] AS some;

-- conditions
SELECT p BETWEEN 0 AND 1 AS probability, f = (p >= 0.5) AS decided
  FROM (SELECT dsr1_filter_score('My phone broke.', 'It is a complaint.') AS p,
               dsr1_filter('My phone broke.', 'It is a complaint.') AS f) AS s;
SET dsr1.filter_threshold = 1;
SELECT dsr1_filter('My phone broke.', 'It is a complaint.') IS NULL AS undecided;
RESET dsr1.filter_threshold;
SELECT dsr1_filter(NULL, 'x') IS NULL AND dsr1_filter('x', NULL) IS NULL AS strict;

SELECT dsr1_score('It is good.', ARRAY['bad', 'middling', 'good']) BETWEEN 1 AND 3 AS mark;
SELECT count(*), count(DISTINCT ord), bool_and(score BETWEEN 0 AND 1), min(ord), max(ord)
  FROM dsr1_rank('capital of France', ARRAY['Paris is the capital.', 'Cats are animals.', 'Paris is the capital.']);
SELECT bool_and(score <= before) AS best_first
  FROM (SELECT score, lag(score) OVER (ORDER BY n) AS before
          FROM dsr1_rank('capital of France', ARRAY['Cats.', 'Paris is the capital.', 'Dogs.']) WITH ORDINALITY AS r (ord, score, n)) AS s;
SELECT count(*) FROM dsr1_rank('nothing to rank', '{}');
SELECT dsr1_logprob('The capital of France is', ' Paris') > dsr1_logprob('The capital of France is', ' Rome') AS paris;

-- refused
\set VERBOSITY sqlstate
SELECT dsr1_classify('x', '{}'::text[]);
SELECT dsr1_classify('x', ARRAY['a', NULL]);
SELECT dsr1_classify('x', ARRAY['a', '']);
SELECT dsr1_classify('x', array_fill('x'::text, '{1025}'));
SELECT dsr1_classify_multi('x', ARRAY['a'], 2);
SELECT dsr1_classify_multi('x', ARRAY['a'], 'NaN');
SELECT dsr1_score('x', '{}');
SELECT dsr1_classify(repeat('word ', 5000), ARRAY['a', 'b']);
SET dsr1.on_error = 'null';
\set VERBOSITY terse
SELECT dsr1_classify(repeat('word ', 5000), ARRAY['a', 'b']) IS NULL AS is_null,
       dsr1_filter(repeat('word ', 5000), 'too long') IS NULL AS is_null;
RESET dsr1.on_error;
