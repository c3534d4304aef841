"""Losses in float64: value and gradient of the input under every reduction."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .record import Golden, exact_in_f32, tracked

REDUCTIONS = ("none", "mean", "sum")


def fill(golden: Golden) -> None:
    cross_entropy(golden)
    nll(golden)
    binary(golden)
    regression(golden)
    kl_div(golden)
    cosine_similarity(golden)


def loss(golden: Golden, prefix: str, function, constants: dict[str, Tensor], reductions=REDUCTIONS, **inputs) -> None:
    """Saves the inputs once, and `<prefix>.<reduction>.{y,dy,d<input>}`."""
    golden.save_all(prefix, inputs | constants)
    for reduction in reductions:
        leaves = tracked(inputs)
        golden.gradients(f"{prefix}.{reduction}", function(**leaves, **constants, reduction=reduction), leaves)


def cross_entropy(golden: Golden) -> None:
    input, target = golden.normal(6, 5, scale=2.0), torch.tensor([0, 4, 2, 2, 1, 3])
    weight = golden.uniform(5, low=0.25, high=2.0)

    def case(name: str, target: Tensor = target, input: Tensor = input, weight: Tensor | None = None, **options) -> None:
        constants = {"target": target} | ({} if weight is None else {"weight": weight})
        function = lambda **v: F.cross_entropy(**v, **options)
        loss(golden, f"cross_entropy.{name}", function, constants, input=input)

    ignored = torch.tensor([0, -100, 2, 2, -100, 3])
    case("plain")
    case("ignore_index", ignored)
    case("ignore_index_2", ignore_index=2)
    case("all_ignored", torch.full((6,), -100))
    case("label_smoothing", label_smoothing=0.1)
    case("weight", weight=weight)
    case("weight_smoothing", weight=weight, label_smoothing=0.1)
    case("weight_smoothing_ignore", ignored, weight=weight, label_smoothing=0.1)
    case("extreme", input=torch.tensor([[1e4, -1e4, 0.0, 5.0, 1.0]] * 6, dtype=torch.float64))
    case("minus_infinity", input=input.masked_fill(torch.eye(6, 5).roll(1, 1).bool(), -torch.inf))
    case("class_in_dim_1", golden.integers(0, 5, 2, 3), input=golden.normal(2, 5, 3))
    case("probabilities", exact_in_f32(golden.uniform(6, 5).softmax(-1)))


def nll(golden: Golden) -> None:
    input, target = exact_in_f32(golden.normal(6, 5).log_softmax(-1)), torch.tensor([0, 4, 2, 2, -100, 3])
    weight = golden.uniform(5, low=0.25, high=2.0)
    loss(golden, "nll.plain", F.nll_loss, {"target": target.clamp(min=0)}, input=input)
    loss(golden, "nll.ignore_index", F.nll_loss, {"target": target}, input=input)
    loss(golden, "nll.weight", F.nll_loss, {"target": target, "weight": weight}, input=input)


def binary(golden: Golden) -> None:
    target = golden.uniform(4, 3)
    target[0] = torch.tensor([0.0, 1.0, 0.0])
    weight = golden.uniform(4, 3, low=0.5, high=2.0)
    input = golden.uniform(4, 3, low=0.05, high=0.95)
    bce, with_logits = F.binary_cross_entropy, F.binary_cross_entropy_with_logits
    loss(golden, "bce.plain", bce, {"target": target}, input=input)
    loss(golden, "bce.weight", bce, {"target": target, "weight": weight}, input=input)
    # Probabilities of exactly 0 and 1: the logarithm is held at -100 and the gradient's divisor at 1e-12.
    edges = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    loss(golden, "bce.edges", bce, {"target": torch.tensor([0.0, 1.0, 0.0, 1.0]).double()}, input=edges)

    logits, pos_weight = golden.normal(4, 3, scale=3.0), golden.uniform(3, low=0.5, high=3.0)
    loss(golden, "bce_with_logits.plain", with_logits, {"target": target}, input=logits)
    loss(golden, "bce_with_logits.weight", with_logits, {"target": target, "weight": weight}, input=logits)
    loss(golden, "bce_with_logits.pos_weight", with_logits, {"target": target, "pos_weight": pos_weight}, input=logits)
    extreme = torch.tensor([-1000.0, -100.0, 0.0, 100.0, 1000.0], dtype=torch.float64)
    loss(golden, "bce_with_logits.extreme", with_logits, {"target": torch.ones(5).double()}, input=extreme)


def regression(golden: Golden) -> None:
    input, target = golden.normal(4, 3, scale=2.0), golden.normal(4, 3)
    # Equal, and exactly at the corners of the piecewise losses.
    input[0] = target[0]
    target[1] = 0.0
    input[1] = torch.tensor([1.0, -1.0, 0.5])
    loss(golden, "mse", F.mse_loss, {}, input=input, target=target)
    loss(golden, "l1", F.l1_loss, {}, input=input, target=target)
    for parameter in (1.0, 0.5):
        smooth = lambda parameter=parameter, **v: F.smooth_l1_loss(**v, beta=parameter)
        huber = lambda parameter=parameter, **v: F.huber_loss(**v, delta=parameter)
        loss(golden, f"smooth_l1.beta_{parameter}", smooth, {}, input=input, target=target)
        loss(golden, f"huber.delta_{parameter}", huber, {}, input=input, target=target)


def kl_div(golden: Golden) -> None:
    input = exact_in_f32(golden.normal(4, 5).log_softmax(-1))
    target = exact_in_f32(golden.normal(4, 5).softmax(-1))
    target[0, 0] = 0.0
    reductions = (*REDUCTIONS, "batchmean")
    log_target = exact_in_f32(target.clamp(min=1e-3).log())
    loss(golden, "kl_div.target", F.kl_div, {"target": target}, reductions, input=input)
    with_log = lambda **v: F.kl_div(**v, log_target=True)
    loss(golden, "kl_div.log_target", with_log, {"target": log_target}, reductions, input=input)


def cosine_similarity(golden: Golden) -> None:
    x1, x2 = golden.normal(4, 5), golden.normal(4, 5)
    golden.case("cosine_similarity.dim_1", lambda x1, x2: F.cosine_similarity(x1, x2, 1), {"x1": x1, "x2": x2})
    golden.case("cosine_similarity.dim_0", lambda x1, x2: F.cosine_similarity(x1, x2, 0), {"x1": x1, "x2": x2})
    zero = x1.clone()
    zero[1] = 0.0
    golden.case("cosine_similarity.zero_row", lambda x1, x2: F.cosine_similarity(x1, x2, 1), {"x1": zero, "x2": x2})
