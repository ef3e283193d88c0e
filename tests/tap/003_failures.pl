
# What cannot work says so, soon and clearly
#
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings;

use Dsr1;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = new_cluster('failures', conf => "dsr1.model = '/nonexistent.gguf'");
my $question = "SELECT dsr1_complete('The capital of France is', 4, raw => true)";

# The error of a query, with its SQLSTATE
sub error_of
{
	my ($query, @settings) = @_;
	return answer_of(ask_later($node, $query, @settings));
}

sub set_conf
{
	my %settings = @_;

	$node->append_conf('postgresql.conf', "$_ = $settings{$_}") for sort keys %settings;
	$node->reload;
}

# For settings that need a new engine, while there is one
sub restart_with
{
	my $old = engine_pid($node);

	set_conf(@_);
	process_ended($old);
	wait_for_ready($node);
}

sub state_is
{
	my ($state) = @_;
	return $node->poll_query_until('postgres', "SELECT state = '$state' FROM dsr1_stat_engine");
}

ok(state_is('failed'), 'a model that does not exist: the engine fails');
my $began = time();
like(error_of($question), qr/57P03: inference engine does not start\nDETAIL:.*nonexistent.gguf.*\nHINT:/,
	'and a query says why');
cmp_ok(time() - $began, '<', 5, 'without waiting for dsr1.start_timeout');

$node->safe_psql('postgres',
	'CREATE ROLE nobody; GRANT EXECUTE ON FUNCTION dsr1_complete TO nobody');
my $quoted = $question;
unlike(error_of("SET ROLE nobody; $quoted"), qr/nonexistent/, 'but not to those who may not see file names');
is($node->safe_psql('postgres', 'SET ROLE nobody; SELECT last_error IS NULL FROM dsr1_stat_engine'),
	't', 'nor does dsr1_stat_engine');

# A file that is not a model, and one that is cut off
my $broken = $node->data_dir . '/broken.gguf';
append_to_file($broken, 'GGUF' . ("\xff" x 1000));
set_conf('dsr1.model', "'$broken'");
ok( wait_until(sub { error_of($question) =~ /XX001: inference engine does not start\nDETAIL:.*broken.gguf/ }),
	'a broken model is corrupted data');

# Back to a model that works: nothing else is needed
set_conf('dsr1.model', "''");
ok( wait_until(sub { error_of($question) =~ /Paris/ }), 'with a good model again, the same server answers');

set_conf('dsr1.engine_path', "'/nonexistent/dsr1-engine'");
ok( wait_until(sub { error_of($question) =~ /57P03.*could not execute "\/nonexistent\/dsr1-engine": No such file/s }),
	'a program that cannot be executed');
set_conf('dsr1.engine_path', "'/bin/true'");
ok(wait_until(sub { error_of($question) =~ /57P03.*exited with exit code 0/s }, 60), 'one that is another program');
set_conf('dsr1.engine_path', "'/bin/cat'");
ok(wait_until(sub { error_of($question) =~ /57P03.*exited with exit code 1/s }, 60), 'and one that does not understand');
set_conf('dsr1.engine_path', "''");
ok( wait_until(sub { error_of($question) =~ /Paris/ }), 'the engine is back');

# An engine that hangs is noticed, killed, and its requests asked again
set_conf('dsr1.heartbeat_timeout', "'3s'");
sleep 1;    # until the supervisor has read it
my $pid = engine_pid($node);
kill 'STOP', $pid;
like(error_of($question), qr/Paris/, 'a hung engine: the query is answered all the same');
like(slurp_file($node->logfile), qr/gave no sign of life for 3000 ms and is killed/, 'after it was killed');
ok(process_ended($pid), 'indeed');

# An engine that is slow to come
set_conf('dsr1.heartbeat_timeout', "'60s'");
wait_for_ready($node);
kill 'STOP', engine_pid($node);
like(error_of($question, 'dsr1.request_timeout=500'), qr/57014.*dsr1.request_timeout/s, 'dsr1.request_timeout ends the wait');
$node->safe_psql('postgres', q(COPY (SELECT 1) TO PROGRAM 'pkill -CONT dsr1-engine'));

# More than there is room for
restart_with('dsr1.max_queue' => 1, 'dsr1.max_batch' => 1);
my @busy;
foreach my $n (1, 2)
{
	push @busy, ask_later($node, long_question($n, 2000), 'client_connection_check_interval=100');
	ok( wait_until(sub { running_requests($node) == $n && batch_now($node) == 1 }),
		$n == 1 ? 'one request runs' : 'and one waits');
}
like(error_of($question), qr/53400.*\nHINT:.*dsr1.max_queue/s, 'a third one is refused');
$_->{run}->kill_kill for @busy;

# The supervisor is told to end by mistake
chomp(my $supervisor = `pgrep -P \$(head -1 @{[ $node->data_dir ]}/postmaster.pid) -f 'dsr1 supervisor'`);
$pid = engine_pid($node);
kill 'TERM', $supervisor;
ok(process_ended($pid), 'without a supervisor there is no engine');
ok( wait_until(sub { error_of($question) =~ /Paris/ }), 'the supervisor comes back, and with it the engine');

no_crash_recovery($node);
$node->stop;
done_testing();
