
# Training in the server, on a tiny model: what is told, who sees it, what goes wrong
#
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings;

use Dsr1;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('grpo', conf => "dsr1.model = '$ENV{DSR1_GOLDEN}/deepseek-f32.gguf'\ndsr1.threads = 1");

sub sql { return $node->safe_psql('postgres', $_[0]) }
sub refused { return ($node->psql('postgres', $_[0], on_error_stop => 1))[2] }

sub run_is
{
	my ($run, $condition, $seconds) = @_;
	return wait_until(sub { sql("SELECT $condition FROM dsr1_grpo_runs WHERE id = $run") eq 't' }, $seconds // 60);
}

sub finished
{
	my ($run) = @_;
	sql("SELECT dsr1_job_wait($run, '60 s')");
	return sql("SELECT state, errors > 0 FROM dsr1_grpo_runs WHERE id = $run");
}

sql(q{
	CREATE TABLE tasks (id int PRIMARY KEY, prompt text, wanted int);
	INSERT INTO tasks SELECT g, 'count to ' || g, g FROM generate_series(3, 8) g;
	CREATE FUNCTION short(prompt text, completion text, meta jsonb) RETURNS float8 LANGUAGE sql IMMUTABLE AS
		$$ SELECT 1 / (1 + abs(length(completion) - (meta->>'wanted')::int))::float8 $$;
});

my $prompts = q{'SELECT prompt, jsonb_build_object(''wanted'', wanted) AS meta FROM tasks ORDER BY id'};
my %small = (raw => 'true', batch => 2, group => 4, max_tokens => 8, refill => 0, overlong => '"keep"', lora => '"attn"', steps => 6);

sub options
{
	my %all = (%small, @_);
	return "'{" . join(', ', map { "\"$_\": $all{$_}" } sort keys %all) . "}'";
}

sub begin
{
	my ($adapter, $reward, @options) = @_;
	return sql("SELECT dsr1_grpo('$adapter', $prompts, '$reward(text,text,jsonb)', " . options(@options) . ')');
}

# A run from its beginning to its end
my $run = begin('counter', 'short', eval => q{"SELECT prompt, jsonb_build_object(''wanted'', wanted) AS meta FROM tasks"}, eval_every => 3);
is(sql("SELECT dsr1_job_wait($run, '60 s')"), 't', 'a run ends');
is(sql("SELECT state, step, steps, errors, adapter_digest IS NOT NULL, last_error IS NULL FROM dsr1_grpo_runs WHERE id = $run"),
	'done|6|6|0|t|t', 'with an adapter');
is(sql("SELECT string_agg(step::text, ',' ORDER BY step), count(reward), count(eval_reward) FROM dsr1_grpo_steps WHERE run = $run"),
	'0,1,2,3,4,5,6|6|3', 'each step has a row, and the looks aside are there');
is( sql("SELECT bool_and(reward BETWEEN 0 AND 1 AND reward_std >= 0 AND entropy > 0 AND length BETWEEN 1 AND 8 AND grad_norm >= 0
		AND rollout_tokens_per_s > 0 AND errors = 0) FROM dsr1_grpo_steps WHERE run = $run AND step > 0"), 't', 'with sound figures');
is( sql("SELECT count(*), bool_and(reward = short(prompt, completion, jsonb_build_object('wanted', replace(prompt, 'count to ', '')::int)))
		FROM dsr1_grpo_rollouts WHERE run = $run"), '24|t', 'four answers of each step are kept, with what the function says of them');
is(sql("SELECT kind, target, done, total, pending FROM dsr1_jobs WHERE id = $run"), 'grpo|counter|6|6|0', 'it is a job');
is( sql("SELECT a.digest = r.adapter_digest, a.owner = r.owner, a.comment FROM dsr1_adapters a JOIN dsr1_grpo_runs r ON r.adapter = a.name WHERE r.id = $run"),
	"t|t|trained by run $run", 'its adapter is in the catalogue');
is(sql("SELECT dsr1_complete('count to 5', max_tokens => 8, raw => true, adapter => 'counter') IS NOT NULL"), 't', 'and answers');
ok(wait_until(sub { !glob($node->data_dir . '/dsr1_grpo/*') }), 'nothing is left in the data directory');

# What is refused at once
like(refused("SELECT dsr1_grpo('a', 'SELECT 1', 'short(text,text,jsonb)')"), qr/row 1 of the prompts has no prompt/, 'no prompt');
like(refused("SELECT dsr1_grpo('a', 'SELECT NULL::text AS prompt', 'short(text,text,jsonb)')"), qr/prompt that is null/, 'a null prompt');
like(refused("SELECT dsr1_grpo('a', 'SELECT ''x'' AS prompt', 'short(text,text,jsonb)')"), qr/4 prompts a step, but the query returns 1/, 'too few');
like(refused("SELECT dsr1_grpo('a', $prompts, 'upper(text)')"), qr/cannot give rewards/, 'another function');
like(refused("SELECT dsr1_grpo('a', $prompts, 'short(text,text,jsonb)', '{\"stepps\": 1}')"), qr/unknown option "stepps"/, 'an unknown option');
like(refused("SELECT dsr1_grpo('a', $prompts, 'short(text,text,jsonb)', '{\"clip_low\": 2}')"), qr/between 0 and 1/, 'a bad number');
like(refused("SELECT dsr1_grpo('a', $prompts, 'short(text,text,jsonb)', '{\"lora\": \"attn,nose\"}')"), qr/a list, with commas/, 'a bad word');
like(refused("SELECT dsr1_job_verify($run)"), qr/has no rows/, 'what is for tables only');
is(sql('SELECT count(*) FROM dsr1_grpo_runs'), 1, 'and leaves nothing');

# Rewards that fail
sql(q{
	CREATE FUNCTION moody(prompt text, completion text, meta jsonb) RETURNS numeric LANGUAGE plpgsql AS $$
	BEGIN
		CASE length(completion) % 4
			WHEN 0 THEN RETURN 1 / 0;
			WHEN 1 THEN RETURN NULL;
			ELSE RETURN length(completion);
		END CASE;
	END $$;
	CREATE TABLE seen (by name, active name, read_only text, at timestamptz DEFAULT now());
	CREATE FUNCTION slow(prompt text, completion text, meta jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO seen VALUES (session_user, current_user, current_setting('transaction_read_only'));
		IF length(completion) % 2 = 0 THEN PERFORM pg_sleep(60); END IF;
		RETURN length(completion) % 3 = 0;
	END $$;
	CREATE FUNCTION never(prompt text, completion text, meta jsonb) RETURNS real LANGUAGE plpgsql AS
		$$ BEGIN RAISE 'not %', 'today'; END $$;
});
$run = begin('moody', 'moody', steps => 3);
is(finished($run), 'done|t', 'errors do not end a run');
is(sql("SELECT string_agg(DISTINCT sqlstate, ',' ORDER BY sqlstate) FROM dsr1_grpo_errors WHERE run = $run"), '22004,22012', 'they are kept');
is( sql("SELECT bool_and(prompt LIKE 'count to%' AND completion IS NOT NULL AND message <> '') FROM dsr1_grpo_errors WHERE run = $run"),
	't', 'with prompt, answer and message');
is( sql("SELECT count(*) FROM (SELECT step, errors FROM dsr1_grpo_steps WHERE run = $run EXCEPT
		SELECT step, count(*)::int FROM dsr1_grpo_errors WHERE run = $run GROUP BY 1) x WHERE errors > 0"), 0, 'and counted step by step');

$run = begin('slow', 'slow', steps => 1, group => 8, reward_timeout => 0.05);
is(finished($run), 'done|t', 'slow rewards are stopped');
is(sql("SELECT DISTINCT sqlstate FROM dsr1_grpo_errors WHERE run = $run"), '57014', 'as a statement is');
is( sql("SELECT count(*) + (SELECT count(*) FROM dsr1_grpo_errors WHERE run = $run), count(DISTINCT at) > 1 FROM seen"), '16|t',
	'each call is a transaction of its own, and those that succeed are committed');

$run = begin('never', 'never', steps => 2);
ok(run_is($run, "state = 'failed'"), 'a function that never works fails the run');
is(sql("SELECT category, last_error FROM dsr1_grpo_runs WHERE id = $run"), 'job_permanent|no answer could be rewarded: P0001', 'for good');
is(sql("SELECT count(*), min(message) FROM dsr1_grpo_errors WHERE run = $run AND step = 1"), '8|not today', 'and its errors are there');
sql('CREATE OR REPLACE FUNCTION never(prompt text, completion text, meta jsonb) RETURNS real LANGUAGE sql AS $$ SELECT length(completion)::real $$');
sql("SELECT dsr1_job_resume($run)");
ok(run_is($run, "state = 'done' AND errors = 0"), 'with another one it goes on');

# As its owner, and for the owner's eyes
sql(q{
	CREATE ROLE teacher LOGIN; CREATE ROLE other LOGIN; CREATE ROLE watcher LOGIN; GRANT pg_read_all_stats TO watcher;
	GRANT EXECUTE ON FUNCTION dsr1_grpo TO teacher; GRANT INSERT ON seen TO teacher; GRANT SELECT ON tasks TO teacher;
	ALTER TABLE tasks ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON tasks FOR SELECT TO teacher USING (id < 7);
	TRUNCATE seen;
});
like(refused("SET ROLE other; SELECT dsr1_grpo('a', $prompts, 'short(text,text,jsonb)')"), qr/permission denied for function dsr1_grpo/,
	'nobody may train by default');
sql('REVOKE EXECUTE ON FUNCTION moody FROM PUBLIC');
like(refused("SET ROLE teacher; SELECT dsr1_grpo('a', $prompts, 'moody(text,text,jsonb)')"), qr/permission denied for function public.moody/,
	'nor with a function that one may not call');
($run) = sql("SET ROLE teacher; SELECT dsr1_grpo('mine', $prompts, 'slow(text,text,jsonb)', " . options(steps => 1, reward_timeout => 0.05) . ')') =~ /(\d+)/;
like(finished($run), qr/done/, 'a role that may trains');
is(sql('SELECT DISTINCT by, active, read_only FROM seen'), 'teacher|teacher|off', 'its function runs as it');
is(sql("SELECT count(*) FROM dsr1_grpo_prompt WHERE job = $run"), 4, 'row-level security holds for the prompts');
sub counts
{
	my ($role) = @_;
	return $node->safe_psql('postgres', "SELECT (SELECT count(*) FROM dsr1_grpo_runs WHERE id = $run), (SELECT count(*) FROM dsr1_grpo_steps WHERE run = $run),
		(SELECT count(*) FROM dsr1_grpo_rollouts WHERE run = $run), (SELECT count(*) > 0 FROM dsr1_grpo_errors WHERE run = $run)",
		connstr => $node->connstr('postgres') . " user=$role");
}
is(counts('teacher'), '1|1|4|t', 'it sees all of its run');
is(counts('other'), '0|0|0|f', 'others see nothing');
is(counts('watcher'), '1|1|0|f', 'pg_read_all_stats sees figures, but no texts');
like(refused("SET ROLE other; SELECT dsr1_job_cancel($run)"), qr/must be owner/, 'only the owner steers it');
like(refused("SET ROLE teacher; SELECT * FROM dsr1_grpo_run"), qr/permission denied/, 'tables are for the extension alone');

# What it computes counts against the tokens of a day
my $used = q{SELECT prompt_tokens || '|' || generated_tokens FROM dsr1_stat_usage WHERE role = 'teacher' AND function = 'train'};
my $trained = sql($used);
is($trained, sql("SELECT sum(train_tokens) || '|' || sum(tokens) FROM dsr1_grpo_steps WHERE run = $run AND step > 0"), 'tokens are counted');
my ($read, $written) = split /\|/, $trained;
sql('ALTER ROLE teacher SET dsr1.max_tokens_per_day = ' . ($read + $written + 1));
($run) = sql("SET ROLE teacher; SELECT dsr1_grpo('mine', $prompts, 'short(text,text,jsonb)', " . options(steps => 5, save_every => 100) . ')') =~ /(\d+)/;
ok(run_is($run, "sqlstate = '53400'"), 'a run waits when they are used up');
is(sql("SELECT state, step, category, last_error FROM dsr1_grpo_runs WHERE id = $run"),
	'running|1|job_temporary|role "teacher" has used its tokens of today', 'and says so');
sql('ALTER ROLE teacher RESET dsr1.max_tokens_per_day');
sql("SELECT dsr1_job_resume($run)");
ok(run_is($run, "state = 'done' AND step = 5"), 'when there are more, it goes on');

# No transaction while it trains; pausing, resuming, cancelling
my %long = (steps => 400, group => 16, max_tokens => 30, save_every => 1000);
$run = begin('long', 'short', %long);
ok(run_is($run, 'step > 2'), 'a long run has begun');
my $pid = sql("SELECT pid FROM dsr1_stat_progress_job WHERE job = $run");
my $held = 0;
for (1 .. 50)
{
	$held += sql("SELECT count(*) FROM pg_stat_activity a WHERE pid = $pid AND (backend_xid IS NOT NULL OR backend_xmin IS NOT NULL)
		AND EXISTS (SELECT FROM dsr1_stat_progress_job WHERE pid = $pid AND phase = 'training')");
}
cmp_ok($held, '<', 5, "while it trains, the worker has no transaction ($held of 50 looks)");
my ($trainer) = wait_until(sub { `pgrep -P $pid` =~ /(\d+)/ ? $1 : undef }, 5);
like(slurp_file("/proc/$trainer/cmdline"), qr/dsr1-trainer\0grpo\0--parent-fd/, 'its child is the trainer');
sql("SELECT dsr1_job_pause($run)");
ok(wait_until(sub { sql("SELECT count(*) FROM dsr1_stat_progress_job WHERE job = $run") == 0 }, 10), 'pausing ends the worker');
ok(process_ended($trainer, 1), 'and the trainer');
my $step = sql("SELECT step FROM dsr1_grpo_runs WHERE id = $run");
ok(glob($node->data_dir . '/dsr1_grpo/*/adapter.gguf.checkpoint'), 'with a checkpoint');
sql("SELECT dsr1_job_resume($run)");
ok(run_is($run, "step > $step"), 'it goes on');
is(sql("SELECT min(at) < (SELECT min(at) FROM dsr1_grpo_steps WHERE run = $run AND step = $step) FROM dsr1_grpo_steps WHERE run = $run AND step = 1"),
	't', 'from there');
sql("SELECT dsr1_job_cancel($run)");
ok(wait_until(sub { sql('SELECT count(*) FROM dsr1_stat_progress_job') == 0 && !glob($node->data_dir . '/dsr1_grpo/*') }, 20), 'cancelling ends it and takes its files away');
is(sql("SELECT state FROM dsr1_grpo_runs WHERE id = $run"), 'cancelled', 'for good');
$run = begin('long', 'short', %long);
ok(run_is($run, 'step > 1'), 'another one');
sql("SELECT dsr1_job_pause($run)");
ok(wait_until(sub { sql("SELECT count(*) FROM dsr1_stat_progress_job") == 0 }), 'is paused');

# A dump has all of the runs; what was not over begins at its first step again
my $dump = $node->basedir . '/runs.sql';
my $all = q{SELECT md5(string_agg(x::text, '' ORDER BY x::text)) FROM (SELECT to_jsonb(r) - 'eta' AS x FROM dsr1_grpo_runs r
	UNION ALL SELECT to_jsonb(s) FROM dsr1_grpo_steps s UNION ALL SELECT to_jsonb(o) FROM dsr1_grpo_rollouts o
	UNION ALL SELECT to_jsonb(e) FROM dsr1_grpo_errors e UNION ALL SELECT to_jsonb(p) FROM dsr1_grpo_prompt p) x};
command_ok([ 'pg_dump', '-f', $dump, $node->connstr('postgres') ], 'a database with runs is dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $node->connstr('restored') ], 'and restored');
is($node->safe_psql('restored', $all), sql($all), 'with the same runs, steps, answers, errors and prompts');
sub restored { return $node->safe_psql('restored', $_[0]) }
restored("UPDATE dsr1_job SET options = options || '{\"steps\": 3}'; UPDATE dsr1_grpo_run SET steps = 3; SELECT dsr1_job_resume($run)");
ok(wait_until(sub { restored("SELECT state = 'done' FROM dsr1_grpo_runs WHERE id = $run") eq 't' }, 60), 'there it comes to its end');
is(restored("SELECT string_agg(step::text, ',' ORDER BY step) FROM dsr1_grpo_steps WHERE run = $run"), '1,2,3', 'with each step once');
is( restored("SELECT reward, grad_norm FROM dsr1_grpo_steps WHERE run = $run AND step = 1"),
	sql("SELECT reward, grad_norm FROM dsr1_grpo_steps WHERE run = $run AND step = 1"), 'the same as before');
is( restored("SELECT dsr1_grpo('next', $prompts, 'short(text,text,jsonb)', " . options(%long) . ") > $run"), 't', 'new runs have new numbers');
ok(wait_until(sub { restored('SELECT count(*) FROM dsr1_grpo_runs WHERE adapter = \'next\' AND step > 1') > 0 }, 60), 'a run of another database');
$node->safe_psql('postgres', 'DROP DATABASE restored');
is(scalar(my @left = glob($node->data_dir . '/dsr1_grpo/*')), 2, 'that is dropped in the middle leaves its files');
is(finished(begin('after', 'short', steps => 1)), 'done|f', 'when another begins,');
is(scalar(@left = glob($node->data_dir . '/dsr1_grpo/*')), 1, 'they go');
sql("SELECT dsr1_job_cancel($run)");
ok(wait_until(sub { !glob($node->data_dir . '/dsr1_grpo/*') }), 'and cancelled: its files go, too');

# A worker that is told to end lets its trainer write a checkpoint; a trainer that is too long in a reward is waited for
$run = begin('long', 'short', %long);
ok(run_is($run, 'step > 2'), 'a third one');
$step = sql("SELECT step FROM dsr1_grpo_runs WHERE id = $run");
$node->restart('fast');
ok(run_is($run, "step > $step + 1"), 'goes on after a restart of the server');
is(sql("SELECT count(*) = max(step) FROM dsr1_grpo_steps WHERE run = $run"), 't', 'no step is there twice, or missing');
sql("SELECT dsr1_job_cancel($run)");

# The examples, as they are but for the model
for my $name ('json', 'labels', 'sql')
{
	my $small = '{"raw": true, "steps": 2, "batch": 2, "group": 4, "refill": 0, "max_tokens": 8, "lora": "attn", "eval_every": 1}';
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-v', "more=$small", '-f', "$ENV{TESTDIR}/examples/grpo_$name/grpo.sql" ],
		'>', \$out, '2>', \$err);
	diag($err) if $err =~ /ERROR/;
	like($out, qr/^t\n0\|.*\n1\|.*\n2\|.*\ndone\|0\|[0-9a-f]{64}\|$/s, "examples/grpo_$name runs");
}
is( sql(q~SELECT string_agg(grpo_json.reward('', a, '{"item": "lamp", "price": 5}')::numeric(3, 2)::text, ' ')
	FROM unnest(ARRAY['{"item": "lamp", "price": 5}', '{"item": "Lamp", "price": "5 euros"}', '{"item": "sofa", "price": 9}', '{"item": "lamp"}',
		'{"item": "lamp", "price": 5, "x": 1}', 'Here: {"item": "lamp", "price": 5}', '{"item": ', '["lamp"]', '']) a~),
	'1.00 1.00 0.70 0.70 0.80 0.30 0.05 0.00 0.00', 'the reward for JSON looks at keys and values');
is( sql(q{SET ROLE grpo_pupil; SELECT string_agg(grpo_sql.reward('', a, '{"query": "SELECT item FROM stock WHERE price > 50"}')::text, ' ')
	FROM unnest(ARRAY['SELECT item FROM stock WHERE price >= 51;', 'select item from stock', 'SELECT item, price FROM stock', 'SELECT nothing FROM stock',
		'SELECT 1; DROP TABLE stock', 'DROP TABLE stock', 'SELECT * FROM pg_authid', 'SELECT count(*) FROM (SELECT 1) AS x -- why']) a}) =~ s/^SET\n//r,
	'1 0.4 0.3 0.1 0 0 0.1 0.4', 'the reward for SQL compares rows');
like(refused("SELECT grpo_sql.rows_of('SELECT pg_sleep(9)')" =~ s/^/SET statement_timeout = 50; /r), qr/statement timeout/, 'and can be stopped');
is(sql("SELECT grpo_sql.rows_of('SELECT nextval(''dsr1_job_id_seq'')') IS NULL, current_setting('transaction_read_only')"), 't|off',
	'what it runs can only read, and that is over afterwards');

# Another model
$run = begin('mixed', 'short', %long);
ok(run_is($run, 'step > 0'), 'a run with one model');
sql("SELECT dsr1_job_pause($run)");
ok(wait_until(sub { sql('SELECT count(*) FROM dsr1_stat_progress_job') == 0 }), 'is paused');
my $copy = $node->basedir . '/other.gguf';
system("cp $ENV{DSR1_GOLDEN}/deepseek-f32.gguf $copy && printf x >>$copy");
$node->append_conf('postgresql.conf', "dsr1.model = '$copy'");
$node->reload;
sql("SELECT dsr1_job_resume($run)");
ok(run_is($run, "state = 'paused' AND sqlstate = '55000'"), 'with another one it does not go on');
sql("SELECT dsr1_job_cancel($run)");
$node->append_conf('postgresql.conf', "dsr1.model = '/nowhere.gguf'");
$node->reload;
$run = begin('nowhere', 'short');
ok(run_is($run, "last_error LIKE '%could not read the model%'"), 'without any it says so');
sql("SELECT dsr1_job_cancel($run)");

no_crash_recovery($node);
$node->stop;
done_testing();
