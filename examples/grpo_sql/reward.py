#!/usr/bin/env python3
"""reward.py - what a query is worth: it is run, and its result compared with that of the right query

Reads and writes JSON lines as dsr1 grpo --reward-cmd wants them (docs/training.md). The database can only be read, and a
query that computes too long is stopped.

    1     the same rows, in any order
    0.4   runs, returns as many columns
    0.3   runs
    0.1   begins with SELECT
    0     anything else

SPDX-License-Identifier: PostgreSQL
"""
import json
import sqlite3
import sys

STOCK = [("lamp", "red", 36), ("chair", "blue", 24), ("vase", "red", 51), ("jacket", "green", 42), ("clock", "black", 29),
         ("table", "yellow", 61), ("mirror", "white", 33), ("carpet", "blue", 47), ("bottle", "black", 55), ("box", "yellow", 22)]
STEPS = 100_000


def open_database():
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE stock (item TEXT, color TEXT, price INTEGER)")
    db.executemany("INSERT INTO stock VALUES (?, ?, ?)", STOCK)
    db.commit()
    db.execute("PRAGMA query_only = ON")
    return db


def run(db, query):
    left = [STEPS // 1000]

    def tick():
        left[0] -= 1
        return left[0] < 0

    db.set_progress_handler(tick, 1000)
    return sorted(map(repr, db.execute(query).fetchmany(1000)))


def reward(db, answer, query):
    answer = answer.strip()
    if not answer.lower().startswith("select"):
        return 0.0
    try:
        got = run(db, answer)
    except (sqlite3.Error, sqlite3.Warning):
        return 0.1
    wanted = run(db, query)
    if got == wanted:
        return 1.0
    return 0.4 if got and wanted and got[0].count(",") == wanted[0].count(",") else 0.3


if __name__ == "__main__":
    database = open_database()
    for line in sys.stdin:
        ask = json.loads(line)
        value = reward(database, ask["completion"], ask["meta"]["query"])
        print(json.dumps({"id": ask["id"], "reward": value}), flush=True)
