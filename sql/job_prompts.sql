-- A job with a prompt of dsr1_prompts: what it was is known even when there is another version
CREATE TABLE letter (id int PRIMARY KEY, body text, answer text);
INSERT INTO letter VALUES (1, 'one'), (2, 'two');
SELECT dsr1_prompt_put('echo', 'Say {body}');
SELECT dsr1_annotate('letter', 'answer', dsr1_prompt('echo')) AS job \gset
SELECT dsr1_prompt_put('echo', 'Do not say {body}');
SELECT dsr1_job_wait(:job);
SELECT * FROM letter ORDER BY id;
SELECT p.name, p.version, j.prompt
  FROM dsr1_jobs j JOIN dsr1_prompts p ON j.prompt_digest = encode(sha256(convert_to(p.prompt, 'UTF8')), 'hex')
 WHERE j.id = :job;
DELETE FROM dsr1_prompts;
DROP TABLE letter;
