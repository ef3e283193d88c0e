-- A query that is told to end does so in the midst of an answer
SET statement_timeout = '300ms';
SELECT length(dsr1_complete('Tell a very long story.', max_tokens => -1, temperature => 1, stop => '{no such text}'));
RESET statement_timeout;

SET dsr1.request_timeout = '300ms';
SELECT length(dsr1_complete('Tell a very long story.', max_tokens => -1, temperature => 1));
RESET dsr1.request_timeout;

-- caught, and the session goes on
DO $$
BEGIN
	SET LOCAL dsr1.request_timeout = '1ms';
	PERFORM dsr1_complete('Tell a very long story.', max_tokens => -1);
EXCEPTION WHEN query_canceled THEN
	RAISE NOTICE 'canceled';
END
$$;
SELECT dsr1_complete('The capital of France is', 1, raw => true);
