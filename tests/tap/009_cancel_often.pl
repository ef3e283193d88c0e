
# Sessions are cancelled at random moments, with the real engine: each time its work is freed
#
# DSR1_CANCELS says how often; make check-crash cancels 500 times. How long a
# backend took to answer is told, and asserted nowhere.
#
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings;

use Dsr1;
use PostgreSQL::Test::Utils;
use Test::More;

my $cancels = $ENV{DSR1_CANCELS} // 40;
my $node = new_cluster('cancel_often');
plan skip_all => 'dblink is not here' if ($node->psql('postgres', 'CREATE EXTENSION dblink'))[0] != 0;
wait_for_ready($node);

# A second session is asked, left alone for up to 300 ms, and cancelled.
$node->safe_psql('postgres', sprintf <<'SQL', $node->host, $node->port);
CREATE TABLE took (ms float8, message text);
CREATE PROCEDURE cancel_once(seed int) LANGUAGE plpgsql AS $$
DECLARE
	began timestamptz;
	message text;
BEGIN
	PERFORM dblink_send_query('other', format('SELECT max(dsr1_complete(%%L, -1, temperature => 1, seed => g)) FROM generate_series(1, 1000) g',
		'Tell a story. ' || repeat('word ', seed %% 7 * 100)));
	PERFORM pg_sleep(random() * 0.3);
	began := clock_timestamp();
	-- A session that has not begun with the query yet passes over a cancel.
	LOOP
		PERFORM dblink_cancel_query('other');
		EXIT WHEN dblink_is_busy('other') = 0;
		PERFORM pg_sleep(0.001);
	END LOOP;
	BEGIN
		PERFORM * FROM dblink_get_result('other') AS t (a text);
	EXCEPTION WHEN query_canceled THEN
		message := SQLERRM;
	END;
	INSERT INTO took VALUES (extract(epoch FROM clock_timestamp() - began) * 1000, message);
	PERFORM * FROM dblink_get_result('other') AS t (a text);
END $$;
CREATE PROCEDURE cancel_often(times int) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM dblink_connect('other', 'host=%s port=%s dbname=postgres');
	FOR i IN 1 .. times LOOP
		CALL cancel_once(i);
		COMMIT;
	END LOOP;
END $$;
SQL
$node->safe_psql('postgres', "CALL cancel_often($cancels)");
my $ms = $node->safe_psql('postgres', "SELECT (percentile_disc('{0.5,0.99,1}'::float8[]) WITHIN GROUP (ORDER BY ms))::numeric(8,1)[] FROM took");
is($node->safe_psql('postgres', "SELECT count(*) FROM took WHERE message LIKE 'canceling statement due to user request%'"),
	$cancels, "$cancels statements were cancelled; ms to the answer (median, 99 %, most): $ms");
ok(wait_until(sub { running_requests($node) == 0 }), 'the engine has nothing left to do');
is($node->safe_psql('postgres', 'SELECT count(*) FROM dsr1_stat_requests'), 0, 'and no request is listed');
is($node->safe_psql('postgres', "SELECT dsr1_complete('The capital of France is', 1, raw => true)"), ' Paris', 'and it answers');
no_crash_recovery($node);
$node->stop;
done_testing();
