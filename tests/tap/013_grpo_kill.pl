
# Whatever is killed in the middle of training, the curve and the adapter are those of a run that nobody disturbed
#
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings;

use Dsr1;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = new_cluster('grpo_kill',
	conf => "dsr1.model = '$ENV{DSR1_GOLDEN}/deepseek-f32.gguf'\ndsr1.threads = 1\nrestart_after_crash = on");

sub run_is
{
	my ($run, $condition) = @_;
	return wait_until(sub { (try_sql($node, "SELECT $condition FROM dsr1_grpo_runs WHERE id = $run") // '') eq 't' }, 90);
}

sub trainer { my ($worker) = @_; return `pgrep -P $worker` =~ /(\d+)/ ? $1 : undef }

$node->safe_psql('postgres', q{
	CREATE TABLE tasks (id int, prompt text, wanted int);
	INSERT INTO tasks SELECT g, 'count to ' || g, g FROM generate_series(3, 9) g;
	CREATE TABLE calls (at timestamptz DEFAULT now());
	CREATE FUNCTION counted(prompt text, completion text, meta jsonb) RETURNS float8 LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO calls DEFAULT VALUES;
		IF length(completion) % 7 = 0 THEN RETURN NULL; END IF;
		RETURN 1 / (1 + abs(length(completion) - (meta->>'wanted')::int))::float8;
	END $$;
});

sub begin
{
	my ($adapter) = @_;
	return $node->safe_psql('postgres', qq{
		SELECT dsr1_grpo('$adapter', 'SELECT prompt, jsonb_build_object(''wanted'', wanted) AS meta FROM tasks ORDER BY id',
			'counted(text,text,jsonb)', '{"raw": true, "steps": 160, "batch": 2, "group": 8, "max_tokens": 24, "overlong": "keep",
				"lora": "all", "router": true, "updates": 2, "beta": 0.02, "save_every": 4, "eval_every": 10,
				"eval": "SELECT prompt, jsonb_build_object(''wanted'', wanted) AS meta FROM tasks"}')});
}

# All that does not depend on the clock
sub curve
{
	my ($run) = @_;
	return $node->safe_psql('postgres', "SELECT step, reward, reward_std, eval_reward, loss, kl, entropy, length, ended, grad_norm, lr, mismatch,
		groups, useful, rounds, errors, tokens, train_tokens FROM dsr1_grpo_steps WHERE run = $run ORDER BY step");
}

sub rollouts
{
	my ($run) = @_;
	return $node->safe_psql('postgres', "SELECT md5(string_agg(format('%s %s %s %s %s %s %s', step, n, prompt, completion, reward, advantage, finish), '' ORDER BY step, n))
		FROM dsr1_grpo_rollouts WHERE run = $run");
}

sub errors
{
	my ($run) = @_;
	return $node->safe_psql('postgres', "SELECT count(*), md5(string_agg(format('%s %s %s %s', step, n, completion, message), '' ORDER BY step, n))
		FROM dsr1_grpo_errors WHERE run = $run");
}

my $whole = begin('whole');
ok(run_is($whole, "state = 'done'"), 'a run that nobody disturbs');

my $run = begin('killed');
my $at = 5;
for my $what ('trainer', 'worker', 'postmaster', 'engine', 'trainer', 'server, by a stop')
{
	ok(run_is($run, "step >= $at"), "it is at step $at") or last;
	my $worker = wait_until(sub { try_sql($node, "SELECT pid FROM dsr1_stat_progress_job WHERE job = $run AND phase <> 'starting'") }, 20);
	my $trainer = wait_until(sub { trainer($worker) }, 20);
	isnt(try_sql($node, "SELECT state FROM dsr1_grpo_runs WHERE id = $run"), 'done', "and not done when the end comes of the $what");
	if ($what eq 'trainer') { kill 'KILL', $trainer }
	elsif ($what eq 'worker') { kill 'KILL', $worker }
	elsif ($what eq 'engine') { kill 'KILL', engine_pid($node) }
	elsif ($what eq 'server, by a stop') { $node->restart('immediate') }
	else { kill_postmaster($node) }
	ok(process_ended($trainer, 20), "the trainer of before ends") if $what ne 'engine';
	$at += 8;
}
ok(run_is($run, "state = 'done'"), 'it comes to its end by itself')
  or diag(try_sql($node, "SELECT state, step, last_error FROM dsr1_grpo_runs WHERE id = $run"));
is(curve($run), curve($whole), 'the curve is that of the undisturbed run');
is(rollouts($run), rollouts($whole), 'so are the answers');
is(errors($run), errors($whole), 'and the errors');
is($node->safe_psql('postgres', "SELECT count(DISTINCT adapter_digest) FROM dsr1_grpo_runs WHERE id IN ($run, $whole)"), 1,
	'and the adapter, in every bit');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM calls'), '>', 0, 'rewards were asked for');
ok(wait_until(sub { !glob($node->data_dir . '/dsr1_grpo/*') }), 'nothing is left in the data directory');
$node->stop;
done_testing();
