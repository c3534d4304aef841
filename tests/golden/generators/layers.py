"""Layers and activations in float64: forward, and the gradient of every input and parameter."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from .record import Golden, exact_in_f32


def fill(golden: Golden) -> None:
    linear(golden)
    embedding(golden)
    norms(golden)
    activations(golden)
    attention(golden)
    multihead_attention(golden)
    lstm_cell(golden)


def linear(golden: Golden) -> None:
    x, weight, bias = golden.normal(2, 3, 5), golden.normal(4, 5), golden.normal(4)
    golden.case("linear", lambda x, weight, bias: F.linear(x, weight, bias), {"x": x, "weight": weight, "bias": bias})
    golden.case("linear_no_bias", lambda x, weight: F.linear(x, weight), {"x": x, "weight": weight})


def embedding(golden: Golden) -> None:
    weight = golden.normal(7, 4)
    ids = torch.tensor([[0, 2, 6, 2, 1], [3, 3, 2, 0, 5]])
    golden.case("embedding", lambda weight, ids: F.embedding(ids, weight), {"weight": weight}, {"ids": ids})
    golden.case(
        "embedding_padding",
        lambda weight, ids: F.embedding(ids, weight, padding_idx=2),
        {"weight": weight},
        {"ids": ids},
    )


def norms(golden: Golden) -> None:
    weight, bias = exact_in_f32(1 + golden.normal(8, scale=0.3)), golden.normal(8)
    affine = {"weight": weight, "bias": bias}

    def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        return F.layer_norm(x, (8,), weight, bias, eps=1e-5)

    def rms_norm(x: Tensor, weight: Tensor | None = None) -> Tensor:
        return F.rms_norm(x, (8,), weight, eps=1e-6)

    x = golden.normal(2, 3, 8)
    golden.case("layer_norm", layer_norm, {"x": x} | affine)
    golden.case("layer_norm_plain", layer_norm, {"x": x})
    # Mean 1e4 and deviation 1: "mean of squares minus squared mean" loses every digit in f32.
    golden.case("layer_norm_large_mean", layer_norm, {"x": exact_in_f32(x + 1e4)} | affine)
    golden.case("layer_norm_constant_row", layer_norm, {"x": torch.full((2, 8), 3.0, dtype=torch.float64)} | affine)
    golden.case("rms_norm", rms_norm, {"x": x, "weight": weight})
    golden.case("rms_norm_plain", rms_norm, {"x": x})
    golden.case("rms_norm_zero_row", rms_norm, {"x": torch.zeros(2, 8, dtype=torch.float64), "weight": weight})
    golden.case(
        "group_norm",
        lambda x, weight, bias: F.group_norm(x, 3, weight, bias, eps=1e-5),
        {"x": golden.normal(2, 6, 3, 5), "weight": golden.normal(6), "bias": golden.normal(6)},
    )


def activations(golden: Golden) -> None:
    x = golden.normal(4, 9, scale=3.0)
    golden.case("gelu", lambda x: F.gelu(x), {"x": x})
    golden.case("gelu_tanh", lambda x: F.gelu(x, approximate="tanh"), {"x": x})
    golden.case("silu", lambda x: F.silu(x), {"x": x})
    golden.case("softmax", lambda x: F.softmax(x, -1), {"x": x})
    golden.case("log_softmax", lambda x: F.log_softmax(x, -1), {"x": x})


def attention(golden: Golden) -> None:
    """`scaled_dot_product_attention` with q [B, H, Tq, D], k [B, Hkv, Tk, D], v [B, Hkv, Tk, Dv]."""

    def case(name: str, q: Tensor, k: Tensor, v: Tensor, bias=None, mask=None, **options) -> None:
        def forward(q, k, v, bias=None, mask=None):
            with sdpa_kernel(SDPBackend.MATH):
                return F.scaled_dot_product_attention(q, k, v, bias if mask is None else mask, **options)

        inputs = {"q": q, "k": k, "v": v} | ({} if bias is None else {"bias": bias})
        golden.case(f"attention.{name}", forward, inputs, {} if mask is None else {"mask": mask})

    q, k, v = golden.normal(2, 2, 5, 4), golden.normal(2, 2, 7, 4), golden.normal(2, 2, 7, 6)
    case("plain", q, k, v)
    case("scale", q, k, v, scale=0.3)
    case("causal", q, k[:, :, :5], v[:, :, :5], is_causal=True)
    # The mask of unequal lengths starts at the top left: query i sees keys 0..=i.
    case("causal_wide", q[:, :, :3], k, v, is_causal=True)
    case("causal_tall", q, k[:, :, :3], v[:, :, :3], is_causal=True)
    case("bias", q, k, v, bias=golden.normal(2, 2, 5, 7))
    case("bias_broadcast", q, k, v, bias=golden.normal(5, 7))
    mask = golden.integers(0, 2, 2, 1, 5, 7).bool()
    mask[..., 0] = True
    case("mask", q, k, v, mask=mask)
    # A query that may see nothing: its output and its gradients are zero.
    masked_row = mask.clone()
    masked_row[0, 0, 2] = False
    case("masked_row", q, k, v, mask=masked_row)
    # Keys past each sequence's length (4 and 7) are hidden.
    case("key_lengths", q, k, v, mask=torch.arange(7) < torch.tensor([4, 7]).reshape(2, 1, 1, 1))
    case("grouped_query", golden.normal(2, 4, 5, 4), k, v, enable_gqa=True)


def multihead_attention(golden: Golden) -> None:
    """`MultiheadAttention` of width 8 with 2 heads and the batch first: `in_proj_weight` packs q, k, v by rows."""
    module = torch.nn.MultiheadAttention(8, 2, batch_first=True, dtype=torch.float64)
    parameters = {
        "in_proj_weight": golden.normal(24, 8, scale=0.5),
        "in_proj_bias": golden.normal(24, scale=0.5),
        "out_proj.weight": golden.normal(8, 8, scale=0.5),
        "out_proj.bias": golden.normal(8, scale=0.5),
    }

    def forward(query: Tensor, key: Tensor | None, options: dict, parameters: dict[str, Tensor]) -> Tensor:
        key = query if key is None else key
        arguments = (query, key, key)
        return torch.func.functional_call(module, parameters, arguments, {"need_weights": False} | options)[0]

    def self_attention(x, mask=None, causal=False, **parameters):
        options = {"key_padding_mask": mask}
        if causal:
            options["attn_mask"] = torch.ones(x.shape[1], x.shape[1]).triu(1).bool()
        return forward(x, None, options, parameters)

    x, memory = golden.normal(2, 5, 8), golden.normal(2, 7, 8)
    mask = torch.tensor([[False] * 5, [False, False, False, True, True]])
    inputs = {"x": x} | parameters
    with sdpa_kernel(SDPBackend.MATH):
        golden.case("multihead_attention.self", self_attention, inputs)
        golden.case("multihead_attention.causal", lambda **v: self_attention(causal=True, **v), inputs)
        golden.case("multihead_attention.key_padding", self_attention, inputs, {"mask": mask})
        golden.case(
            "multihead_attention.causal_key_padding", lambda **v: self_attention(causal=True, **v), inputs, {"mask": mask}
        )
        golden.case(
            "multihead_attention.cross",
            lambda x, memory, **p: forward(x, memory, {}, p),
            {"x": x, "memory": memory} | parameters,
        )


def lstm_cell(golden: Golden) -> None:
    """`LSTMCell` of width 3 on 5 inputs; `y` is h' and c' side by side, so that one cotangent reaches both."""
    x, h, c = golden.normal(4, 5), golden.normal(4, 3), golden.normal(4, 3)
    weights = {"weight_ih": golden.normal(12, 5), "weight_hh": golden.normal(12, 3)}
    biases = {"bias_ih": golden.normal(12), "bias_hh": golden.normal(12)}
    modules = {bias: torch.nn.LSTMCell(5, 3, bias=bias, dtype=torch.float64) for bias in (False, True)}

    def step(x: Tensor, h: Tensor, c: Tensor, **parameters: Tensor) -> Tensor:
        states = torch.func.functional_call(modules["bias_ih" in parameters], parameters, (x, (h, c)))
        return torch.cat(states, -1)

    def steps(x: Tensor, **parameters: Tensor) -> Tensor:
        h = c = torch.zeros(4, 3, dtype=torch.float64)
        for x in x.unbind(1):
            h, c = step(x, h, c, **parameters).chunk(2, -1)
        return torch.cat((h, c), -1)

    states = {"x": x, "h": h, "c": c}
    golden.case("lstm_cell.one_step", step, states | weights | biases)
    golden.case("lstm_cell.no_bias", step, states | weights)
    # The gradient goes through the states of the steps between; those before the first are zero.
    golden.case("lstm_cell.three_steps", steps, {"x": golden.normal(4, 3, 5)} | weights | biases)
