-- A query that is told to end does so in the midst of an answer. It counts to
-- the end of the context: a story may be over before its time is.
SET statement_timeout = '300ms';
SELECT length(dsr1_complete('1, 2, 3, 4,', max_tokens => -1, raw => true));
RESET statement_timeout;

SET dsr1.request_timeout = '300ms';
SELECT length(dsr1_complete('1, 2, 3, 4,', max_tokens => -1, raw => true));
RESET dsr1.request_timeout;

-- caught, and the session goes on
DO $$
BEGIN
	SET LOCAL dsr1.request_timeout = '1ms';
	PERFORM dsr1_complete('1, 2, 3, 4,', max_tokens => -1, raw => true);
EXCEPTION WHEN query_canceled THEN
	RAISE NOTICE 'canceled';
END
$$;
SELECT dsr1_complete('The capital of France is', 1, raw => true);
