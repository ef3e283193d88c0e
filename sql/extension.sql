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

-- everything says what it is: no member without a comment, and no column of a view
SELECT pg_describe_object(classid, objid, 0) COLLATE "C" AS silent
  FROM pg_depend
 WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
   AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'dsr1')
   AND obj_description(objid, classid::regclass::name) IS NULL
   AND NOT EXISTS (SELECT FROM pg_type WHERE classid = 'pg_type'::regclass AND oid = objid AND (typtype = 'c' OR typcategory = 'A'))
UNION ALL
SELECT format('column %s of view %s', attname, attrelid::regclass)
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
 WHERE relkind = 'v' AND relname ~ '^dsr1_' AND attnum > 0 AND col_description(attrelid, attnum) IS NULL;

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
