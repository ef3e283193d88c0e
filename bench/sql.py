#!/usr/bin/env python3
# sql.py - SQL over many rows beside single calls and beside the engine alone, as JSON
#
#     bench/sql.py rows [--rows 2000] [--rounds 3] [--threads N] [--single 200] [--load build/bin/load]
#     bench/sql.py labels                     how often dsr1_classify is right, calibrated and not (bench/eval)
#
# A private server below /tmp, installed by `make install PG_CONFIG=...` before. `rows` classifies short texts that no
# run saw before, in turns: one SELECT that asks ahead, the same with dsr1.enable_batch off, and bench/load with the
# same questions through the engine's own socket. Where others share the machine, compare engine_cpu_ms: processor
# time of the engine for a row, best with --threads 1, for threads that wait for each other spin.
#
# SPDX-License-Identifier: PostgreSQL
import argparse
import json
import math
import os
import pathlib
import random
import shutil
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
PG_BIN = subprocess.run([os.environ.get("PG_CONFIG", "pg_config"), "--bindir"], capture_output=True, text=True,
                        check=True).stdout.strip()
USER = os.environ.get("DSR1_TEST_USER", "postgres") if os.getuid() == 0 else None
THINGS = ["lamp", "phone", "order", "update", "driver", "chair", "ticket", "invoice", "printer", "kettle", "jacket"]
EVENTS = ["arrived late", "is wonderful", "does not start", "was charged twice", "works fine", "needs a new cable",
          "broke on the first day", "cannot be opened", "is cheaper elsewhere", "made my week"]
LABELS = ["bug", "praise", "question"]
SYSTEM = "Classify the text. Answer with one of these labels: " + ", ".join(f'"{label}"' for label in LABELS) + "."


class Server:
    """A private PostgreSQL with the extension, gone with its folder at the end."""

    def __init__(self, threads):
        self.folder = tempfile.mkdtemp(prefix="dsr1-sql-")
        os.chmod(self.folder, 0o755)
        if USER:
            shutil.chown(self.folder, USER)
        self.data = self.folder + "/data"
        self.run(PG_BIN + "/initdb", "-D", self.data, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        settings = ["listen_addresses = ''", f"unix_socket_directories = '{self.folder}'", "fsync = off",
                    "shared_preload_libraries = 'dsr1'", f"dsr1.threads = {threads}"]
        settings = "\n".join(settings) + "\n"
        self.run("sh", "-c", 'cat >> "$0"', self.data + "/postgresql.conf", input=settings)
        self.run(PG_BIN + "/pg_ctl", "-D", self.data, "-l", self.folder + "/log", "-w", "start",
                 stdout=subprocess.DEVNULL)
        self.sql("CREATE EXTENSION dsr1; CREATE TABLE notes (id int, body text)")
        self.sql("SELECT dsr1_classify('ready?', '{yes,no}')")

    def run(self, *command, **options):
        as_user = ["runuser", "-u", USER, "--"] if USER else []
        options.setdefault("stdout", subprocess.PIPE)
        return subprocess.run([*as_user, *command], cwd=self.folder, text=True, check=True, **options).stdout

    def sql(self, text):
        return self.run(PG_BIN + "/psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", self.folder, "-d", "postgres",
                        input=text)

    def engine(self):
        return int(self.sql("SELECT pid FROM dsr1_stat_engine"))

    def close(self):
        self.run(PG_BIN + "/pg_ctl", "-D", self.data, "-m", "fast", "-w", "stop", stdout=subprocess.DEVNULL)
        shutil.rmtree(self.folder)


def quote(text):
    return "'" + text.replace("'", "''") + "'"


def array(texts):
    return "ARRAY[" + ",".join(map(quote, texts)) + "]::text[]"


# ---- rows ----

def cpu_ms(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def texts(n, seed):
    draw = random.Random(seed)
    return [f"The {draw.choice(THINGS)} {draw.choice(EVENTS)}, number {draw.randrange(10 ** 5)}." for _ in range(n)]


def measure(server, what, n):
    pid = server.engine()
    cpu, start = cpu_ms(pid), time.monotonic()
    what()
    wall, cpu = (time.monotonic() - start) * 1000, cpu_ms(pid) - cpu
    return {"rows": n, "rows_s": round(n / wall * 1000, 1), "wall_ms": round(wall / n, 2),
            "engine_cpu_ms": round(cpu / n, 2)}


def classify(server, lines, batch):
    values = ",".join(f"({i},{quote(line)})" for i, line in enumerate(lines))
    server.sql("TRUNCATE notes; INSERT INTO notes VALUES " + values + "; ANALYZE notes")
    query = f"SET dsr1.enable_batch = {batch}; SELECT id, dsr1_classify(body, {array(LABELS)}) FROM notes"
    return measure(server, lambda: server.sql(query), len(lines))


def direct(server, lines, load):
    path = server.folder + "/texts"
    pathlib.Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")
    os.chmod(path, 0o644)
    program = shutil.copy(load, server.folder)
    labels = [word for label in LABELS for word in ("--label", label)]
    command = [program, "--socket", server.data + "/pg_stat_tmp/dsr1.sock", "--texts", path, "--system", SYSTEM, *labels,
               "--requests", str(len(lines)), "--concurrency", "64", "--connections", "1"]
    return measure(server, lambda: server.run(*command), len(lines))


def best(rounds, name, key):
    return min(one[name][key] for one in rounds)


def rows(server, o):
    rounds = []
    for i in range(o.rounds):
        one = {"batched": classify(server, texts(o.rows, 3 * i), "on"),
               "single": classify(server, texts(o.single, 3 * i + 1), "off")}
        if o.load:
            one["direct"] = direct(server, texts(o.rows, 3 * i + 2), o.load)
        rounds.append(one)
    result = {"threads": o.threads, "rounds": rounds}
    for key in ("wall_ms", "engine_cpu_ms"):
        batched = best(rounds, "batched", key)
        result[key] = {"single_over_batched": round(best(rounds, "single", key) / batched, 2)}
        if o.load:
            result[key]["direct_over_batched"] = round(best(rounds, "direct", key) / batched, 3)
    return result


# ---- labels ----

# The same texts under other names: what only helps one choice of words is no help.
NAMES = {"labels": {"positive": "happy customer", "negative": "unhappy customer"},
         "intents": {"bug": "bug report", "praise": "compliment", "question": "question"},
         "topics": {"sports": "sport", "politics": "politics", "business": "economy", "science": "research"}}

def judge(server, pairs, calibrate):
    labels = sorted({label for label, _ in pairs})
    query = (f"SET dsr1.calibrate = {calibrate}; SELECT array_to_json(dsr1_scores(t, {array(labels)})) "
             f"FROM unnest({array(text for _, text in pairs)}) WITH ORDINALITY AS u (t, n) ORDER BY n")
    scores = [json.loads(line) for line in server.sql(query).splitlines()]
    right = sum(labels[s.index(max(s))] == label for s, (label, _) in zip(scores, pairs))
    loss = -sum(math.log(max(s[labels.index(label)], 1e-12)) for s, (label, _) in zip(scores, pairs)) / len(pairs)
    chosen = {label: sum(s.index(max(s)) == i for s in scores) for i, label in enumerate(labels)}
    return {"right": right, "of": len(pairs), "log_loss": round(loss, 3), "chosen": chosen}


def labels(server):
    result = {}
    for name, others in NAMES.items():
        lines = (HERE / "eval" / (name + ".tsv")).read_text(encoding="utf-8").splitlines()
        pairs = [line.split("\t") for line in lines if line.strip()]
        for key, same in ((name, pairs), (name + ", renamed", [(others[label], text) for label, text in pairs])):
            result[key] = {"plain": judge(server, same, "off"), "calibrated": judge(server, same, "on")}
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["rows", "labels"])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--single", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--load")
    o = parser.parse_args()
    server = Server(o.threads)
    try:
        print(json.dumps(rows(server, o) if o.what == "rows" else labels(server), indent=2))
    finally:
        server.close()


main()
