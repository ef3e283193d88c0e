
# Jobs beside everything else that goes on in a server, with an engine that does as it is told (tests/fake)
#
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings;

use Dsr1;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('jobs', conf => "dsr1.engine_path = '$ENV{DSR1_FAKE_ENGINE}'\nmax_worker_processes = 12");

sub sql { return $node->safe_psql($_[1] // 'postgres', $_[0]) }

# A table of so many rows, whose answers take so long
sub make_table
{
	my ($name, $rows, $body) = @_;
	sql("CREATE TABLE $name (id int PRIMARY KEY, body text, other int, answer text);
		INSERT INTO $name SELECT g, '$body' || g FROM generate_series(1, $rows) g");
}

sub job_is
{
	my ($job, $condition, $database) = @_;
	return wait_until(sub { sql("SELECT $condition FROM dsr1_jobs WHERE id = $job", $database) eq 't' }, 60);
}

sub worker_pid { return sql("SELECT pid FROM dsr1_stat_progress_job WHERE job = $_[0]", $_[1]) }

# While the model thinks there is no transaction, no snapshot, no lock
make_table('hung', 40, '[hang]');
my $job = sql("SELECT dsr1_annotate('hung', 'answer', '{body}', '{\"batch\": 8}')");
ok(wait_until(sub { running_requests($node) == 8 }), 'eight rows are in the engine');
my $pid = worker_pid($job);
is( sql("SELECT backend_type, state, backend_xid IS NULL, backend_xmin IS NULL, wait_event_type
		FROM pg_stat_activity WHERE pid = $pid"),
	'dsr1 job worker|active|t|t|Extension', 'the worker holds no transaction and no snapshot');
is(sql("SELECT count(*) FROM pg_locks WHERE pid = $pid"), 0, 'and no lock');
is( sql("SELECT string_agg(DISTINCT backend_type, ',' ORDER BY backend_type) FROM pg_stat_activity WHERE backend_type LIKE 'dsr1%'"),
	'dsr1 job worker', 'workers show in pg_stat_activity');
sql('ALTER TABLE hung ADD COLUMN more int; VACUUM FULL hung');
pass('ALTER TABLE and VACUUM FULL do not wait for it');
sql("SELECT dsr1_job_pause($job)");
ok(wait_until(sub { running_requests($node) == 0 }), 'pausing frees the engine');
ok(wait_until(sub { worker_pid($job) eq '' }), 'and the worker ends');

# A row that changes, or is locked, or goes while its answer is on the way
make_table('busy', 4, '[delay 700]text ');
$job = sql("SELECT dsr1_annotate('busy', 'answer', '{body}')");
ok(wait_until(sub { running_requests($node) == 4 }), 'four rows are in the engine');
sql("UPDATE busy SET body = 'changed' WHERE id = 1; UPDATE busy SET other = 1 WHERE id = 2; DELETE FROM busy WHERE id = 4");
my $session = $node->background_psql('postgres');
$session->query('BEGIN');
$session->query('SELECT FROM busy WHERE id = 3 FOR UPDATE');
ok(job_is($job, 'done = 2'), 'those that can be written are');
is(sql('SELECT id, answer FROM busy ORDER BY id'), "1|changed\n2|text 2\n3|", 'the changed one is done again, the locked one waits');
$session->query('COMMIT');
$session->quit;
ok(job_is($job, "state = 'done'"), 'until it is free');
is(sql('SELECT answer FROM busy WHERE id = 3'), 'text 3', 'then it is written');

# Everything that can end: the engine, the worker, the server
make_table('long', 300, '[delay 100]text ');
sql('CREATE TABLE written (id int, at xid8 DEFAULT pg_current_xact_id());
	CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN INSERT INTO public.written VALUES (NEW.id); RETURN NULL; END $$;
	CREATE TRIGGER note AFTER UPDATE ON long FOR EACH ROW EXECUTE FUNCTION note()');
$job = sql("SELECT dsr1_annotate('long', 'answer', '{body}', '{\"batch\": 16}')");
ok(job_is($job, 'done > 0'), 'a job has begun');
kill 'KILL', engine_pid($node);
my $done = sql("SELECT done FROM dsr1_jobs WHERE id = $job");
ok(job_is($job, "done > $done"), 'it goes on with the next engine');
sql('SELECT pg_terminate_backend(' . worker_pid($job) . ')');
$done = sql("SELECT done FROM dsr1_jobs WHERE id = $job");
ok(job_is($job, "done > $done"), 'and with another worker');
$node->restart('fast');
$done = sql("SELECT done FROM dsr1_jobs WHERE id = $job");
ok(job_is($job, "done > $done"), 'and after a restart of the server, by itself');

is(sql('SELECT sum(calls) > 10 FROM dsr1_stat_usage'), 't', 'what roles have used is remembered over it');

# What a snapshot would hold back: it is looked at while other transactions come and go.
my $oldest = 0;
for my $round (1 .. 20)
{
	sql('DO $$ BEGIN FOR i IN 1 .. 50 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$');
	my $age = sql("SELECT coalesce(max(age(backend_xmin)), 0) FROM pg_stat_activity WHERE backend_type = 'dsr1 job worker'");
	$oldest = $age if $age > $oldest;
}
cmp_ok($oldest, '<', 500, "while 1,000 transactions passed, the oldest snapshot of the worker was $oldest transactions old");
ok(job_is($job, "state = 'done'"), 'to the end');
is(sql('SELECT count(*), count(DISTINCT id) FROM written'), '300|300', 'every row was written once');
is(sql('SELECT count(DISTINCT at) < 300 FROM written'), 't', 'many in one transaction');

# Its database is copied, and dropped
sql('CREATE DATABASE other');
sql('CREATE EXTENSION dsr1', 'other');
sql("CREATE TABLE t (id int PRIMARY KEY, answer text); INSERT INTO t SELECT generate_series(1, 100)", 'other');
$job = sql("SELECT dsr1_annotate('t', 'answer', '[delay 200]{id}', '{\"batch\": 8}')", 'other');
ok(job_is($job, 'done > 0', 'other'), 'a job has begun in another database');
sql('CREATE DATABASE copy TEMPLATE other');
pass('CREATE DATABASE can copy it meanwhile');
$done = sql("SELECT done FROM dsr1_jobs WHERE id = $job", 'other');
ok(job_is($job, "done > $done", 'other'), 'and the job goes on');
sql('DROP DATABASE other');
pass('DROP DATABASE works meanwhile');
sql('DROP DATABASE copy');

# The extension goes
make_table('orphan', 100, '[delay 200]');
$job = sql("SELECT dsr1_annotate('orphan', 'answer', '{body}')");
ok(job_is($job, 'started IS NOT NULL'), 'a job has begun');
sql('DROP EXTENSION dsr1');
sql('CREATE EXTENSION dsr1');
ok(wait_until(sub { sql('SELECT count(*) FROM dsr1_stat_progress_job') == 0 }), 'without the extension there are no workers');

# Jobs are dumped with their rows, and go on where they are restored
make_table('kept', 50, 'text ');
$job = sql("BEGIN; SELECT dsr1_annotate('kept', 'answer', '{body}'); SELECT dsr1_job_pause(1); COMMIT");
$job =~ s/\s//g;
my $dump = "$PostgreSQL::Test::Utils::tmp_check/jobs.sql";
sql('CREATE DATABASE restored');
command_ok([ 'pg_dump', '-f', $dump, $node->connstr('postgres') ], 'a database with jobs is dumped');
command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $node->connstr('restored') ], 'and restored');
is(sql("SELECT state, pending FROM dsr1_jobs WHERE id = $job", 'restored'), 'paused|50', 'with the job');
sql("SELECT dsr1_job_resume($job)", 'restored');
ok(job_is($job, "state = 'done'", 'restored'), 'which goes on there');
is(sql('SELECT count(answer) FROM kept', 'restored'), 50, 'to its end');
cmp_ok(sql("SELECT dsr1_annotate('kept', 'answer', 'again {body}')", 'restored'), '>', $job, 'and new ones get new numbers');

# Another model: the job stops rather than mix answers
make_table('mixed', 200, '[delay 100]text ');
$job = sql("SELECT dsr1_annotate('mixed', 'answer', '{body}', '{\"batch\": 8}')");
ok(job_is($job, 'done > 0'), 'a job has begun');
$node->append_conf('postgresql.conf', "dsr1.model = '/another/model'");
$node->reload;
ok(job_is($job, "state = 'paused'"), 'it pauses when the engine serves another model');
like(sql("SELECT last_error FROM dsr1_jobs WHERE id = $job"), qr/another model/, 'and says why');
sql("SELECT dsr1_job_resume($job)");
ok(job_is($job, "state = 'done'"), 'resumed, it goes on with that one');

# The owner goes: nobody is left to work as
sql('CREATE ROLE gone LOGIN; GRANT SELECT, UPDATE ON hung TO gone; GRANT EXECUTE ON FUNCTION dsr1_annotate TO gone');
($job) = sql("SET ROLE gone; SELECT dsr1_annotate('hung', 'answer', '{body}')") =~ /(\d+)/;
ok(wait_until(sub { worker_pid($job) ne '' }), 'a job of another role runs');
sql('DROP OWNED BY gone; DROP ROLE gone');
sql('SELECT pg_terminate_backend(' . worker_pid($job) . ')');
ok(job_is($job, "state = 'failed' AND last_error LIKE '%owner%'"), 'when the role is dropped, it fails');

# No slot for a worker: the job waits for one
make_table('patient', 3, 'text ');
$node->append_conf('postgresql.conf', 'max_worker_processes = 3');
$node->restart;
make_table('first', 1, '[hang]');
my $first = sql("SELECT dsr1_annotate('first', 'answer', '{body}')");
ok(wait_until(sub { running_requests($node) == 1 }), 'one job has the only slot');
$job = sql("SELECT dsr1_annotate('patient', 'answer', '{body}')");
is(sql("SELECT dsr1_job_wait($job, '1 s')"), 'f', 'another one waits');
sql("SELECT dsr1_job_cancel($first)");
ok(job_is($job, "state = 'done'"), 'until there is a slot again');

no_crash_recovery($node);
$node->stop;

# Without shared_preload_libraries: what processes share is made by whoever comes first
$node = new_cluster('jobs_late', preload => 0, conf => "dsr1.engine_path = '$ENV{DSR1_FAKE_ENGINE}'");
make_table('late', 100, '[delay 100]text ');
is(sql('SELECT count(*) FROM dsr1_stat_progress_job, dsr1_stat_requests, dsr1_stat_usage'), 0, 'not preloaded, the views can be read');
$job = sql("SELECT dsr1_annotate('late', 'answer', '{body}', '{\"batch\": 8}')");
ok(job_is($job, 'done > 0'), 'a job begins');
$node->restart;
$done = sql("SELECT done FROM dsr1_jobs WHERE id = $job");
is(sql("SELECT dsr1_complete('hello')"), 'hello', 'after a restart, somebody uses the engine');
ok(job_is($job, "state = 'done'"), 'and the job goes on');
is(sql("SELECT count(*) FROM late WHERE answer IS NOT NULL"), 100, 'to its end');
no_crash_recovery($node);
$node->stop;
done_testing();
