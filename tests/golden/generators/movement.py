"""Matrix products, views, indexing and creation."""

import torch
import torch.nn.functional as F

from .record import Golden, tracked

NAN, INF = float("nan"), float("inf")

# Equation and operand shapes. The equation is part of the tensors' names.
EINSUMS = [
    ("ij,jk->ik", (3, 4), (4, 5)),
    ("ij,jk", (3, 4), (4, 5)),
    ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
    ("bhid,bhjd->bhij", (2, 2, 3, 4), (2, 2, 5, 4)),
    ("...ij,...jk->...ik", (2, 1, 3, 4), (5, 4, 2)),
    ("i,j->ij", (3,), (4,)),
    ("i,i->", (4,), (4,)),
    ("ij->ji", (3, 4)),
    ("ba", (3, 4)),
    ("ij->", (3, 4)),
    ("ij->j", (3, 4)),
    ("ii->", (4, 4)),
    ("ii->i", (4, 4)),
    ("bii->bi", (2, 4, 4)),
    ("ij,ij->i", (3, 4), (3, 4)),
    ("ijk,jil->kl", (2, 3, 4), (3, 2, 5)),
    ("bi,ijk,bk->bj", (2, 3), (3, 4, 5), (2, 5)),
    ("ij,jk,kl->il", (2, 3), (3, 4), (4, 5)),
    ("ij,k->jk", (3, 4), (2,)),
]
MATMULS = {
    "1d_1d": ((4,), (4,)),
    "2d_1d": ((3, 4), (4,)),
    "1d_2d": ((4,), (4, 5)),
    "2d_2d": ((3, 4), (4, 5)),
    "3d_1d": ((2, 3, 4), (4,)),
    "1d_3d": ((4,), (2, 4, 5)),
    "3d_2d": ((2, 3, 4), (4, 5)),
    "2d_3d": ((3, 4), (2, 4, 5)),
    "3d_3d": ((2, 3, 4), (2, 4, 5)),
    "4d_3d_broadcast": ((2, 1, 3, 4), (5, 4, 2)),
    "inner_zero": ((3, 0), (0, 5)),
    "outer_zero": ((0, 4), (4, 5)),
}


def fill(golden: Golden) -> None:
    products(golden)
    views(golden)
    indexing(golden)
    softmax_edges(golden)
    creation(golden)


def products(golden: Golden) -> None:
    for equation, *shapes in EINSUMS:
        operands = {name: golden.normal(*shape) for name, shape in zip("abc", shapes)}
        golden.case(f"einsum.{equation}", lambda **v: torch.einsum(equation, *v.values()), operands)
    for name, (left, right) in MATMULS.items():
        operands = {"a": golden.normal(*left), "b": golden.normal(*right)}
        golden.case(f"matmul.{name}", lambda a, b: a @ b, operands)


def views(golden: Golden) -> None:
    x = golden.normal(2, 9)
    golden.case("unfold.size_3_step_2", lambda x: x.unfold(1, 3, 2), {"x": x})
    golden.case("unfold.size_2_step_3", lambda x: x.unfold(1, 2, 3), {"x": x})
    golden.case("unfold.dim_0", lambda x: x.unfold(0, 2, 1), {"x": x})
    x = golden.normal(3, 4)
    golden.case("roll.dim_1_by_1", lambda x: x.roll(1, 1), {"x": x})
    golden.case("roll.dim_0_by_-1", lambda x: x.roll(-1, 0), {"x": x})
    golden.case("roll.dims_0_1_by_5_-2", lambda x: x.roll((5, -2), (0, 1)), {"x": x})
    golden.case("roll.flat_by_3", lambda x: x.roll(3), {"x": x})
    for offset in (-1, 0, 2):
        golden.case(f"diagonal.{offset}", lambda x: x.diagonal(offset), {"x": x})
        golden.case(f"tril.{offset}", lambda x: x.tril(offset), {"x": x})
        golden.case(f"triu.{offset}", lambda x: x.triu(offset), {"x": x})
    golden.case("pad.last_1_2", lambda x: F.pad(x, (1, 2), value=7.0), {"x": x})
    golden.case("pad.last_1_2_first_0_1", lambda x: F.pad(x, (1, 2, 0, 1), value=7.0), {"x": x})
    golden.case("pad.crop_-1_1", lambda x: F.pad(x, (-1, 1)), {"x": x})
    golden.case("repeat.2_3", lambda x: x.repeat(2, 3), {"x": x})
    golden.case("repeat.2_1_3", lambda x: x.repeat(2, 1, 3), {"x": x})
    pieces = torch.arange(10).chunk(4)
    golden.save("chunk.10_in_4.sizes", torch.tensor([len(piece) for piece in pieces]))
    for indexing_name in ("ij", "xy"):
        grids = torch.meshgrid(torch.arange(2), torch.arange(3), indexing=indexing_name)
        golden.save(f"meshgrid.{indexing_name}.0", grids[0])
        golden.save(f"meshgrid.{indexing_name}.1", grids[1])


def indexing(golden: Golden) -> None:
    """Every index list repeats one, so that the gradients have to add up."""
    x, src = golden.normal(4, 5), golden.normal(3, 5)
    index = torch.tensor([[0, 3, 1, 1, 2], [3, 3, 0, 2, 2], [0, 1, 1, 3, 2]])
    rows = torch.tensor([2, 0, 2])
    index_cols = torch.tensor([[0, 4], [1, 1], [3, 0], [2, 2]])
    golden.case("gather.dim_0", lambda x, index: x.gather(0, index), {"x": x}, {"index": index})
    golden.case("gather.dim_1", lambda x, index: x.gather(1, index), {"x": x}, {"index": index_cols})
    both = {"x": x, "src": src}
    golden.case("scatter_add.dim_0", lambda x, src, index: x.scatter_add(0, index, src), both, {"index": index})
    unique = torch.stack([torch.randperm(4, generator=golden.rng)[:3] for _ in range(5)], 1)
    golden.case("scatter.dim_0", lambda x, src, index: x.scatter(0, index, src), both, {"index": unique})
    golden.case("index_select.dim_0", lambda x, index: x.index_select(0, index), {"x": x}, {"index": rows})
    golden.case("index_select.dim_1", lambda x, index: x.index_select(1, index), {"x": x}, {"index": rows})
    golden.case("index_add.dim_0", lambda x, src, index: x.index_add(0, index, src), both, {"index": rows})
    mask = x > 0
    golden.case("masked_select", lambda x, mask: x.masked_select(mask), {"x": x}, {"mask": mask})


def softmax_edges(golden: Golden) -> None:
    rows = [
        [1000.0, 1001.0, 999.0], [-1000.0, -1001.0, -999.0], [1e30, -1e30, 0.0], [-INF, 1.0, 2.0], [INF, 1.0, 2.0],
        [-INF, -INF, -INF], [NAN, 1.0, 2.0], [0.0, 0.0, 0.0],
    ]  # fmt: skip
    x = torch.tensor(rows, dtype=torch.float64)
    for dim in (0, 1):
        golden.case(f"softmax.edges.dim_{dim}", lambda x: x.softmax(dim), {"x": x})
        golden.case(f"log_softmax.edges.dim_{dim}", lambda x: x.log_softmax(dim), {"x": x})


def creation(golden: Golden) -> None:
    f32, f64 = torch.float32, torch.float64
    golden.save("arange.0_1_0.1.f32", torch.arange(0, 1, 0.1, dtype=f32))
    golden.save("arange.0_1_0.1.f64", torch.arange(0, 1, 0.1, dtype=f64))
    golden.save("arange.1_-1_-0.3.f32", torch.arange(1, -1, -0.3, dtype=f32))
    golden.save("arange.5.i64", torch.arange(5))
    golden.save("arange.7_-3_-2.i64", torch.arange(7, -3, -2))
    golden.save("arange.3_3_1.i64", torch.arange(3, 3, 1))
    golden.save("linspace.-1_1_7.f32", torch.linspace(-1, 1, 7, dtype=f32))
    golden.save("linspace.0_1_11.f32", torch.linspace(0, 1, 11, dtype=f32))
    golden.save("linspace.0_1_11.f64", torch.linspace(0, 1, 11, dtype=f64))
    golden.save("linspace.3_-2_6.f64", torch.linspace(3, -2, 6, dtype=f64))
    golden.save("linspace.2_5_1.f64", torch.linspace(2, 5, 1, dtype=f64))
    golden.save("linspace.2_5_0.f64", torch.linspace(2, 5, 0, dtype=f64))
