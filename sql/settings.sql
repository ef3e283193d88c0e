-- Who may set what, from when on, and within which limits; a session knows them once it has used the library
LOAD 'dsr1';
SELECT name, context, vartype, unit, boot_val, min_val, max_val
  FROM pg_settings WHERE name LIKE 'dsr1.%' ORDER BY name;

-- what decides which files the server reads comes from its configuration alone
SET dsr1.model = '/etc/passwd';
SET dsr1.engine_path = '/bin/sh';
SET dsr1.threads = 1;

CREATE ROLE regress_dsr1_user;
SET ROLE regress_dsr1_user;
\set VERBOSITY sqlstate
SHOW dsr1.model;
SHOW dsr1.engine_path;
\set VERBOSITY default
SET dsr1.log_requests = on;
SET dsr1.max_tokens = 5;
SHOW dsr1.max_tokens;
RESET ROLE;
DROP ROLE regress_dsr1_user;

SET dsr1.max_tokens = 0;
SET dsr1.max_tokens = -2;
SET dsr1.start_timeout = '1min';
SHOW dsr1.start_timeout;
\set VERBOSITY sqlstate
SET dsr1.start_timeout = -1;
\set VERBOSITY default

-- no such setting
SET dsr1.max_token = 5;
