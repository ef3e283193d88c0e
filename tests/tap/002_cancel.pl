
# Who is told to end does so in the midst of an answer, and its work is freed
#
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings;

use Dsr1;
use Test::More;
use Time::HiRes qw(time);

my $node = new_cluster('cancel');
# It counts to the end of the context; a story may be over before it is cancelled.
my $forever = "SELECT dsr1_complete('1, 2, 3, 4,', -1, raw => true)";
wait_for_ready($node);

sub freed
{
	return wait_until(sub { running_requests($node) == 0 }, 10);
}

my $others = "FROM pg_stat_activity WHERE query ~ 'dsr1_complete' AND pid <> pg_backend_pid()";

# Before 17, what extensions wait for has no names.
my $wait_events_have_names = $node->safe_psql('postgres', 'SHOW server_version_num') >= 170000;

sub waits_for
{
	my ($name) = @_;
	$name = 'Extension' if !$wait_events_have_names;
	return wait_until(
		sub { $node->safe_psql('postgres', "SELECT count(*) $others AND wait_event = '$name'") > 0 });
}

my $asked = ask_later($node, $forever);
wait_until(sub { running_requests($node) == 1 });
is($node->safe_psql('postgres', "SELECT wait_event_type, state $others"), 'Extension|active', 'the wait can be seen');
ok(waits_for('Dsr1Decode'), 'and by name, where PostgreSQL has names');
my $progress = q{SELECT generated_tokens FROM dsr1_stat_requests WHERE kind = 'complete' AND state = 'decode' AND prompt_tokens > 4};
ok(wait_until(sub { ($node->safe_psql('postgres', $progress) || 0) > 0 }), 'and how far its answer is');
my $far = $node->safe_psql('postgres', $progress);
ok(wait_until(sub { $node->safe_psql('postgres', $progress) > $far }), 'and that it goes on');
$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) $others");
like(answer_of($asked), qr/57014.*canceling statement due to user request/s, 'pg_cancel_backend works in mid-generation');
ok(freed(), 'its work is freed');

$asked = ask_later($node, $forever);
wait_until(sub { running_requests($node) == 1 });
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) $others");
like(answer_of($asked), qr/57P01/, 'pg_terminate_backend does');
ok(freed(), 'its work is freed');

$asked = ask_later($node, $forever, 'statement_timeout=200');
like(answer_of($asked), qr/57014.*statement timeout/s, 'statement_timeout does');
ok(freed(), 'its work is freed');

# A client that is gone is noticed when the backend looks
$asked = ask_later($node, $forever, 'client_connection_check_interval=100');
wait_until(sub { running_requests($node) == 1 });
$asked->{run}->kill_kill;
ok(freed(), 'the work of a client that was killed is freed');

# Two sessions: neither waits for the other to finish
my $long = ask_later($node, $forever);
wait_until(sub { running_requests($node) == 1 });
my $began = time();
like($node->safe_psql('postgres', "SELECT dsr1_complete('The capital of France is', 4, raw => true)"),
	qr/Paris/, 'a short question is answered beside a long one');
is(running_requests($node), 1, 'which is running still');
$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) $others");
answer_of($long);

# A cancelled request leaves nothing behind in its session
my $session = $node->background_psql('postgres', on_error_stop => 0);
for my $round (1 .. 20)
{
	$session->query("SET statement_timeout = 20");
	$session->query($forever);
	$session->query("RESET statement_timeout");
}
is($session->query("SELECT dsr1_complete('The capital of France is', 1, raw => true)"),
	' Paris', 'after 20 timeouts a session gets its own answer');
$session->quit;
ok(freed(), 'and nothing else is running');

# One at a time, with a prompt that takes a while: the other waits for its turn
$node->append_conf('postgresql.conf', 'dsr1.max_batch = 1');
my $engine = engine_pid($node);
$node->reload;
ok(wait_until(sub { engine_pid($node) ne $engine }) && wait_for_ready($node), 'an engine that runs one request at a time');
my @asked = map { ask_later($node, "SELECT dsr1_complete(repeat('Tell a story $_. ', 500), 1, raw => true)") } 1 .. 2;
ok(waits_for('Dsr1Prefill'), 'the computing of a prompt can be told');
ok(waits_for('Dsr1Queue'), 'and waiting for a turn');
$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) $others");
answer_of($_) for @asked;
ok(freed(), 'the work of both is freed');

no_crash_recovery($node);
$node->stop;
done_testing();
