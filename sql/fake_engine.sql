-- What a session sees of an engine that does what it is told (tests/fake/script.h)
SELECT dsr1_complete('hello');
SELECT dsr1_complete('[say caf%C3%A9]');
SELECT dsr1_count_tokens('one two three');

-- an engine that dies is started again, and the request asked again, once
SELECT dsr1_complete('[die-once a 0]still here');
SELECT restarts FROM dsr1_stat_engine;
SELECT dsr1_complete('[garbage-once b]after garbage');
SELECT dsr1_complete('[cut-once c]after half an answer');
SELECT dsr1_complete('[goodbye-once d]after a goodbye');

-- what is not an answer
\set VERBOSITY terse
SELECT dsr1_complete('[wrong]');
SELECT dsr1_complete('[twice]both are the same');
SELECT dsr1_complete('next');
SELECT dsr1_complete('[garbage]');
SELECT dsr1_complete('[say %FF%FE]');
SELECT dsr1_complete('[say a%00b]');

-- errors of the engine
SELECT dsr1_complete('[error ' || status || ' reason ' || status || ']') FROM generate_series(-7, -5) status;
SELECT dsr1_complete('[error -6 too long]');
SELECT dsr1_complete('[error -4 broken]');
\set VERBOSITY default

-- a hanging request is ended by the session
SET statement_timeout = '100ms';
SELECT dsr1_complete('[hang]');
RESET statement_timeout;
SET dsr1.request_timeout = '100ms';
SELECT dsr1_complete('[hang]');
RESET dsr1.request_timeout;

-- a long answer, and a long prompt
SELECT length(dsr1_complete('[long 3000000]'));
SELECT length(dsr1_complete(repeat('x', 1000000)));
SELECT batch_now, queue FROM dsr1_stat_engine;
