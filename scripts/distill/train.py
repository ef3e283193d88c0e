#!/usr/bin/env python3
# train.py - experts learn from the dense model on a graphics card: every matrix, rounded to Q4_1 as it does
#
#     scripts/distill/train.py CUT.gguf IN.npz OUT.npz [--seconds N] [--lr X] [--device cpu --layers N]
#
# CUT.gguf comes from `dsr1 upcycle` without --refit and with --fim, IN.npz from tokens.py; write.py makes a model of
# OUT.npz. Needs PyTorch and one card, of whose memory writing takes 39 GiB. On an H200 100 seconds go to finding holes and to
# writing; learning lasts until the clock says N seconds, compiling included: 4,047 steps, 133 million tokens, in 633 seconds.
#
# The teacher is CUT with all experts. It writes half of what is learnt from: pages behind its end-of-text token, chats whose
# questions it asks itself, continued openings, and labels asked of reviews of its own. Of texts by others, both the teacher's
# probabilities and the text itself are learnt; of middles of code the text alone, for the teacher cannot fill in.
#
# The top k have gates of one and are chosen through a straight-through sigmoid about the k-th logit (Bengio et al.,
# arXiv:1308.3432), whose gradient reaches the router alone: let into the hidden state, too, the gradient grew from layer to
# layer and the run diverged.
#
# SPDX-License-Identifier: PostgreSQL
import argparse
import json
import math
import random
import time

import numpy as np
import torch
import torch.nn.functional as F

from gguf import Gguf, layer_matrices

# Of the rows, and how much of each kind is learnt from the text itself, not from the teacher.
SHARES = {"labels": 0.05, "pages": 0.26, "chats": 0.17, "prose": 0.27, "texts": 0.04, "code": 0.08, "holes": 0.13}
OWN = {"prose": 0.3, "texts": 0.3, "code": 0.3, "holes": 1.0}
HELD = {"pages": 5, "chats": 4, "prose": 4, "labels": 1, "code": 2, "holes": 16}        # rows
EXPERTS = 14 * (8,) + (9, 10, 10, 12, 16, 16)     # of a micro-batch, drawn
MICRO_BATCHES = 2       # a step
ROUTER_SCALE = 300      # while learning: upcycle's logits are so small that all gates of its file are one
HOLE_WEIGHT = 2
RATE, ROUTER_RATE, NORM_RATE = 4e-4, 0.005, 3e-5        # the router's in parts of its root mean square
WARM_UP, REPORT, EVALUATE = 40, 20, 100         # steps
WORSE = 1.25            # times the best divergence: go back
BREAK, SPACE = "\u010a", "\u0120"       # as the vocabulary writes them


def holes(z, keys, n, draw):
    """
    n tokens or more of PRE SUF suffix MID prefix middle EOS, and which of them are to be learnt. Lines of code, cut where
    a token begins with the line break, so that the tokens are those of the whole text; a fifth begins within a line.
    Log-uniformly, 40 to 420 tokens stand before the hole and 15 to 160 behind it.
    """
    code, words = z["code"].astype(np.int64), keys["tokenizer.ggml.tokens"]
    breaks = np.array([w.startswith(BREAK) for w in words])
    blank = np.array([w.startswith(SPACE) and len(w) > 1 and w[1] != SPACE for w in words])
    ends = np.array([w.endswith(BREAK) for w in words])
    starts = np.flatnonzero(breaks[code] & ~np.roll(ends[code], 1))
    stops = np.flatnonzero(code == 0)
    pre, suf, mid = (keys[f"tokenizer.ggml.fim_{kind}_token_id"] for kind in ("pre", "suf", "mid"))
    eos = keys["tokenizer.ggml.eos_token_id"]
    text, learn, total = [], [], 0

    def line(place, end):
        """Where a line begins, from place on, if that is before end."""
        found = starts[np.searchsorted(starts, place):][:1]
        return int(found[0]) if len(found) and found[0] < end else place

    while total < n:
        i = int(draw.integers(20, len(starts) - 20))
        first, last = int(starts[i]), int(starts[i + draw.choice((1, 1, 1, 1, 2, 2, 3, 4))])
        doc = np.searchsorted(stops, first)
        low, high = int(stops[doc - 1]) + 1 if doc else 0, int(stops[doc])
        if not 4 <= last - first <= 110 or last > high - 4 or first - low < 30:
            continue
        spaces = np.flatnonzero(blank[code[first + 2:last - 1]])
        if len(spaces) and draw.random() < 0.2:
            first += 2 + int(draw.choice(spaces))
        above = first - int(np.exp(draw.uniform(3.7, 6.05)))
        above = line(above, first) if above > low else low
        below = line(min(high, last + int(np.exp(draw.uniform(2.7, 5.1)))), high)
        sequence = np.concatenate([[pre, suf], code[last:below], [mid], code[above:last], [eos]])
        middle = np.zeros(len(sequence), bool)
        middle[3 + below - last + first - above:] = True
        text.append(sequence)
        learn.append(middle)
        total += len(sequence)
    return np.concatenate(text), np.concatenate(learn)


# ---------------------------------------------------------------- Q4_1


def rounded(x):
    """Blocks of 32 as llama.cpp's Q4_1 has them: numbers from 0 to 15, scale and minimum."""
    x = x.view(-1, 32)
    low, high = x.min(1, keepdim=True)[0], x.max(1, keepdim=True)[0]
    d, m = ((high - low) / 15).half().float(), low.half().float()
    return torch.where(d > 0, ((x - m) / d).round(), torch.zeros_like(x)).clamp(0, 15), d, m


def in_pieces(x, size=1 << 24):
    return [x[i:i + size] for i in range(0, x.numel(), size)]


def packed(weights):
    """float32 weights to blocks of 20 bytes."""
    out = []
    for piece in in_pieces(weights):
        q, d, m = rounded(piece)
        q = q.to(torch.uint8)
        half = lambda x: x.half().cpu().numpy().view(np.uint8)
        out.append(np.concatenate([half(d), half(m), (q[:, :16] | q[:, 16:] << 4).cpu().numpy()], 1))
    return np.concatenate(out)


# ---------------------------------------------------------------- the model


class Model:
    """Constants of the file, and its forward pass over the matrices it is given."""

    def __init__(self, gguf, device, n_layers):
        key = lambda name: gguf.keys["deepseek." + name]
        self.device, self.type = device, torch.bfloat16 if device == "cuda" else torch.float32
        self.n_layers, self.head = n_layers or key("block_count"), key("rope.dimension_count")
        self.n_heads, self.n_kv = key("attention.head_count"), key("attention.head_count_kv")
        self.n_experts, self.expert = key("expert_count"), key("expert_feed_forward_length")
        self.epsilon = key("attention.layer_norm_rms_epsilon")
        self.embedding = torch.from_numpy(gguf.floats("token_embd.weight")).to(device, self.type)
        frequencies = key("rope.freq_base") ** (-torch.arange(0, self.head, 2) / self.head)
        angles = torch.outer(torch.arange(2048.), frequencies).to(device)
        self.cos, self.sin = angles.cos(), angles.sin()
        self.edges = torch.tensor([[k - 1, min(k, self.n_experts - 1)] for k in range(1, self.n_experts + 1)], device=device)
        self.layer_ = self.layer

    def rope(self, x, at):
        pairs = x.float().unflatten(-1, (-1, 2))
        a, b, cos, sin = pairs[..., 0], pairs[..., 1], self.cos[at, None], self.sin[at, None]
        return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2).to(x.dtype)

    def norm(self, x, weight):
        x = x.float()
        return (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.epsilon) * weight).to(self.type)

    def heads(self, x, matrix, at):
        """Query, key and value of [.., T, width], by heads."""
        n, m = self.n_heads * self.head, self.n_kv * self.head
        q, k, v = (y.unflatten(-1, (-1, self.head)) for y in (x @ matrix.t()).split([n, m, m], -1))
        return self.rope(q, at), self.rope(k, at), v

    def gates(self, x, router, edge):
        """One for each chosen expert, else zero; edge holds k - 1 and k (or the last) as places in order."""
        logits = x.detach().float() @ router.t()
        order = logits.sort(-1, descending=True)[0]
        kth, next_ = order.index_select(-1, edge[:1]), order.index_select(-1, edge[1:])
        width = (0.4 * logits.std(-1, keepdim=True)).detach() + 1e-8
        soft = torch.sigmoid((logits - (0.5 * (kth + next_)).detach()) / width)
        return (logits >= kth).float() + soft - soft.detach()

    def feed_forward(self, x, gate_up, down, router, edge):
        a, b = (x @ gate_up.t()).chunk(2, -1)
        f = F.silu(a) * b
        if router is not None:
            shared = f.shape[-1] - self.n_experts * self.expert
            gates = self.gates(x, router, edge).to(f.dtype)[..., None]
            routed = f[..., shared:].unflatten(-1, (self.n_experts, -1)) * gates
            f = torch.cat([f[..., :shared], routed.flatten(-2)], -1)
        return f @ down.t()

    def layer(self, x, w, router, norm1, norm2, edge):
        q, k, v = (y.transpose(1, 2) for y in self.heads(self.norm(x, norm1), w["qkv"], slice(0, x.shape[1])))
        k, v = (y.repeat_interleave(self.n_heads // self.n_kv, 1) for y in (k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(-2)
        x = x + y @ w["o"].t()
        return x + self.feed_forward(self.norm(x, norm2), w["gate_up"], w["down"], router, edge)

    def forward(self, tokens, layers, routers, norms, k):
        """Hidden states behind the last norm; without routers, of the dense model."""
        x = F.embedding(tokens, self.embedding)
        for i, w in enumerate(layers):
            x = self.layer_(x, w, None if routers is None else routers[i], norms[0][i], norms[1][i], self.edges[k - 1])
        return self.norm(x, norms[2])

    @torch.no_grad()
    def sample(self, layers, norms, forced, n, temperature, min_p):
        """[B, n] tokens, which begin with those of forced [B, m] that are not -1."""
        size = (self.n_layers, forced.shape[0], self.n_kv, n, self.head)
        keys, values = (torch.zeros(size, device=self.device, dtype=self.type) for _ in range(2))
        out = torch.zeros(forced.shape[0], n, dtype=torch.long, device=self.device)
        out[:, 0] = forced[:, 0]
        for t in range(n - 1):
            x = F.embedding(out[:, t:t + 1], self.embedding)
            for i, w in enumerate(layers):
                q, k, v = self.heads(self.norm(x, norms[0][i]), w["qkv"], slice(t, t + 1))
                keys[i, :, :, t], values[i, :, :, t] = k[:, 0], v[:, 0]
                q = q[:, 0].unflatten(1, (self.n_kv, -1))
                seen = (q @ keys[i, :, :, :t + 1].transpose(-1, -2)).float() * self.head ** -0.5
                y = (seen.softmax(-1).to(self.type) @ values[i, :, :, :t + 1]).flatten(1)[:, None]
                x = x + y @ w["o"].t()
                x = x + self.feed_forward(self.norm(x, norms[1][i]), w["gate_up"], w["down"], None, None)
            p = ((self.norm(x[:, 0], norms[2]) @ self.embedding.t()).float() / temperature).softmax(-1)
            p = torch.where(p < min_p * p.max(-1, keepdim=True)[0], torch.zeros_like(p), p)
            drawn = (p / torch.empty_like(p).exponential_()).argmax(-1)
            said = forced[:, t + 1] if t + 1 < forced.shape[1] else torch.full_like(drawn, -1)
            out[:, t + 1] = torch.where(said >= 0, said, drawn)
        return out


# ---------------------------------------------------------------- what is learnt from


def windows(flat, size):
    flat = torch.as_tensor(flat)
    return flat[:len(flat) // size * size].view(-1, size)


def asked(z, reviews):
    """Chats that ask for a label of each review and answer with one, as tokens one behind the other; three of each."""
    out = []
    for review in 3 * reviews.tolist():
        kind = random.randrange(len(z["questions"]))
        ends = [i + 1 for i, token in enumerate(review) if i >= 8 and token in z["stops"]]
        review = review[:random.choice(ends)] if ends else review
        review = review[:review.index(0)] if 0 in review else review
        label = random.choice(z["labels"][kind])
        for part in (z["system"], z["questions"][kind], review, z["answer"], label, z["end"]):
            out += [int(token) for token in part]
    return out


def pool(tokens, own, weight):
    """What is learnt from, [n, window] each: tokens; how much of the next one is learnt from the text itself; its weight."""
    weight = F.pad(weight[:, 1:], (0, 1)).float()
    return tokens, torch.full_like(weight, own), weight


def pools(z, model, layers, norms, window, n, length, n_rounds):
    """Windows by kind: what the teacher writes, n rows of length tokens a round, and texts."""
    as_rows = lambda name: torch.from_numpy(z[name].astype(np.int64)).to(model.device)
    begun, system, reviews = as_rows("openings"), as_rows("system"), as_rows("reviews")
    draw = lambda rows, n: rows[torch.randint(len(rows), (n,), device=model.device)]
    some = model.sample(layers, norms, draw(reviews, n), min(43, length), 0.9, 0.03)
    n_chats, n_begun = n // 4, n // 6
    chat = (torch.arange(n, device=model.device) < n_chats)[:, None]
    forced = torch.full((n, max(len(system), begun.shape[1])), -1, device=model.device)
    forced[:n_chats, :len(system)] = system
    forced[n_chats + n_begun:, 0] = 0
    chats, pages = [], []
    for _ in range(n_rounds):
        forced[n_chats:n_chats + n_begun, :begun.shape[1]] = draw(begun, n_begun)
        said = model.sample(layers, norms, forced, length, torch.where(chat, 0.9, 1.0), torch.where(chat, 0.02, 0.01))
        chats.append(said[:n_chats].flatten())
        pages.append(said[n_chats:].flatten())
    flat = {"labels": torch.tensor(asked(z, some), device=model.device), "chats": torch.cat(chats), "pages": torch.cat(pages),
            **{kind: as_rows(kind) for kind in ("prose", "texts", "code")}}
    rows = {kind: windows(x, window) for kind, x in flat.items()}
    return {kind: pool(x, OWN.get(kind, 0.0), torch.ones_like(x)) for kind, x in rows.items()}


def apart(columns, n):
    """n rows to be held out, drawn, and the others."""
    order = torch.randperm(len(columns[0]))
    return [[x[rows] for x in columns] for rows in (order[:n], order[n:])]


def rounds(columns):
    """Row by row, all of them before one comes again."""
    while True:
        for i in torch.randperm(len(columns[0])).tolist():
            yield [x[i] for x in columns]


# ---------------------------------------------------------------- the loss


def loss(hidden, teacher, target, own, weight, embedding):
    """
    Of each position: the student's divergence from the teacher (KL), its surprise at the target, and the gradient to its
    hidden state of weight * (cross entropy with (1 - own) * teacher + own * target).
    """
    student, teacher = ((x @ embedding.t()).float().log_softmax(-1) for x in (hidden, teacher))
    p, is_target = teacher.exp(), target[:, None] == torch.arange(len(embedding), device=target.device)
    surprise = -student.gather(1, target[:, None])[:, 0]
    error = student.exp() - (1 - own[:, None]) * p - torch.where(is_target, own[:, None], 0.0)
    return (p * (teacher - student)).sum(-1), surprise, (error * weight[:, None]).to(hidden.dtype) @ embedding


# ---------------------------------------------------------------- training


def adam(p, g, moments, rate, step):
    """One step of Adam (Kingma and Ba, arXiv:1412.6980), in place."""
    first, second = moments
    first.mul_(0.9).add_(g, alpha=0.1)
    second.mul_(0.98).addcmul_(g, g, value=0.02)
    p.sub_(rate * (first / (1 - 0.9 ** step)) / ((second / (1 - 0.98 ** step)).sqrt() + 1e-9))


class Student:
    """float32 matrices in one row, their rounded copies that the forward pass reads, and what else learns."""

    def __init__(self, gguf, model, rate):
        matrices = [layer_matrices(gguf, i) for i in range(model.n_layers)]
        flat = [torch.from_numpy(w).flatten() for layer in matrices for w in layer.values()]
        self.exact = torch.cat(flat).to(model.device)
        at, self.places = 0, []
        for layer in matrices:
            self.places.append({})
            for kind, w in layer.items():
                self.places[-1][kind] = (at, w.shape)
                at += w.size
        self.weights = torch.empty_like(self.exact, dtype=model.type)
        self.gradient = torch.zeros_like(self.weights)
        get = lambda name: torch.from_numpy(np.stack([gguf.floats(f"blk.{i}.{name}.weight")
                                                      for i in range(model.n_layers)]))
        self.small = {"router": get("ffn_gate_inp") * ROUTER_SCALE, "norm1": get("attn_norm"), "norm2": get("ffn_norm"),
                      "norm": torch.from_numpy(gguf.floats("output_norm.weight"))}
        self.small = {name: x.to(model.device) for name, x in self.small.items()}
        self.teacher_norms = [self.small[name].clone() for name in ("norm1", "norm2", "norm")]
        self.teacher = self.views(self.exact.to(model.type))
        self.round()
        self.layers = self.views(self.weights)
        for layer, gradients in zip(self.layers, self.views(self.gradient)):
            for kind, gradient in gradients.items():
                layer[kind] = layer[kind].detach().requires_grad_()
                layer[kind].grad = gradient
        for x in self.small.values():
            x.requires_grad_()
        learning = (self.exact, *self.small.values())
        self.moments = [(p, torch.zeros_like(p), torch.zeros_like(p)) for p in learning]
        router_size = float(self.small["router"].detach().pow(2).mean().sqrt())
        self.rates = (rate, ROUTER_RATE * router_size, NORM_RATE, NORM_RATE, NORM_RATE)

    def views(self, flat):
        return [{kind: flat[at:at + int(np.prod(shape))].view(shape) for kind, (at, shape) in layer.items()}
                for layer in self.places]

    def norms(self):
        return [self.small[name] for name in ("norm1", "norm2", "norm")]

    @torch.no_grad()
    def round(self):
        for weights, exact in zip(in_pieces(self.weights), in_pieces(self.exact)):
            q, d, m = rounded(exact)
            weights.copy_((q * d + m).flatten())

    def clear(self):
        self.gradient.zero_()
        for x in self.small.values():
            x.grad = None

    @torch.no_grad()
    def update(self, step, part):
        """At a part of the rates, norm of the gradient 1 at most."""
        gradients = [self.gradient.float()] + [x.grad for x in self.small.values()]
        # Without the router's, which is of another kind.
        length = sum(g.pow(2).sum() for i, g in enumerate(gradients) if i != 1).sqrt()
        for (p, *moments), g, rate in zip(self.moments, gradients, self.rates):
            adam(p, g / length.clamp(min=1), moments, part * rate, step)
        self.round()
        return length

    def copy(self):
        return [p.detach().clone() for p, _, _ in self.moments]

    @torch.no_grad()
    def go_back(self, copy):
        for (p, first, second), old in zip(self.moments, copy):
            p.copy_(old)
            first.zero_()
            second.zero_()
        self.round()

    def save(self, path):
        small = {name: x.detach().cpu().numpy() for name, x in self.small.items()}
        small["router"] = small["router"] / np.float32(ROUTER_SCALE)
        np.savez(path, blocks=packed(self.exact), **small)


class Trainer:
    def __init__(self, model, student, found, micro):
        self.model, self.student, self.micro, self.loss = model, student, micro, loss
        held, others = {}, {}
        for kind, columns in found.items():
            held[kind], others[kind] = apart(columns, HELD.get(kind, 0))
        self.held_holes = held.pop("holes")
        self.held = [torch.cat(x) for x in zip(*held.values())]
        self.kinds = [kind for kind in SHARES if len(others[kind][0])]
        self.rows = {kind: rounds(others[kind]) for kind in self.kinds}

    def drawn(self):
        kinds = random.choices(self.kinds, [SHARES[kind] for kind in self.kinds], k=self.micro)
        return [torch.stack(x) for x in zip(*(next(self.rows[kind]) for kind in kinds))]

    def passed(self, tokens, own, weight, k, learn=True):
        """Divergence and surprise at each position; the gradient is added where it belongs."""
        s, m = self.student, self.model
        with torch.no_grad():
            teacher = m.forward(tokens, s.teacher, None, s.teacher_norms, k)
        with torch.set_grad_enabled(learn):
            hidden = m.forward(tokens, s.layers, s.small["router"], s.norms(), k)
        with torch.no_grad():
            columns = [x.flatten(0, 1).split(8192) for x in (hidden.detach(), teacher, tokens.roll(-1, 1), own, weight)]
            divergence, surprise, gradient = (torch.cat(x) for x in zip(*(self.loss(*x, m.embedding) for x in zip(*columns))))
        if learn:
            hidden.backward(gradient.view_as(hidden) / (tokens.numel() * MICRO_BATCHES))
        return divergence.view_as(tokens), surprise.view_as(tokens)

    def step(self, number, part):
        """Divergence without rows of holes, and the gradient's norm."""
        self.student.clear()
        total = count = 0
        for k in random.sample(EXPERTS, MICRO_BATCHES):
            tokens, own, weight = self.drawn()
            divergence, _ = self.passed(tokens, own, weight, k)
            total, count = total + (divergence * (own < 1)).sum(), count + (own < 1).sum()
        return total / count, self.student.update(number, part)

    def evaluate(self):
        """By number of experts: divergence in the rows held out, and surprise in the middles of those of holes."""

        def mean(columns, which, k):
            total = 0
            for batch in zip(*(x.split(self.micro) for x in columns)):
                total += (self.passed(*batch, k, learn=False)[which] * (batch[-1] > 0)).sum()
            return round(float(total / (columns[-1] > 0).sum()), 4)

        return {k: {"kl": mean(self.held, 0, k), "fim": mean(self.held_holes, 1, k)} for k in (8, 10, self.model.n_experts)}

    def train(self, start, seconds):
        """Until that many seconds after start; the rate falls with what is left of them."""
        say = lambda line: print(json.dumps({"seconds": round(time.time() - start, 1)} | line), flush=True)
        say({"held out, by experts": self.evaluate()})
        first, number, slower, best, kept = time.time(), 0, 1, math.inf, None
        while (done := (time.time() - first) / max(1, start + seconds - first)) < 1:
            number += 1
            divergence, length = self.step(number, slower * min(1, number / WARM_UP) * (1 - done))
            if number % REPORT == 0:
                say({"step": number, "kl": round(float(divergence), 4), "gradient": round(float(length), 3)})
            if number % EVALUATE == 0:
                found = self.evaluate()
                say({"step": number, "held out, by experts": found})
                if found[8]["kl"] < best:
                    best, kept = found[8]["kl"], self.student.copy()
                elif found[8]["kl"] > WORSE * best:
                    self.student.go_back(kept)
                    slower /= 2
        say({"step": number, "held out, by experts": self.evaluate()})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("cut")
    parser.add_argument("tokens")
    parser.add_argument("out")
    parser.add_argument("--seconds", type=float, default=740)
    parser.add_argument("--lr", type=float, default=RATE)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--layers", type=int)
    o = parser.parse_args()
    start, big = time.time(), o.device == "cuda"
    random.seed(1)
    torch.manual_seed(1)
    gguf, z = Gguf(o.cut), dict(np.load(o.tokens, allow_pickle=True))
    model = Model(gguf, o.device, o.layers)
    student = Student(gguf, model, o.lr)
    sizes = (1024, 16, 20_000_000, 3072, 512, 5) if big else (64, 4, 20_000, 24, 64, 1)
    window, micro, n_holes, *writing = sizes
    tokens, learn = (windows(x, window).to(o.device) for x in holes(z, gguf.keys, n_holes, np.random.default_rng(3)))
    found = pools(z, model, student.teacher, student.teacher_norms, window, *writing)
    found["holes"] = pool(tokens, OWN["holes"], HOLE_WEIGHT * learn)
    print(json.dumps({kind: columns[0].numel() for kind, columns in found.items()}), flush=True)
    trainer = Trainer(model, student, found, micro)
    if big:
        torch.cuda.empty_cache()
        # All micro-batches have one shape, those held out too, so that nothing is compiled twice.
        model.layer_, trainer.loss = (torch.compile(f, dynamic=False) for f in (model.layer, loss))
    trainer.train(start, o.seconds)
    student.save(o.out)


if __name__ == "__main__":
    main()
