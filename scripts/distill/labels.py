#!/usr/bin/env python3
# labels.py - norms and routers learn to label as the dense model does
#
#     scripts/distill/labels.py CUT.gguf MODEL.gguf FOLDER OUT.gguf [--seconds N] [--device cuda]
#
# MODEL.gguf is what write.py made. The few of its weights learn that are kept in F32, so that nothing is rounded anew: a
# matter of two cores. What labels depend on is small against what else of a text is predicted, and some of it is lost with
# half of the experts.
#
# Labelled are FOLDER/reviews.jsonl, which the dense model wrote ({"prompt": .., "completion": ..}), and sentences of
# FOLDER/prose. The dense model, CUT with all experts, is asked for a label of each, in the words of dsr1_classify,
# dsr1_filter and others; learnt is its distribution at the tokens of one of the labels (KL) and, so that all else stays as
# it was, that of MODEL itself on windows of FOLDER's texts. DSR1 names the program that cuts texts into tokens, DSR1_MODEL
# a file with the vocabulary.
#
# SPDX-License-Identifier: PostgreSQL
import argparse
import glob
import json
import random
import re
import time

import numpy as np
import torch

from gguf import Gguf, layer_matrices
from tokens import SEPARATOR, apart
from train import ROUTER_SCALE, Model, adam

LABELS = [labels.split() for labels in (
    "positive negative", "positive negative", "positive negative", "good bad", "positive negative neutral",
    "bug praise question", "bug praise question", "bug feature question", "complaint praise question other",
    "business politics science sports", "sport technology health travel", "spam ham", "urgent normal", "happy sad angry",
    "true false", "fact opinion", "formal informal", "love hate", "hardware software network",
    "billing shipping returns account", "history cooking law programming", "toxic fine", "recommend avoid", "yes no")]
CLAIMS = ("it is good", "the writer is pleased", "the writer is angry", "it is about money", "it mentions a person",
          "it asks something", "it is about software", "it complains", "it is urgent", "it is about food")
QUESTIONS = ("Is this review {} or {}?\n\n", "Is this {} or {}? Answer with one word.\n\n",
             "Is the following text {} or {}?\n\n")
PAIRS = (("positive", "negative"), ("positive", "negative"), ("happy", "sad"), ("good", "bad"))
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
EXPERTS = (8, 8, 8, 8, 8, 8, 10, 12, 16)
ASKED, WINDOW, LONGEST, LABEL = 24, 160, 140, 4     # questions a step; tokens of a window, of a prompt, of a label at most
ROUTER_RATE, NORM_RATE = 0.004, 0.003               # of the root mean square of what learns
WINDOW_WEIGHT = 2


def sentences(folder):
    """What is labelled: reviews to the end of one of their sentences, and sentences of prose; and all texts."""
    out, pages = [], []
    with open(folder + "/reviews.jsonl", encoding="utf-8") as file:
        for line in map(json.loads, file):
            text = (line["prompt"] + line.get("completion", "")).strip().split("\n")[0]
            ends = [i + 1 for i, c in enumerate(text) if c in ".!?" and i > 15]
            out.append(text[:random.choice(ends)] if ends else text)
    for name in ("calibration", "code"):
        with open(f"{folder}/text/{name}.txt", encoding="utf-8") as file:
            pages.append(file.read())
    for path in sorted(glob.glob(folder + "/prose/*.jsonl")):
        with open(path, encoding="utf-8") as file:
            texts = [json.loads(line)["text"] for line in file]
        pages.append("\n".join(texts))
        for text in random.sample(texts, min(60, len(texts))):
            good = [s for s in re.split(r"(?<=[.!?])\s+", text.replace("\n", " ")) if 20 < len(s) < 220]
            out += random.sample(good, min(2, len(good)))
    clean = lambda texts: [text.replace(SEPARATOR, "") for text in texts]
    return clean(text for text in out if len(text) > 12), clean(pages)


def asked(text):
    """A prompt about it, and one of the answers."""
    chat = lambda system, user, answer="": (f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n"
                                            f"<|im_start|>assistant\n{answer}")
    kind, labels = random.random(), list(random.choice(LABELS))
    random.shuffle(labels)
    if kind < 0.6:
        quoted = ", ".join(f'"{label}"' for label in labels)
        return chat(f"Classify the text. Answer with one of these labels: {quoted}.", text, '"'), random.choice(labels) + '"'
    if kind < 0.75:
        task = f"Tell whether this holds for the text: {random.choice(CLAIMS)}\nAnswer \"yes\" or \"no\"."
        return chat(task, text, '"'), random.choice(("yes", "no")) + '"'
    if kind < 0.9:
        labels = random.sample(random.choice(PAIRS), 2)
        return chat(SYSTEM, random.choice(QUESTIONS).format(*labels) + text), random.choice(labels)
    return chat(SYSTEM, f"Answer with one of these words: {', '.join(labels)}\n\n{text}"), random.choice(labels)


class Tuner:
    def __init__(self, model, dense, learnt):
        matrices = lambda gguf: [{kind: torch.from_numpy(w).to(model.device, model.type)
                                  for kind, w in layer_matrices(gguf, i).items()} for i in range(model.n_layers)]
        stacked = lambda gguf, name: torch.from_numpy(np.stack([gguf.floats(f"blk.{i}.{name}.weight")
                                                                for i in range(model.n_layers)])).to(model.device)
        norms = lambda gguf: [stacked(gguf, "attn_norm"), stacked(gguf, "ffn_norm"),
                              torch.from_numpy(gguf.floats("output_norm.weight")).to(model.device)]
        self.model = model
        self.teacher = (matrices(dense), None, norms(dense))
        layers, router = matrices(learnt), stacked(learnt, "ffn_gate_inp") * ROUTER_SCALE
        self.before = (layers, router, norms(learnt))
        self.small = [router.clone(), *norms(learnt)]
        self.student = (layers, self.small[0], self.small[1:])
        self.rates = [rate * x.pow(2).mean().sqrt() for rate, x in zip((ROUTER_RATE, *3 * (NORM_RATE,)), self.small)]
        self.moments = [(torch.zeros_like(x), torch.zeros_like(x)) for x in self.small]
        for x in self.small:
            x.requires_grad_()

    def says(self, weights, tokens, k, at):
        hidden = self.model.forward(tokens, *weights, k).flatten(0, 1)
        return (hidden[at] @ self.model.embedding.t()).float().log_softmax(-1)

    def divergence(self, target, tokens, k, at):
        """Mean KL of the student from what the target, of all experts if it has no routers, says at these places."""
        with torch.no_grad():
            wanted = self.says(target, tokens, k, at)
        return (wanted.exp() * (wanted - self.says(self.student, tokens, k, at))).sum(-1).mean()

    def questions(self, batch):
        """Rows of prompt and label, and the places before each token of the label."""
        width = max(len(prompt) + len(label) - 1 for prompt, label in batch)
        tokens, at = np.zeros((len(batch), width), np.int64), []
        for i, (prompt, label) in enumerate(batch):
            row = np.concatenate([prompt, label])[:-1]
            tokens[i, :len(row)] = row
            at += range(i * width + len(prompt) - 1, i * width + len(row))
        return torch.from_numpy(tokens).to(self.model.device), torch.tensor(at, device=self.model.device)

    def step(self, number, rate, batch, window):
        k = random.choice(EXPERTS)
        tokens, at = self.questions(batch)
        row = torch.from_numpy(window)[None].to(self.model.device)
        label = self.divergence(self.teacher, tokens, k, at)
        other = self.divergence(self.before, row, k, torch.arange(row.shape[1], device=row.device))
        (label + WINDOW_WEIGHT * other).backward()
        with torch.no_grad():
            length = sum(x.grad.pow(2).sum() for x in self.small[1:]).sqrt()
            for x, moments, most in zip(self.small, self.moments, self.rates):
                adam(x, x.grad / length.clamp(min=1), moments, rate * most, number)
                x.grad = None
        return {"step": number, "experts": k, "kl": label.item(), "kl_windows": other.item()}


def write(learnt, small, out):
    """The file with other norms and routers: F32, each where it lay."""
    data = bytearray(learnt.bytes)
    router, norm1, norm2, norm = (x.detach().cpu().numpy() for x in small)
    new = {"output_norm.weight": norm}
    for i, rows in enumerate(zip(router / ROUTER_SCALE, norm1, norm2)):
        for name, x in zip(("ffn_gate_inp", "attn_norm", "ffn_norm"), rows):
            new[f"blk.{i}.{name}.weight"] = x
    for name, x in new.items():
        at = learnt.data + learnt.tensors[name][2]
        data[at:at + x.nbytes] = x.astype("<f4").tobytes()
    with open(out, "wb") as file:
        file.write(data)


def main():
    parser = argparse.ArgumentParser()
    for name in ("cut", "model", "folder", "out"):
        parser.add_argument(name)
    parser.add_argument("--seconds", type=float, default=1500)
    parser.add_argument("--device", default="cpu")
    o = parser.parse_args()
    random.seed(4)
    dense, learnt = Gguf(o.cut), Gguf(o.model)
    model = Model(dense, o.device, None)
    tuner = Tuner(model, dense, learnt)
    texts, pages = sentences(o.folder)
    pages = np.concatenate(apart(pages)).astype(np.int64)
    questions = [asked(text) for text in texts for _ in range(3)]
    prompts, labels = (apart(part) for part in zip(*questions))
    pairs = [(prompt, label[:LABEL]) for prompt, label in zip(prompts, labels) if len(prompt) < LONGEST]
    first, number = time.time(), 0
    while (done := (time.time() - first) / o.seconds) < 1:
        number += 1
        batch = sorted(random.sample(pairs, 4 * ASKED), key=lambda pair: len(pair[0]))
        at, part = random.randrange(len(pages) - WINDOW), random.randrange(4)
        line = tuner.step(number, min(1, number / 10) * (1 - done), batch[part * ASKED:(part + 1) * ASKED], pages[at:at + WINDOW])
        print(json.dumps({"seconds": round(time.time() - first, 1)} | line), flush=True)
    write(learnt, tuner.small, o.out)


if __name__ == "__main__":
    main()
