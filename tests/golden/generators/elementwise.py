"""Elementwise ops at their edges: extreme inputs, signed zeros, NaN, integer division, promotion and casts."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .record import Golden, tracked

NAN, INF = float("nan"), float("inf")
DTYPES = {"f32": torch.float32, "f64": torch.float64}

UNARY = {
    **{name: getattr(torch, name) for name in (
        "neg abs sign exp exp2 expm1 log log2 log10 log1p sqrt rsqrt reciprocal square sin cos tan asin acos atan "
        "sinh cosh tanh sigmoid relu erf floor ceil round trunc"
    ).split()},
    "leaky_relu": lambda x: F.leaky_relu(x, 0.01),
    "elu": lambda x: F.elu(x, 1.0),
    "elu_alpha_0.5": lambda x: F.elu(x, 0.5),
    "gelu": lambda x: F.gelu(x),
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "softplus": F.softplus,
    "mish": F.mish,
}
UNARY_POINTS = [
    -INF, -1e30, -1000.0, -100.0, -88.5, -50.0, -20.0, -10.0, -6.0, -3.0, -2.5, -1.5, -1.0, -0.75, -0.5, -0.1, -1e-3,
    -1e-6, -1e-30, -0.0, 0.0, 1e-30, 1e-6, 1e-3, 0.1, 0.5, 0.75, 1.0, 1.5, 2.5, 3.0, 3.5, 6.0, 10.0, 20.0, 20.5, 50.0,
    88.5, 100.0, 1000.0, 1e30, INF, NAN,
]  # fmt: skip
BINARY_POINTS = [-INF, -3.5, -2.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 2.0, 3.5, INF, NAN]

BINARY = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "div_floor": lambda a, b: torch.div(a, b, rounding_mode="floor"),
    "div_trunc": lambda a, b: torch.div(a, b, rounding_mode="trunc"),
    "remainder": torch.remainder,
    "fmod": torch.fmod,
    "pow": torch.pow,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "atan2": torch.atan2,
}
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_xor")

PROMOTION_ORDER = [
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool,
]  # fmt: skip


def fill(golden: Golden) -> None:
    unary(golden)
    binary_floats(golden)
    binary_integers(golden)
    clamp(golden)
    ternary(golden)
    promotion(golden)
    casts(golden)


def unary(golden: Golden) -> None:
    for dtype_name, dtype in DTYPES.items():
        prefix = f"unary.{dtype_name}"
        x = torch.tensor(UNARY_POINTS, dtype=torch.float32).to(dtype)
        dy = golden.normal(len(x), dtype=dtype)
        golden.save(f"{prefix}.x", x)
        golden.save(f"{prefix}.dy", dy)
        for op, function in UNARY.items():
            leaf = x.clone().requires_grad_(True)
            y = function(leaf)
            (dx,) = torch.autograd.grad(y, leaf, dy)
            golden.save(f"{prefix}.{op}.y", y)
            golden.save(f"{prefix}.{op}.dx", dx)
        for op in ("isnan", "isinf", "isfinite", "logical_not"):
            golden.save(f"{prefix}.{op}.y", getattr(torch, op)(x))


def binary_floats(golden: Golden) -> None:
    """Every pair of the points: `a` runs down the rows, `b` along the columns."""
    points = torch.tensor(BINARY_POINTS, dtype=torch.float32)
    for dtype_name, dtype in DTYPES.items():
        prefix = f"binary.{dtype_name}"
        inputs = {"a": points.to(dtype).reshape(-1, 1), "b": points.to(dtype).reshape(1, -1)}
        full = {name: value.expand(len(points), len(points)).contiguous() for name, value in inputs.items()}
        dy = golden.normal(len(points), len(points), dtype=dtype)
        golden.save_all(prefix, full | {"dy": dy})
        for op, function in BINARY.items():
            leaves = tracked(full)
            y = function(leaves["a"], leaves["b"])
            da, db = torch.autograd.grad(y, list(leaves.values()), dy, allow_unused=True)
            golden.save(f"{prefix}.{op}.y", y)
            golden.save(f"{prefix}.{op}.da", torch.zeros_like(full["a"]) if da is None else da)
            golden.save(f"{prefix}.{op}.db", torch.zeros_like(full["b"]) if db is None else db)
        for op in COMPARISONS:
            golden.save(f"{prefix}.{op}.y", getattr(torch, op)(full["a"], full["b"]))


def binary_integers(golden: Golden) -> None:
    """Integers by nonzero integers; true division of integers gives f32."""
    points = {
        "i64": torch.tensor([-9, -7, -3, -1, 1, 2, 3, 7, 9]),
        "i32": torch.tensor([-9, -7, -3, -1, 1, 2, 3, 7, 9]).int(),
        "u8": torch.tensor([1, 2, 3, 7, 9, 100, 200, 255]).to(torch.uint8),
    }
    for dtype_name, values in points.items():
        n, prefix = len(values), f"binary.{dtype_name}"
        a, b = values.reshape(-1, 1).expand(n, n), values.reshape(1, -1).expand(n, n)
        golden.save_all(prefix, {"a": a, "b": b})
        for op, function in BINARY.items():
            if op not in ("atan2", "pow"):
                golden.save(f"{prefix}.{op}.y", function(a, b))
    # A negative exponent gives the integer part of the true power, which is zero but for the bases 1 and -1.
    base, exponent = torch.tensor([-3, -1, 1, 2, 3]).reshape(-1, 1), torch.tensor([-2, -1, 0, 1, 2, 3, 5])
    golden.save("binary.i64.pow.a", base.expand(5, 7))
    golden.save("binary.i64.pow.b", exponent.expand(5, 7))
    golden.save("binary.i64.pow.y", torch.pow(base, exponent))
    # Integers wrap around.
    extreme = torch.tensor([2**63 - 1, -(2**63), 2**62, -1])
    golden.save("wrapping.i64.x", extreme)
    golden.save("wrapping.i64.add_1", extreme + 1)
    golden.save("wrapping.i64.mul_3", extreme * 3)
    golden.save("wrapping.i64.neg", -extreme)
    small = torch.tensor([0, 1, 127, 128, 255], dtype=torch.uint8)
    golden.save("wrapping.u8.x", small)
    golden.save("wrapping.u8.add_1", small + 1)
    golden.save("wrapping.u8.mul_3", small * 3)
    golden.save("wrapping.u8.neg", -small)


def clamp(golden: Golden) -> None:
    x = torch.tensor([-INF, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, INF, NAN], dtype=torch.float64)
    golden.case("clamp.both", lambda x: x.clamp(-1.0, 1.0), {"x": x})
    golden.case("clamp.min", lambda x: x.clamp(min=0.0), {"x": x})
    golden.case("clamp.max", lambda x: x.clamp(max=0.0), {"x": x})
    golden.case("clamp.crossed", lambda x: x.clamp(1.0, -1.0), {"x": x})


def ternary(golden: Golden) -> None:
    a, b, w = golden.normal(3, 4), golden.normal(3, 4), golden.uniform(3, 4, low=-0.5, high=1.5)
    golden.case("lerp", lambda a, b, weight: torch.lerp(a, b, weight), {"a": a, "b": b, "weight": w})
    golden.case(
        "addcmul", lambda x, a, b: torch.addcmul(x, a, b, value=0.5), {"x": w, "a": a, "b": golden.normal(4)}
    )
    # NaN in the branch not taken must not reach the gradient of the one that is.
    hole = b.clone()
    hole[0] = NAN
    mask = torch.ones(3, 4).bool()
    mask[0] = True
    mask[1] = False
    golden.case("where", lambda a, b, mask: torch.where(mask, a, b), {"a": a, "b": hole}, {"mask": mask})
    golden.case("masked_fill", lambda x, mask: x.masked_fill(mask, 7.0), {"x": hole}, {"mask": mask})


def promotion(golden: Golden) -> None:
    """Result dtypes as indices into `PROMOTION_ORDER`; -1 where PyTorch refuses."""
    order = PROMOTION_ORDER
    one = lambda dtype: torch.ones(1, dtype=dtype)

    def code(function) -> int:
        try:
            return order.index(function().dtype)
        except RuntimeError:
            return -1

    pairs = {"add": torch.add, "div": torch.div, "pow": torch.pow, "atan2": torch.atan2}
    for op, function in pairs.items():
        table = [[code(lambda: function(one(a), one(b))) for b in order] for a in order]
        golden.save(f"promotion.{op}", torch.tensor(table))
    scalars = [[code(lambda: one(a) + scalar) for scalar in (True, 2, 2.5)] for a in order]
    golden.save("promotion.add_scalar", torch.tensor(scalars))
    scalars = [[code(lambda: one(a) / scalar) for scalar in (True, 2, 2.5)] for a in order]
    golden.save("promotion.div_scalar", torch.tensor(scalars))
    # A tensor of no dims yields to one with dims of the same kind (row: dims, column: no dims).
    zero_dim = [[code(lambda: one(a) + one(b).squeeze()) for b in order] for a in order]
    golden.save("promotion.add_0d", torch.tensor(zero_dim))
    alone = {
        "sum": torch.sum, "prod": torch.prod, "mean": torch.mean, "cumsum": lambda x: x.cumsum(0),
        "exp": torch.exp, "sqrt": torch.sqrt, "sigmoid": torch.sigmoid, "neg": torch.neg, "abs": torch.abs,
        "floor": torch.floor, "round": torch.round, "sign": torch.sign, "square": torch.square,
        "reciprocal": torch.reciprocal, "argmax": torch.argmax, "amax": lambda x: x.amax(0),
    }  # fmt: skip
    for op, function in alone.items():
        golden.save(f"promotion.{op}", torch.tensor([code(lambda: function(one(a))) for a in order]))


def casts(golden: Golden) -> None:
    """Between floats: to nearest, ties to even, overflow to infinity. To integers: towards zero, inside the range."""
    x = torch.tensor(
        [0.0, -0.0, 0.5, -0.5, 1.5, -1.5, 2.5, 1.00390625, 1.01171875, 1.00048828125, 1.00146484375, 65504.0, 65519.0,
         65520.0, 1e5, -1e5, 3.3e38, 6e-8, 3e-8, 2.9e-8, 1e-40, 0.1, -0.1, 3.14159274, 1e-5, INF, -INF, NAN]
    )  # fmt: skip
    golden.save("cast.f32.x", x)
    golden.save("cast.f32.f16", x.half())
    golden.save("cast.f32.bf16", x.bfloat16())
    golden.save("cast.f32.f64", x.double())
    golden.save("cast.f32.bool", x.bool())
    wide = torch.tensor([0.1, 1 / 3, 1e39, -1e39, 1e-46, 1.0000000596046448, 1.0000001788139343, NAN], dtype=torch.float64)
    golden.save("cast.f64.x", wide)
    golden.save("cast.f64.f32", wide.float())
    inside = torch.tensor([0.0, 0.9, -0.9, 1.5, -1.5, 2.5, 100.7, -100.7])
    golden.save("cast.small.x", inside)
    golden.save("cast.small.i64", inside.long())
    golden.save("cast.small.i32", inside.int())
    golden.save("cast.small.u8_of_abs", inside.abs().to(torch.uint8))
    integers = torch.tensor([0, 1, -1, 255, 256, -256, 2**24 + 1, 2**53 + 1, 2**31, 2**40 + 7])
    golden.save("cast.i64.x", integers)
    golden.save("cast.i64.i32", integers.int())
    golden.save("cast.i64.u8", integers.to(torch.uint8))
    golden.save("cast.i64.f32", integers.float())
    golden.save("cast.i64.f64", integers.double())
    golden.save("cast.i64.bool", integers.bool())
