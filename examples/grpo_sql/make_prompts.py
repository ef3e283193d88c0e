#!/usr/bin/env python3
"""make_prompts.py FOLDER - questions about a small table, with a query that answers each

train.jsonl and eval.jsonl; the reward (reward.py) compares what a query returns with what the right one does.

SPDX-License-Identifier: PostgreSQL
"""
import json
import pathlib
import random
import sys

SYSTEM = "Table stock(item, color, price). Answer with one SQL query."
COLORS = {"train": ["red", "blue", "green", "white"], "eval": ["black", "yellow"]}
PRICES = {"train": [25, 30, 35, 45], "eval": [40, 50]}


def questions(part):
    yield "How many items are there?", "SELECT count(*) FROM stock"
    yield "What is the average price?", "SELECT avg(price) FROM stock"
    yield "Which item is the most expensive?", "SELECT item FROM stock ORDER BY price DESC LIMIT 1"
    for color in COLORS[part]:
        yield f"Which items are {color}?", f"SELECT item FROM stock WHERE color = '{color}'"
        yield f"How many items are {color}?", f"SELECT count(*) FROM stock WHERE color = '{color}'"
    for price in PRICES[part]:
        yield f"Which items cost more than {price}?", f"SELECT item FROM stock WHERE price > {price}"
        yield f"How many items cost less than {price}?", f"SELECT count(*) FROM stock WHERE price < {price}"


if __name__ == "__main__":
    for part in ("train", "eval"):
        lines = [json.dumps({"system": SYSTEM, "prompt": q, "meta": {"query": a}}) for q, a in questions(part)]
        random.Random(1).shuffle(lines)
        (pathlib.Path(sys.argv[1]) / f"{part}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
