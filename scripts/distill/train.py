#!/usr/bin/env python3
# train.py - the recipe of model-experts on a graphics card: every matrix learns, rounded to Q4_1 as it does
#
#     scripts/distill/train.py CUT.gguf IN.npz OUT.npz [--seconds N] [--lr X] [--device cpu --layers N]
#
# CUT.gguf comes from `dsr1 upcycle` without --refit and with --fim, IN.npz from tokens.py; write.py makes a model of
# OUT.npz. Needs PyTorch. The teacher is CUT with all experts and gates of one. It writes most of what is learnt from: pages
# behind its end-of-text token, chats whose questions it asks itself, continued openings, and labels asked of reviews of
# its own. Every fourth micro-batch fills in the middle of code. The clock decides how long it lasts.
#
# The top k are chosen through a straight-through sigmoid about the k-th logit (Bengio et al., arXiv:1308.3432), whose
# gradient reaches the router alone: let into the hidden state, too, it went with norms that grew by a third in 1,400 steps,
# and with a divergence that rose from 0.25 to 0.8.
#
# SPDX-License-Identifier: PostgreSQL
import argparse
import json
import random
import time

import numpy as np
import torch
import torch.nn.functional as F

from gguf import Gguf, layer_matrices

SHARES = {"labels": 0.06, "pages": 0.44, "chats": 0.24, "texts": 0.26}
# Of a micro-batch, drawn.
EXPERTS = (8, 8, 8, 9, 9, 10, 10, 10, 10, 10, 11, 11, 12, 12, 12, 12, 12, 13, 14, 16)
ACCUMULATED = 4         # micro-batches a step; the last fills in the middle
ROUTER_SCALE = 300      # upcycle's logits are too small for gates to learn by
FIM_WEIGHT = 0.25
WARM_UP = 40            # steps
BREAK, SPACE = "\u010a", "\u0120"       # as the vocabulary writes them


def holes(z, keys, n, draw):
    """
    n tokens or more of PRE SUF suffix MID prefix middle EOS, and which of them are to be learnt. Lines of code, cut where
    a token begins with the line break, so that the tokens are those of the whole text; a fifth begins within a line.
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
    while total < n:
        i = int(draw.integers(20, len(starts) - 20))
        first, last = int(starts[i]), int(starts[i + draw.choice((1, 1, 1, 1, 2, 3))])
        doc = np.searchsorted(stops, first)
        low, high = int(stops[doc - 1]) + 1 if doc else 0, int(stops[doc])
        if not 4 <= last - first <= 90 or last > high - 4 or first - low < 30:
            continue
        spaces = np.flatnonzero(blank[code[first + 2:last - 1]])
        if len(spaces) and draw.random() < 0.2:
            first += 2 + int(draw.choice(spaces))
        above, below = max(low, first - int(draw.integers(60, 420))), min(high, last + int(draw.integers(20, 160)))
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
        self.scale, self.epsilon = key("expert_weights_scale"), key("attention.layer_norm_rms_epsilon")
        self.embedding = torch.from_numpy(gguf.floats("token_embd.weight")).to(device, self.type)
        frequencies = key("rope.freq_base") ** (-torch.arange(0, self.head, 2) / self.head)
        angles = torch.outer(torch.arange(2048.), frequencies).to(device)
        self.cos, self.sin = angles.cos(), angles.sin()
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
        """What each expert's neurons are multiplied by; edge holds k - 1 and k (or the last) as places in order."""
        logits = x.detach().float() @ router.t()
        order = logits.sort(-1, descending=True)[0]
        kth, next_ = order.index_select(-1, edge[:1]), order.index_select(-1, edge[1:])
        width = (0.4 * logits.std(-1, keepdim=True)).detach() + 1e-8
        soft = torch.sigmoid((logits - (0.5 * (kth + next_)).detach()) / width)
        return logits.softmax(-1) * self.scale * ((logits >= kth).float() + soft - soft.detach())

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
        edge = torch.tensor([k - 1, min(k, self.n_experts - 1)], device=self.device)
        x = F.embedding(tokens, self.embedding)
        for i, w in enumerate(layers):
            x = self.layer_(x, w, None if routers is None else routers[i], norms[0][i], norms[1][i], edge)
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
    """Chats that ask for a label of each review and answer with one, as tokens one behind the other."""
    out = []
    for review in reviews.tolist():
        kind = random.randrange(len(z["questions"]))
        review = review[:review.index(0)] if 0 in review else review
        label = random.choice(z["labels"][kind])
        for part in (z["system"], z["questions"][kind], review, z["answer"], label, z["end"]):
            out += [int(token) for token in part]
    return out


def pools(z, model, layers, norms, window, n, length):
    """Windows by kind: what the teacher writes, n rows of length tokens, and texts."""
    as_rows = lambda name: torch.from_numpy(z[name].astype(np.int64)).to(model.device)
    begun, system, reviews = as_rows("openings"), as_rows("system"), as_rows("reviews")
    draw = lambda rows, n: rows[torch.randint(len(rows), (n,), device=model.device)]
    some = model.sample(layers, norms, draw(reviews, n), min(43, length), 0.9, 0.03)
    n_chats, n_begun = n // 3, n // 6
    forced = torch.full((n, max(len(system), begun.shape[1])), -1, device=model.device)
    forced[:n_chats, :len(system)] = system
    forced[n_chats:n_chats + n_begun, :begun.shape[1]] = draw(begun, n_begun)
    forced[n_chats + n_begun:, 0] = 0
    chat = (torch.arange(n, device=model.device) < n_chats)[:, None]
    said = model.sample(layers, norms, forced, length, torch.where(chat, 0.9, 1.0), torch.where(chat, 0.02, 0.01))
    texts = torch.cat([windows(as_rows(name), window) for name in ("texts", "code")])
    return {"labels": windows(torch.tensor(asked(z, some), device=model.device), window), "texts": texts,
            "chats": windows(said[:n_chats].flatten(), window), "pages": windows(said[n_chats:].flatten(), window)}


# ---------------------------------------------------------------- losses: sums, and their gradients to the hidden state


def divergence(hidden, teacher, embedding):
    """Of the student from the teacher (KL), over all tokens."""
    student, teacher = ((x @ embedding.t()).float().log_softmax(-1) for x in (hidden, teacher))
    p = teacher.exp()
    return (p * (teacher - student)).sum(), (student.exp() - p).to(hidden.dtype) @ embedding


def cross_entropy(hidden, target, embedding):
    p = (hidden @ embedding.t()).float().log_softmax(-1)
    loss = -p.gather(1, target[:, None]).sum()
    error = p.exp().scatter_add_(1, target[:, None], torch.full_like(target[:, None], -1, dtype=p.dtype))
    return loss, error.to(hidden.dtype) @ embedding


# ---------------------------------------------------------------- training


class Student:
    """float32 matrices in one row, their rounded copies that the forward pass reads, and what else learns."""

    def __init__(self, gguf, model):
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
    def update(self, step, rate):
        """Adam (Kingma and Ba, arXiv:1412.6980), norm of the gradient 1 at most. Norms learn ten times as slowly."""
        gradients = [self.gradient.float()] + [x.grad for x in self.small.values()]
        # Without the router's, which is of another kind.
        length = sum(g.pow(2).sum() for i, g in enumerate(gradients) if i != 1).sqrt()
        rates = (rate, rate * 0.5, 0.1 * rate, 0.1 * rate, 0.1 * rate)
        for (p, first, second), g, rate_ in zip(self.moments, gradients, rates):
            g = g / length.clamp(min=1)
            first.mul_(0.9).add_(g, alpha=0.1)
            second.mul_(0.98).addcmul_(g, g, value=0.02)
            p.sub_(rate_ * (first / (1 - 0.9 ** step)) / ((second / (1 - 0.98 ** step)).sqrt() + 1e-9))
        self.round()
        return length


class Trainer:
    def __init__(self, model, student, texts, middles, micro):
        self.model, self.student, self.texts, self.middles, self.micro = model, student, texts, middles, micro
        self.divergence = divergence

    def drawn(self):
        kinds = [kind for kind in SHARES if len(self.texts[kind])]
        kinds = random.choices(kinds, [SHARES[kind] for kind in kinds], k=self.micro)
        return torch.stack([self.texts[kind][random.randrange(len(self.texts[kind]))] for kind in kinds])

    def hidden(self, tokens, k):
        s = self.student
        return self.model.forward(tokens, s.layers, s.small["router"], s.norms(), k)

    def distill(self, tokens, k, learn=True):
        s, m = self.student, self.model
        with torch.no_grad():
            teacher = m.forward(tokens, s.teacher, None, s.teacher_norms, k).flatten(0, 1)
        hidden = self.hidden(tokens, k)
        with torch.no_grad():
            parts = [self.divergence(h, t, m.embedding)
                     for h, t in zip(hidden.flatten(0, 1).split(8192), teacher.split(8192))]
        if learn:
            hidden.backward(torch.cat([g for _, g in parts]).view_as(hidden) / (tokens.numel() * (ACCUMULATED - 1)))
        return sum(float(loss) for loss, _ in parts) / tokens.numel()

    def fill_in(self, k):
        rows = torch.randint(len(self.middles[0]), (self.micro,), device=self.model.device)
        tokens, learn = (x[rows] for x in self.middles)
        hidden = self.hidden(tokens, k)
        which = F.pad(learn[:, 1:], (0, 1))
        with torch.no_grad():
            loss, part = cross_entropy(hidden[which], tokens[:, 1:][learn[:, 1:]], self.model.embedding)
            gradient = torch.zeros_like(hidden)
            gradient[which] = part * (FIM_WEIGHT / max(1, len(part)))
        hidden.backward(gradient)
        return float(loss) / max(1, len(part))

    def step(self, number, rate):
        self.student.clear()
        ks = random.sample(EXPERTS, ACCUMULATED)
        losses = [self.distill(self.drawn(), k) for k in ks[1:]]
        filled = self.fill_in(ks[0])
        length = self.student.update(number, rate)
        return {"step": number, "kl": sum(losses) / len(losses), "fim": filled, "gradient": float(length), "lr": rate}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("cut")
    parser.add_argument("tokens")
    parser.add_argument("out")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--layers", type=int)
    o = parser.parse_args()
    start, big = time.time(), o.device == "cuda"
    random.seed(1)
    torch.manual_seed(1)
    gguf, z = Gguf(o.cut), dict(np.load(o.tokens, allow_pickle=True))
    model = Model(gguf, o.device, o.layers)
    student = Student(gguf, model)
    sizes = (1024, 16, 6144, 512, 40_000_000) if big else (128, 2, 6, 48, 4000)
    window, micro, n, length, n_middles = sizes
    middles = [windows(x, window).to(o.device) for x in holes(z, gguf.keys, n_middles, np.random.default_rng(3))]
    texts = pools(z, model, student.teacher, student.teacher_norms, window, n, length)
    held = {kind: x[-8:] for kind, x in texts.items()}
    trainer = Trainer(model, student, {kind: x[:-8] for kind, x in texts.items()}, middles, micro)
    print(json.dumps({kind: x.numel() for kind, x in texts.items()}), flush=True)
    if big:
        torch.cuda.empty_cache()
        model.layer_, trainer.divergence = torch.compile(model.layer), torch.compile(divergence)
    first, number = time.time(), 0
    while (done := (time.time() - first) / max(1, start + o.seconds - first)) < 1:
        number += 1
        line = trainer.step(number, o.lr * min(1, number / WARM_UP) * (1 - done))
        print(json.dumps({"seconds": round(time.time() - start, 1)} | line), flush=True)
    for k in (8, 10, 12, model.n_experts):
        with torch.no_grad():
            kl = {kind: trainer.distill(x, k, False) for kind, x in held.items() if len(x)}
            print(json.dumps({"experts": k} | kl))
    small = {name: x.detach().cpu().numpy() for name, x in student.small.items()}
    np.savez(o.out, blocks=packed(student.exact), **small)


if __name__ == "__main__":
    main()
