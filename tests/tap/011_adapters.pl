# Adapters in the database: the same answers as on the command line, on a standby, from a dump, whatever happens to files
#
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings;

use Dsr1;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $folder = $ENV{DSR1_ADAPTERS};
my $tiny = "$ENV{DSR1_GOLDEN}/deepseek-f32.gguf";

my $node = new_cluster('primary', init => { allows_streaming => 1 });

sub put
{
	my ($name, $file) = @_;
	return $node->safe_psql('postgres', "SELECT dsr1_adapter_put('$name', pg_read_binary_file('$folder/$file.gguf'))");
}

sub files { return sort map { s{.*/}{}r } glob($_[0]->data_dir . '/pg_stat_tmp/dsr1_adapters/*'); }

sub restart_engine
{
	my ($server) = @_;
	my $pid = engine_pid($server);
	kill 'KILL', $pid;
	process_ended($pid);
	wait_for_ready($server);
}

# the shipped model
put('sea', 'shipped1');
my $program = "$ENV{DSR1_PROGRAM} run -m " . $node->config_data('--sharedir') . '/dsr1/default.gguf';
foreach my $prompt ('The sea is', 'Once upon a time')
{
	my $ours = $node->safe_psql('postgres', "SELECT dsr1_complete('$prompt', 12, raw => true, adapter => 'sea')");
	my $theirs = `$program --raw -p '$prompt' -n 12 --adapter $folder/shipped1.gguf 2>/dev/null`;
	chomp $theirs;
	is($ours, $theirs, "as dsr1 run --adapter answers: $prompt");
	isnt($ours, $node->safe_psql('postgres', "SELECT dsr1_complete('$prompt', 12, raw => true)"), 'and not as without');
}

# a small one, for the rest; the adapter of the other no longer fits
$node->append_conf('postgresql.conf', "dsr1.model = '$tiny'");
$node->restart;
wait_for_ready($node);
my ($rc, $out, $err) = $node->psql('postgres', q{\set VERBOSITY verbose
	SELECT dsr1_logprob('x', 'y') FROM set_config('dsr1.adapter', 'sea', false)});
like($err, qr/55000: the model that is served cannot use this adapter/, 'an adapter of another model is refused');
unlike($err, qr/pg_stat_tmp/, 'without a path of the server');
$node->safe_psql('postgres', q{SELECT dsr1_adapter_drop('sea')});

my $digest1 = put('first', 'tiny1');
my $digest2 = put('second', 'tiny2');
is_deeply([ files($node) ], [ sort "$digest1.gguf", "$digest2.gguf" ], 'files are named by what they hold');
$node->safe_psql(
	'postgres', q{
	CREATE TABLE notes AS SELECT i AS id, 'Note ' || i AS body, (ARRAY['', 'first', 'second'])[1 + i % 3] AS adapter
	  FROM generate_series(1, 300) AS i});
my $by_name = q{SELECT id, dsr1_logprob(body, ' and more') FROM notes ORDER BY id};
my $first = $node->safe_psql('postgres', "SET dsr1.adapter = 'first'; $by_name");
my $second = $node->safe_psql('postgres', "SET dsr1.adapter = 'second'; $by_name");
my $plain = $node->safe_psql('postgres', $by_name);
isnt($first, $second, 'two adapters differ');
isnt($first, $plain, 'and each from none');

# files that go while a statement runs come back, and change nothing
my $slow = ask_later($node, $by_name, 'dsr1.adapter=first', 'dsr1.prefetch_rows=1');
my $unlinked = 0;
for (1 .. 100)
{
	last unless $slow->{run}->pumpable;
	$unlinked += unlink glob($node->data_dir . '/pg_stat_tmp/dsr1_adapters/*.gguf');
	$slow->{run}->pump_nb;
	Time::HiRes::usleep(20_000);
}
is(answer_of($slow), $first, 'files that are removed meanwhile come back');
cmp_ok($unlinked, '>', 0, "they were ($unlinked times)");

# put under the same name meanwhile: the statement goes on with what it began with
$slow = ask_later($node, $by_name, 'dsr1.adapter=first', 'dsr1.prefetch_rows=1');
wait_until(sub { running_requests($node) > 0 });
put('first', 'tiny2');
is(answer_of($slow), $first, 'a statement keeps the adapter that it began with');
is($node->safe_psql('postgres', "SET dsr1.adapter = 'first'; $by_name"), $second, 'the next has the new one');
put('first', 'tiny1');

# who is seen with which
my $long = "SELECT count(dsr1_logprob('Note ' || i, ' and more')) FROM generate_series(1, 1000000) AS i";
$slow = ask_later($node, $long, 'dsr1.adapter=second');
is( wait_until(sub { $node->safe_psql('postgres', q{SELECT adapter FROM dsr1_stat_requests WHERE kind = 'score' LIMIT 1}) }),
	'second', 'dsr1_stat_requests has the adapter');
restart_engine($node);
wait_until(sub { $node->safe_psql('postgres', 'SELECT 1 FROM dsr1_stat_requests WHERE dsr1_cancel(id) LIMIT 1') });
like(answer_of($slow), qr/dsr1_cancel/, 'it goes on with the next engine until it is cancelled');
is($node->safe_psql('postgres', "SET dsr1.adapter = 'second'; $by_name"), $second, 'an engine that was killed is no matter');

# a job asks with what was there when it was made
$node->safe_psql('postgres', q{ALTER TABLE notes ADD PRIMARY KEY (id), ADD label text, ADD free text});
my $job = $node->safe_psql('postgres', q{SELECT dsr1_annotate('notes', 'label', '{body}',
	'{"raw": true, "labels": ["a", "b", "c"], "adapter": "first"}')});
$node->safe_psql('postgres', "SELECT dsr1_job_wait($job)");
is($node->safe_psql('postgres', "SELECT state, done, adapter_digest FROM dsr1_jobs WHERE id = $job"),
	"done|300|$digest1", 'a job with an adapter');
is($node->safe_psql('postgres', "SELECT count(*) FROM dsr1_job_verify($job, 50) WHERE equal"), '50', 'which can be verified');
put('first', 'tiny2');
($rc, $out, $err) = $node->psql('postgres', "SELECT * FROM dsr1_job_verify($job, 50)");
like($err, qr/adapter asked for is not in this database any more/, 'as long as its adapter is there');
put('first', 'tiny1');

# a standby has the rows, and makes its own files of them
$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
is_deeply([ files($standby) ], [], 'a base backup leaves the files out');
$standby->start;
put('third', 'tiny2');
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
foreach my $query ("SET dsr1.adapter = 'first'; $by_name", "SET dsr1.adapter = 'third'; $by_name")
{
	ok($standby->safe_psql('postgres', $query) eq $node->safe_psql('postgres', $query), "the standby answers the same: $query");
}
is($standby->safe_psql('postgres', q{SELECT name, loaded FROM dsr1_adapters ORDER BY name}),
	"first|t\nsecond|t\nthird|t", 'and shows them');
no_crash_recovery($standby);
$standby->stop;

# dumps and copies
$node->safe_psql('postgres', q{SELECT dsr1_prompt_put('hello', text) FROM (VALUES ('first'), ('Hello {1}')) AS v(text);
	CREATE ROLE writer; GRANT INSERT ON dsr1_prompts TO writer});
$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', $node->basedir . '/dump.sql' ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', $node->basedir . '/dump.sql' ],
	'restored');
is($node->safe_psql('restored', "SET dsr1.adapter = 'first'; $by_name"), $first, 'a dump carries adapters');
is($node->safe_psql('restored', q{SELECT dsr1_prompt('hello', 'you'), dsr1_prompt_version('hello', 1)}), 'Hello you|first',
	'and prompts');
is($node->safe_psql('restored', q{SELECT has_table_privilege('writer', 'dsr1_prompts', 'INSERT')}), 't', 'with their grants');
$node->safe_psql('postgres', 'CREATE DATABASE copied TEMPLATE restored');
is($node->safe_psql('copied', "SET dsr1.adapter = 'second'; $by_name"), $second, 'so does a template');

# the same name in another database is another adapter; dropping one's own does not harm the others
$node->safe_psql('copied', "SELECT dsr1_adapter_put('first', pg_read_binary_file('$folder/tiny2.gguf'))");
is($node->safe_psql('copied', "SET dsr1.adapter = 'first'; $by_name"), $second, 'a name of its own');
$node->safe_psql('copied', q{SELECT dsr1_adapter_drop(name) FROM dsr1_adapters});
is($node->safe_psql('restored', "SET dsr1.adapter = 'second'; $by_name"), $second, 'adapters of other databases stay');
$slow = ask_later($node, $long, 'dsr1.adapter=first');
$node->poll_query_until('postgres', 'SELECT count(*) > 0 FROM dsr1_stat_requests');
$node->safe_psql('postgres', "DROP DATABASE $_") foreach 'copied', 'restored';
$slow->{run}->kill_kill;
# its backend goes on by itself, and would use the adapter once more
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity
	WHERE query ~ 'and more' AND pid <> pg_backend_pid()});

# what nobody has used for a day is forgotten when the supervisor starts
$node->safe_psql('postgres', "SET dsr1.adapter = '$_'; SELECT dsr1_logprob('x', 'y')") foreach 'first', 'second';
my $old = $node->data_dir . "/pg_stat_tmp/dsr1_adapters/$digest1.gguf";
my $mtime = (stat $old)[9];
utime time() - 90000, $mtime, $old;
$node->restart;
wait_for_ready($node);
is_deeply([ files($node) ], ["$digest2.gguf"], 'old files are removed, others kept');
is($node->safe_psql('postgres', "SET dsr1.adapter = 'first'; $by_name"), $first, 'and made anew when they are wanted');

# a table that was tampered with
$node->safe_psql('postgres', q{UPDATE dsr1_adapter SET data = data || '\x00' WHERE name = 'second'});
($rc, $out, $err) = $node->psql('postgres', "SET dsr1.adapter = 'second'; SELECT dsr1_logprob('x', 'y')");
like($err, qr/adapter is damaged/, 'bytes that are not those of the digest are refused');
is_deeply([ grep { /tmp/ } files($node) ], [], 'and leave nothing behind');

$node->safe_psql('postgres', 'DROP EXTENSION dsr1 CASCADE');
no_crash_recovery($node);
$node->stop;
done_testing();
