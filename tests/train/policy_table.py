#!/usr/bin/env python3
# policy_table.py - the golden table of policy losses (policy_table.json), from their definitions
#
# Losses are computed in 80-bit floats and their gradients by central differences of the
# loss itself, so that no derivative is written twice.   python3 policy_table.py > policy_table.json
#
# SPDX-License-Identifier: PostgreSQL
import json
import numpy as np

L = np.longdouble
rng = np.random.default_rng(20260924)
lengths = [7, 3, 9, 5, 1, 6, 8, 4, 2, 5, 3, 6]      # three groups of four answers
rewards = [1.0, 0.0, 0.5, 1.0, -2.0, 0.25, 3.0, 0.0, 0.25, 0.25, 0.25, 0.25]   # the third has no spread
n = sum(lengths)
start = np.concatenate([[0], np.cumsum(lengths)])
logp = -rng.gamma(2.0, 0.6, n)
old = logp - rng.choice([-0.6, -0.15, -0.05, 0.0, 0.02, 0.1, 0.3, 0.9], n) - rng.normal(0, 0.01, n)
ref = logp + rng.normal(0, 0.3, n)
mask = np.ones(n, int)
mask[start[2]:start[3]] = 0                         # a truncated answer does not count
mask[start[5] + 4:start[6]] = 0


def advantages(scale):
    r = np.array(rewards, L).reshape(3, 4)
    centered = r - r.mean(1, keepdims=True)
    if scale == "group":
        centered = centered / (r.std(1, ddof=1, keepdims=True) + L(1e-4))
    if scale == "batch":
        centered = centered / (r.std(ddof=1) + L(1e-4))
    return centered.ravel()


def loss(o, x, adv):
    total, sums, counts = L(0), [], []
    for s in range(12):
        i = slice(start[s], start[s + 1])
        m = mask[i].astype(bool)
        d = (x[i] - old[i].astype(L))[m]
        if o["sequence"] and len(d):
            d = np.full_like(d, d.mean())
        r = np.exp(d)
        plain = np.minimum(r, L(o["delta"])) if o["delta"] else r
        clipped = np.clip(r, 1 - L(o["low"]), 1 + L(o["high"]))
        t = -np.minimum(plain * adv[s], clipped * adv[s])
        k = (ref[i].astype(L) - x[i])[m]
        t = t + L(o["beta"]) * (np.exp(k) - k - 1)
        sums.append(t.sum())
        counts.append(max(1, int(m.sum())))
    if o["mean"] == "grpo":
        return sum(a / c for a, c in zip(sums, counts)) / 12
    if o["mean"] == "dr_grpo":
        return sum(sums) / (12 * 10)
    return sum(sums) / mask.sum()                   # dapo; bnpo of a batch in one part


cases = []
for mean in ["grpo", "dapo", "bnpo", "dr_grpo"]:
    for sequence in [False, True]:
        for beta in [0.0, 0.04]:
            for delta, high, scale in [(0.0, 0.2, "group"), (1.5, 0.28, "none"), (0.0, 0.28, "batch")]:
                o = dict(mean=mean, sequence=sequence, beta=beta, delta=delta, low=0.2, high=high, scale=scale)
                adv, h = advantages(scale), L(1e-6)
                grad = []
                for i in range(n):
                    e = np.zeros(n, L)
                    e[i] = h
                    grad.append(float((loss(o, logp + e, adv) - loss(o, logp - e, adv)) / (2 * h)))
                cases.append(dict(o, loss=float(loss(o, logp.astype(L), adv)), grad=grad,
                                  advantage=[float(a) for a in adv]))
print(json.dumps(dict(start=start.tolist(), rewards=rewards, group=4, max_length=10, logp=logp.tolist(),
                      logp_old=old.tolist(), logp_ref=ref.tolist(), mask=mask.tolist(), cases=cases), indent=None))
