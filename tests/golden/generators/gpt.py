"""A tiny GPT and the first 50 steps of its training."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from .record import Golden, tracked

LAYERS, HEADS, WIDTH, CONTEXT, VOCAB = 2, 2, 16, 8, 11
STEPS, BATCH = 50, 4


def fill(golden: Golden) -> None:
    initial = parameters(golden)
    tokens, targets = data(golden)
    golden.save_all("init", initial)
    golden.save("tokens", tokens)
    golden.save("targets", targets)
    train(golden, "f32", initial, tokens, targets, torch.float32)
    train(golden, "f64", initial, tokens, targets, torch.float64)


def parameters(golden: Golden) -> dict[str, Tensor]:
    """Weights larger than a real start would have, and no neutral norms or biases, so that every gradient matters."""
    normal = lambda *shape: golden.normal(*shape, scale=0.2, dtype=torch.float32)
    shapes = {"wte.weight": (VOCAB, WIDTH), "wpe.weight": (CONTEXT, WIDTH)}
    for i in range(LAYERS):
        shapes |= {
            f"h.{i}.ln_1.weight": (WIDTH,),
            f"h.{i}.ln_1.bias": (WIDTH,),
            f"h.{i}.attn.in_proj_weight": (3 * WIDTH, WIDTH),
            f"h.{i}.attn.in_proj_bias": (3 * WIDTH,),
            f"h.{i}.attn.out_proj.weight": (WIDTH, WIDTH),
            f"h.{i}.attn.out_proj.bias": (WIDTH,),
            f"h.{i}.ln_2.weight": (WIDTH,),
            f"h.{i}.ln_2.bias": (WIDTH,),
            f"h.{i}.mlp.c_fc.weight": (4 * WIDTH, WIDTH),
            f"h.{i}.mlp.c_fc.bias": (4 * WIDTH,),
            f"h.{i}.mlp.c_proj.weight": (WIDTH, 4 * WIDTH),
            f"h.{i}.mlp.c_proj.bias": (WIDTH,),
        }
    shapes |= {"ln_f.weight": (WIDTH,), "ln_f.bias": (WIDTH,)}
    return {name: normal(*shape) + (1.0 if is_norm_scale(name) else 0.0) for name, shape in shapes.items()}


def is_norm_scale(name: str) -> bool:
    return "ln_" in name and name.endswith("weight")


def data(golden: Golden) -> tuple[Tensor, Tensor]:
    """Sequences where a token mostly follows from the one before, so that there is something to learn."""
    stream = torch.empty(STEPS, BATCH, CONTEXT + 1, dtype=torch.int64)
    stream[..., 0] = golden.integers(0, VOCAB, STEPS, BATCH)
    for t in range(CONTEXT):
        surprise = golden.integers(0, VOCAB, STEPS, BATCH)
        is_surprise = golden.integers(0, 5, STEPS, BATCH) == 0
        stream[..., t + 1] = torch.where(is_surprise, surprise, (3 * stream[..., t] + 1) % VOCAB)
    return stream[..., :-1], stream[..., 1:]


def forward(p: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """Logits [B, T, V] of a pre-norm GPT with learned positions and the head tied to the token embedding."""
    norm = lambda x, name: F.layer_norm(x, (WIDTH,), p[f"{name}.weight"], p[f"{name}.bias"], eps=1e-5)
    linear = lambda x, name: F.linear(x, p[f"{name}.weight"], p[f"{name}.bias"])
    x = p["wte.weight"][tokens] + p["wpe.weight"][: tokens.shape[1]]
    for i in range(LAYERS):
        normed = norm(x, f"h.{i}.ln_1")
        packed = F.linear(normed, p[f"h.{i}.attn.in_proj_weight"], p[f"h.{i}.attn.in_proj_bias"])
        x = x + linear(causal_attention(packed), f"h.{i}.attn.out_proj")
        hidden = F.gelu(linear(norm(x, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc"), approximate="tanh")
        x = x + linear(hidden, f"h.{i}.mlp.c_proj")
    return norm(x, "ln_f") @ p["wte.weight"].T


def causal_attention(packed: Tensor) -> Tensor:
    """packed [B, T, 3 C] holds q, k, v side by side; each splits into heads of width C / H."""
    batch, length, _ = packed.shape
    heads = [t.reshape(batch, length, HEADS, -1).transpose(1, 2) for t in packed.chunk(3, -1)]
    with sdpa_kernel(SDPBackend.MATH):
        y = F.scaled_dot_product_attention(*heads, is_causal=True)
    return y.transpose(1, 2).reshape(batch, length, WIDTH)


def train(golden: Golden, prefix: str, initial: dict[str, Tensor], tokens: Tensor, targets: Tensor, dtype) -> None:
    """Saves the first step's logits and gradients (before clipping), every loss and norm, and the last parameters."""
    p = tracked({name: value.to(dtype) for name, value in initial.items()})
    groups = [
        {"params": [value for value in p.values() if value.dim() >= 2], "weight_decay": 0.1},
        {"params": [value for value in p.values() if value.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=3e-3, betas=(0.9, 0.99), eps=1e-8, foreach=False)
    losses, norms = [], []
    for step in range(STEPS):
        optimizer.zero_grad()
        logits = forward(p, tokens[step])
        loss = F.cross_entropy(logits.flatten(0, 1), targets[step].flatten())
        loss.backward()
        if step == 0:
            golden.save(f"{prefix}.logits", logits)
            golden.save_all(f"{prefix}.grad", {name: value.grad for name, value in p.items()})
        norms.append(torch.nn.utils.clip_grad_norm_(p.values(), 1.0))
        optimizer.step()
        losses.append(loss.detach())
    golden.save(f"{prefix}.losses", torch.stack(losses))
    golden.save(f"{prefix}.grad_norms", torch.stack(norms))
    golden.save_all(f"{prefix}.final", p)
