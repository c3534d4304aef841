"""Reductions, cumulative ops, sorting: NaN, ties, infinities, zeros, empty and single-element inputs."""

import torch
from torch import Tensor

from .record import Golden

NAN, INF = float("nan"), float("inf")

# Reductions of `x` over `dim` (None: over all), with a gradient.
FLOAT_REDUCTIONS = {
    "sum": lambda x, dim: x.sum() if dim is None else x.sum(dim),
    "mean": lambda x, dim: x.mean() if dim is None else x.mean(dim),
    "prod": lambda x, dim: x.prod() if dim is None else x.prod(dim),
    "logsumexp": lambda x, dim: x.logsumexp((0, 1) if dim is None else dim),
    "var": lambda x, dim: x.var(dim, correction=1),
    "var_correction_0": lambda x, dim: x.var(dim, correction=0),
    "std": lambda x, dim: x.std(dim, correction=1),
    "std_correction_0": lambda x, dim: x.std(dim, correction=0),
    "norm_1": lambda x, dim: torch.linalg.vector_norm(x, 1, dim),
    "norm_2": lambda x, dim: torch.linalg.vector_norm(x, 2, dim),
    "norm_3": lambda x, dim: torch.linalg.vector_norm(x, 3, dim),
    "norm_inf": lambda x, dim: torch.linalg.vector_norm(x, INF, dim),
}
# These have no value over nothing: PyTorch raises an error when a reduced dim has size 0.
ORDER_REDUCTIONS = {
    "amax": lambda x, dim: x.amax((0, 1) if dim is None else dim),
    "amin": lambda x, dim: x.amin((0, 1) if dim is None else dim),
    "max": lambda x, dim: x.max() if dim is None else x.max(dim),
    "min": lambda x, dim: x.min() if dim is None else x.min(dim),
}
DIMS = {"dim_0": 0, "dim_1": 1, "all": None}


def fill(golden: Golden) -> None:
    for name, x in float_inputs(golden).items():
        reduce_floats(golden, f"reduce.{name}", x)
    for name, x in integer_inputs().items():
        reduce_integers(golden, f"reduce.{name}", x)
    large_mean(golden)
    cumulative(golden)
    sorting(golden)


def float_inputs(golden: Golden) -> dict[str, Tensor]:
    matrix = lambda rows: torch.tensor(rows, dtype=torch.float64)
    return {
        "plain": golden.normal(3, 5),
        "ties": matrix([[1, 3, 3, 2, 3], [-1, -1, -1, -1, -1], [0.0, -0.0, 0.0, 0.5, 0.5]]),
        "nan": matrix([[1, NAN, 3, 2, 5], [NAN, 4, 1, NAN, 0], [1, 2, 3, 4, 5]]),
        "infinite": matrix([[1, INF, 3, 2, INF], [-INF, 4, 1, 2, -INF], [INF, -INF, 1, 2, 3], [-INF] * 5]),
        "zeros": matrix([[2, 3, 0.5, 4, 5], [2, 0, 3, 4, 5], [0, 3, 0, 4, 5], [0] * 5]),
        "huge": matrix([[1000, 1001, 999, 1000, 1000.5], [-1000, -1001, -999, -1000, -1000.5]]),
        "no_rows": torch.zeros(0, 3, dtype=torch.float64),
        "no_cols": torch.zeros(3, 0, dtype=torch.float64),
        "one_col": matrix([[1], [2], [NAN]]),
    }


def integer_inputs() -> dict[str, Tensor]:
    x = torch.tensor([[3, 1, 3, 0, 2], [7, 7, 7, 7, 7], [0, 0, 1, 0, 0]])
    return {
        "i64": x * torch.tensor([1, -1, 1, 1, -1]),
        "i32": (x * torch.tensor([1, -1, 1, 1, -1])).int(),
        "u8": (x * 30).to(torch.uint8),
        "bool": x.bool(),
    }


def reduce_floats(golden: Golden, prefix: str, x: Tensor) -> None:
    golden.save(f"{prefix}.x", x)
    for dim_name, dim in DIMS.items():
        size = x.numel() if dim is None else x.shape[dim]
        names = dict(FLOAT_REDUCTIONS)
        if size > 0:
            names |= ORDER_REDUCTIONS
            save_indices(golden, prefix, dim_name, x, dim)
        else:
            del names["norm_inf"]
        for op, function in names.items():
            leaf = x.clone().requires_grad_(True)
            y = function(leaf, dim)
            if isinstance(y, tuple):
                golden.save(f"{prefix}.{op}.{dim_name}.index", y.indices)
                y = y.values
            golden.gradients(f"{prefix}.{op}.{dim_name}", y, {"x": leaf})
        golden.save(f"{prefix}.any.{dim_name}.y", x.any() if dim is None else x.any(dim))
        golden.save(f"{prefix}.all.{dim_name}.y", x.all() if dim is None else x.all(dim))


def save_indices(golden: Golden, prefix: str, dim_name: str, x: Tensor, dim: int | None) -> None:
    golden.save(f"{prefix}.argmax.{dim_name}.y", x.argmax(dim))
    golden.save(f"{prefix}.argmin.{dim_name}.y", x.argmin(dim))


def reduce_integers(golden: Golden, prefix: str, x: Tensor) -> None:
    """The dtype of each result is part of the answer: sums and products of integers are i64."""
    golden.save(f"{prefix}.x", x)
    for dim_name, dim in DIMS.items():
        over = {} if dim is None else {"dim": dim}
        for op in ("sum", "prod", "any", "all"):
            golden.save(f"{prefix}.{op}.{dim_name}.y", getattr(x, op)(**over))
        for op in ("amax", "amin"):
            golden.save(f"{prefix}.{op}.{dim_name}.y", getattr(x, op)(**(over or {"dim": (0, 1)})))
        if x.dtype != torch.bool:
            save_indices(golden, prefix, dim_name, x, dim)


def large_mean(golden: Golden) -> None:
    """Deviation 1 around a mean of 1e6: wrong in f32 unless the variance takes two passes (or Welford's one)."""
    x = golden.normal(3, 100, dtype=torch.float32) + 1e6
    golden.save("large_mean.x", x)
    golden.save("large_mean.mean_f64", x.double().mean(1))
    golden.save("large_mean.var_f64", x.double().var(1))
    golden.save("large_mean.std_f64", x.double().std(1))


def cumulative(golden: Golden) -> None:
    inputs = {
        "plain": golden.normal(3, 5),
        "zeros": torch.tensor([[2, 0, 3, 4, 5], [0, 3, 0, 4, 5], [2, 3, 4, 5, 0]], dtype=torch.float64),
        "nan": torch.tensor([[2, NAN, 3, 0, 5], [1, 3, INF, 4, 0]], dtype=torch.float64),
        "no_cols": torch.zeros(3, 0, dtype=torch.float64),
    }
    for name, x in inputs.items():
        for dim in (0, 1):
            golden.case(f"cumsum.{name}.dim_{dim}", lambda x: x.cumsum(dim), {"x": x})
            golden.case(f"cumprod.{name}.dim_{dim}", lambda x: x.cumprod(dim), {"x": x})
    for name, x in integer_inputs().items():
        golden.save(f"cumsum.{name}.x", x)
        golden.save(f"cumsum.{name}.y", x.cumsum(1))
        golden.save(f"cumprod.{name}.x", x)
        golden.save(f"cumprod.{name}.y", x.cumprod(1))


def sorting(golden: Golden) -> None:
    """Sorts are stable here, so the indices of ties are fixed; NaN counts as the largest value."""
    inputs = {
        "plain": golden.normal(3, 7),
        "ties": torch.tensor([[2, 1, 2, 3, 1, 2, 3], [0.0, -0.0, 0.0, -0.0, 1, 1, -1]], dtype=torch.float64),
        "nan": torch.tensor([[2, NAN, 1, INF, -INF, NAN, 3]], dtype=torch.float64),
        "i64": torch.tensor([[3, -1, 3, 2, 0, -1, 7]]),
    }
    for name, x in inputs.items():
        golden.save(f"sort.{name}.x", x)
        for order, descending in (("ascending", False), ("descending", True)):
            for dim in (0, 1):
                values, indices = x.sort(dim=dim, descending=descending, stable=True)
                golden.save(f"sort.{name}.{order}.dim_{dim}.y", values)
                golden.save(f"sort.{name}.{order}.dim_{dim}.index", indices)
    # Which of several equal values topk reports is not specified, so these have none.
    for name, x in {"plain": inputs["plain"], "nan": torch.tensor([[2, NAN, 1, INF, -INF, 0, 3]]).double()}.items():
        for kind, largest in (("largest", True), ("smallest", False)):
            leaf = x.clone().requires_grad_(True)
            values, indices = leaf.topk(3, 1, largest=largest, sorted=True)
            golden.save(f"topk.{name}.{kind}.x", x)
            golden.save(f"topk.{name}.{kind}.index", indices)
            golden.gradients(f"topk.{name}.{kind}", values, {"x": leaf})
