#!/usr/bin/env python3
"""make_prompts.py FOLDER - prompts that ask for JSON with certain keys: train.jsonl to learn from, eval.jsonl to look at

Each tells something of a thing and names the keys that are wanted of it. The prompts set aside have things and combinations
of keys that the others never have.

SPDX-License-Identifier: PostgreSQL
"""
import itertools
import json
import pathlib
import random
import sys

FACTS = {
    "color": lambda r: "is " + r.choice(["red", "blue", "green", "yellow", "black"]),
    "price": lambda r: f"costs {r.randint(5, 90)} euros",
    "material": lambda r: "is made of " + r.choice(["wood", "glass", "steel", "wool", "leather"]),
    "weight": lambda r: f"weighs {r.randint(2, 9)} kg",
    "city": lambda r: "comes from " + r.choice(["Lisbon", "Oslo", "Lima", "Osaka", "Dublin", "Cairo"]),
}
ITEMS = {"train": ["lamp", "chair", "vase", "jacket", "table", "clock", "mirror", "carpet", "bottle", "basket"],
         "eval": ["box", "shelf", "plate", "coat"]}


def prompts(part, n, seed):
    r = random.Random(seed)
    combinations = [c for size in (1, 2) for c in itertools.combinations(FACTS, size)]
    random.Random(1).shuffle(combinations)
    wanted = combinations[:4] if part == "eval" else combinations[4:]
    for i in range(n):
        keys = wanted[i % len(wanted)]
        item = r.choice(ITEMS[part])
        said = " and ".join(FACTS[k](r) for k in keys)
        keys = ["item", *keys]
        text = f"The {item} {said}. Give me a JSON object with the keys {', '.join(keys)}."
        yield {"system": "Answer in JSON.", "prompt": text, "meta": {"keys": keys}}


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    for part, n, seed in (("train", 176, 3), ("eval", 48, 4)):
        with open(folder / f"{part}.jsonl", "w", encoding="utf-8") as file:
            for line in prompts(part, n, seed):
                file.write(json.dumps(line) + "\n")
