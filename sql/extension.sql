-- The extension itself: what it makes, where, and who may use it
CREATE EXTENSION dsr1;

SELECT dsr1_version();

-- all members; from 17 on, the types of tables and arrays are some, too
SELECT pg_describe_object(classid, objid, 0) COLLATE "C" AS member
  FROM pg_depend
 WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
   AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'dsr1')
   AND NOT EXISTS (SELECT FROM pg_type WHERE classid = 'pg_type'::regclass AND oid = objid AND (typtype = 'c' OR typcategory = 'A'))
 ORDER BY 1;

-- what costs compute is not for everybody, what tells the state is
SELECT p.proname, p.provolatile, p.proparallel, p.proisstrict, has_function_privilege('public', p.oid, 'EXECUTE') AS public
  FROM pg_proc p
 WHERE p.proname ~ '^dsr1_' ORDER BY 1;

CREATE ROLE regress_dsr1_user;
SET ROLE regress_dsr1_user;
SELECT dsr1_complete('Hello');
SELECT dsr1_count_tokens('Hello');
SELECT dsr1_version();
RESET ROLE;
GRANT EXECUTE ON FUNCTION dsr1_count_tokens(text) TO regress_dsr1_user;
SET ROLE regress_dsr1_user;
SELECT dsr1_count_tokens('Hello');
RESET ROLE;

-- in a schema of one's own
DROP EXTENSION dsr1;
CREATE SCHEMA regress_dsr1;
CREATE EXTENSION dsr1 SCHEMA regress_dsr1;
SELECT count(*) FROM regress_dsr1.dsr1_stat_engine;
SELECT regress_dsr1.dsr1_count_tokens('Hello world');
DROP EXTENSION dsr1;
DROP SCHEMA regress_dsr1;
DROP ROLE regress_dsr1_user;
CREATE EXTENSION dsr1;
