#!/usr/bin/env python3
# tokens.py - the tokens that train.py learns from
#
#     scripts/distill/tokens.py FOLDER OUT.npz
#
# FOLDER is where model-rebuild works: text/calibration.txt, more/text/code.txt, self.jsonl, chats.jsonl, openings.jsonl; and
# prose/*.jsonl, {"text": ..} a line, if there are any. DSR1 names the program that cuts texts into tokens, DSR1_MODEL a file
# with the vocabulary.
#
# SPDX-License-Identifier: PostgreSQL
import glob
import json
import os
import random
import subprocess
import sys

import numpy as np

SEPARATOR = "<|endoftext|>"
SYSTEM = ("<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
          "<|im_start|>user\n")
ANSWER, END = "<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>\n"
REVIEWS = ("I bought this", "The battery", "The screen", "The quality", "I love", "I hate", "After two weeks",
           "The sound", "Customer service", "The price", "I would not", "The software", "The best", "The worst",
           "My wife", "The manual", "Setting it up", "The service", "The food", "Our room", "The movie", "The book",
           "It stopped", "Not worth")
QUESTIONS = (("Is this positive or negative? Answer with one word.\n\n", ("positive", "negative")),
             ("Does the writer like it? Answer yes or no.\n\n", ("yes", "no")),
             ("Classify the text. Answer with one of these labels: bug, praise, question.\n\n",
              ("bug", "praise", "question")),
             ("Classify the text. Answer with one of these labels: positive, neutral, negative.\n\n",
              ("positive", "neutral", "negative")))


def ids(text):
    """Tokens of a text; DSR1 and DSR1_MODEL say by which program and vocabulary."""
    dsr1 = os.environ.get("DSR1", "build/bin/dsr1")
    found = subprocess.run([dsr1, "tokenize", "--no-bos", "--parse-special"], input=text.encode(), check=True,
                           stdout=subprocess.PIPE).stdout.split()
    return np.array(found, np.uint16)


def apart(texts):
    """Those of each text."""
    joined = ids(SEPARATOR.join(texts) + SEPARATOR)
    ends = np.flatnonzero(joined == joined[-1])
    return [joined[first:last] for first, last in zip([0, *(ends[:-1] + 1)], ends)]


def tokens(folder, out):
    def lines(name):
        with open(f"{folder}/{name}", encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def text(name):
        with open(f"{folder}/{name}", encoding="utf-8") as file:
            return file.read().replace(SEPARATOR, "")

    random.seed(1)
    manuals, code = text("text/calibration.txt"), text("more/text/code.txt")
    docs = [manuals[i:i + 4000] for i in range(0, len(manuals), 4000)] + [line["text"] for line in lines("self.jsonl")]
    docs += [SYSTEM + line["prompt"] + ANSWER + line["completion"] + END for line in lines("chats.jsonl")
             if "completion" in line]
    prose = [line["text"].replace(SEPARATOR, "") for name in sorted(glob.glob("prose/*.jsonl", root_dir=folder))
             for line in lines(name)]
    random.shuffle(docs)
    random.shuffle(prose)
    codes = [code[i:i + 6000] for i in range(0, len(code), 6000)]
    begun = apart([line["prompt"] for line in lines("openings.jsonl")])
    reviews = apart([begin + more for begin in REVIEWS for more in (" was", " is", " and", " has", " because", " for")])
    joined = lambda texts: ids(SEPARATOR.join(texts) + SEPARATOR)
    np.savez_compressed(out, texts=joined(docs), code=joined(codes), prose=joined(prose),
                        openings=[t[:6] for t in begun if len(t) >= 6], reviews=[t[:3] for t in reviews if len(t) >= 3],
                        stops=[ids(stop)[0] for stop in ".!?"], system=ids(SYSTEM), answer=ids(ANSWER), end=ids(END),
                        questions=np.array([ids(q) for q, _ in QUESTIONS], object),
                        labels=np.array([[ids(label) for label in labels] for _, labels in QUESTIONS], object))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: tokens.py FOLDER OUT.npz")
    tokens(*sys.argv[1:])
