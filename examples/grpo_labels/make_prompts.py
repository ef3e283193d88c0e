#!/usr/bin/env python3
"""make_prompts.py FOLDER - messages to a shop, to be answered with one of three words

train.jsonl and eval.jsonl; the messages set aside name things that the others never name.

SPDX-License-Identifier: PostgreSQL
"""
import json
import pathlib
import random
import sys

LABELS = ["complaint", "praise", "question"]
TEXTS = {
    "complaint": ["My {} arrived broken.", "The {} stopped working after a day.", "I am still waiting for my {}.",
                  "The {} is not what I ordered.", "This {} is a waste of money."],
    "praise": ["I love my new {}!", "The {} is even better than I hoped.", "Thank you, the {} works perfectly.",
               "Best {} I ever had.", "My children adore the {}."],
    "question": ["Do you have the {} in blue?", "How much is the {}?", "When will the {} be in stock again?",
                 "Can I return the {} within a month?", "Does the {} come with batteries?"],
}
THINGS = {"train": ["lamp", "kettle", "tent", "radio", "bicycle", "jacket", "camera", "sofa", "blender", "watch"],
          "eval": ["guitar", "toaster", "backpack", "drone"]}


def prompts(part):
    for label in LABELS:
        for text in TEXTS[label]:
            for thing in THINGS[part]:
                yield {"system": f"Answer with one word: {', '.join(LABELS)}.", "prompt": text.format(thing),
                       "meta": {"answer": label, "labels": LABELS}}


if __name__ == "__main__":
    for part in ("train", "eval"):
        lines = [json.dumps(p) for p in prompts(part)]
        random.Random(1).shuffle(lines)
        (pathlib.Path(sys.argv[1]) / f"{part}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
