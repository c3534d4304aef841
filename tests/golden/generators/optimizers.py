"""Optimisers over 100 given gradients, gradient clipping, and schedules."""

import math

import torch
from torch import Tensor

from .record import Golden, exact_in_f32, tracked

STEPS = 100
SAVED_STEPS = (1, 10, 100)
DTYPES = {"f32": torch.float32, "f64": torch.float64}

# Case: optimiser and its arguments. `foreach=False` is the plain loop over parameters.
CASES = {
    "sgd.plain": (torch.optim.SGD, {"lr": 0.1}),
    "sgd.momentum": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    "sgd.dampening": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}),
    "sgd.nesterov": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "sgd.weight_decay": (torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.05}),
    "sgd.nesterov_weight_decay": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.05}),
    "adamw.plain": (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.0}),
    "adamw.weight_decay": (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
    "adamw.betas_eps": (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.01, "betas": (0.8, 0.95), "eps": 1e-3}),
    "adamw.amsgrad": (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.0, "amsgrad": True}),
    "adamw.amsgrad_weight_decay": (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1, "amsgrad": True}),
}


def fill(golden: Golden) -> None:
    traces(golden)
    clipping(golden)
    schedules(golden)


def traces(golden: Golden) -> None:
    start = {"w": golden.normal(3, 4), "b": golden.normal(5)}
    # Growing and shrinking gradients, so that the running maximum of AMSGrad differs from the running mean.
    size = 1.5 + torch.sin(torch.arange(STEPS) / 5)
    grads = {
        "w": exact_in_f32(golden.normal(STEPS, 3, 4) * size.reshape(-1, 1, 1)),
        "b": exact_in_f32(golden.normal(STEPS, 5) * size.reshape(-1, 1)),
    }
    golden.save_all("init", start)
    golden.save_all("grads", grads)
    for name, (kind, options) in CASES.items():
        make = lambda p, kind=kind, options=options: kind(list(p.values()), foreach=False, **options)
        trace(golden, name, make, start, grads)
    trace(golden, "adamw.groups", groups, start, grads)


def groups(p: dict[str, Tensor]) -> torch.optim.Optimizer:
    """The matrix decays and learns fast, the vector does neither."""
    settings = [
        {"params": [p["w"]], "lr": 0.01, "weight_decay": 0.1},
        {"params": [p["b"]], "lr": 0.001, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(settings, foreach=False)


def trace(golden: Golden, name: str, make, start: dict[str, Tensor], grads: dict[str, Tensor]) -> None:
    for dtype_name, dtype in DTYPES.items():
        parameters = tracked({key: value.to(dtype) for key, value in start.items()})
        optimizer = make(parameters)
        for step in range(STEPS):
            for key, parameter in parameters.items():
                parameter.grad = grads[key][step].to(dtype)
            optimizer.step()
            if step + 1 in SAVED_STEPS:
                golden.save_all(f"{name}.{dtype_name}.step_{step + 1}", parameters)


def clipping(golden: Golden) -> None:
    """Clipping two gradients by their joint norm (above and below the limit) and by value."""
    grads = {"w": golden.normal(3, 4), "b": golden.normal(5)}
    golden.save_all("clip.grads", grads)
    for name, limit in (("norm_1", 1.0), ("norm_100", 100.0)):
        parameters = with_grads(grads)
        norm = torch.nn.utils.clip_grad_norm_(parameters.values(), limit)
        golden.save(f"clip.{name}.total_norm", norm)
        golden.save_all(f"clip.{name}", {key: p.grad for key, p in parameters.items()})
    parameters = with_grads(grads)
    torch.nn.utils.clip_grad_value_(parameters.values(), 0.5)
    golden.save_all("clip.value_0.5", {key: p.grad for key, p in parameters.items()})


def with_grads(grads: dict[str, Tensor]) -> dict[str, Tensor]:
    parameters = {}
    for key, grad in grads.items():
        parameters[key] = torch.zeros_like(grad, requires_grad=True)
        parameters[key].grad = grad.clone()
    return parameters


def schedules(golden: Golden) -> None:
    """The learning rate used at steps 0 to 119, with a base rate of 0.1."""
    lr_scheduler = torch.optim.lr_scheduler
    kinds = {
        "linear": lambda o: lr_scheduler.LinearLR(o, start_factor=0.25, end_factor=1.0, total_iters=20),
        "linear_decay": lambda o: lr_scheduler.LinearLR(o, start_factor=1.0, end_factor=0.1, total_iters=100),
        "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=100, eta_min=0.01),
        "step": lambda o: lr_scheduler.StepLR(o, step_size=30, gamma=0.5),
    }
    for name, make in kinds.items():
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        schedule, rates = make(optimizer), []
        for _ in range(120):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        golden.save(f"schedule.{name}", torch.tensor(rates, dtype=torch.float64))
    rates = [warmup_cosine(step) for step in range(120)]
    golden.save("schedule.warmup_cosine", torch.tensor(rates, dtype=torch.float64))


def warmup_cosine(step: int, base=0.1, least=0.01, warmup=10, decay=100) -> float:
    """nanoGPT's `get_lr`: the first step already learns, the rate stays at its least after `decay`."""
    if step < warmup:
        return base * (step + 1) / (warmup + 1)
    if step > decay:
        return least
    ratio = (step - warmup) / (decay - warmup)
    return least + 0.5 * (1.0 + math.cos(math.pi * ratio)) * (base - least)
