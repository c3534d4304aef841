"""PyTorch on the cases of `chainrule-bench bench`, measured in the same way.

    python3 benches/rivals/torch_gpu.py --device cuda:0
    chainrule-bench bench --device cuda:0 --rival python3      # both, case by case, with the ratio

Sets of inputs are used in turn that are together larger than the caches, batches of at least 200 us are timed between
two events after one call that is not counted, and the median of the batches is told with p10 and p90.
"""

import argparse
import contextlib
import json
import os
import sys
import time

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

BATCH_US, MIN_BATCHES, MAX_BATCHES = 200.0, 5, 1000
SETS_BYTES, MAX_SETS = 256 << 20, 64
DTYPES = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32, "f64": torch.float64}


def gpt_shapes(s):
    """The shapes of the parameters of a GPT-2, with the head tied to the embedding."""
    width = s["width"]
    shapes = [(s["vocab"], width), (s["context"], width)]
    for _ in range(s["layers"]):
        shapes += [(width,), (width,), (3 * width, width), (3 * width,), (width, width), (width,)]
        shapes += [(width,), (width,), (4 * width, width), (4 * width,), (width, 4 * width), (width,)]
    return shapes + [(width,), (width,)]


PRODUCTS = ("matmul", "matmul_tf32", "linear", "linear_gelu", "linear_add")


def flops(op, s):
    if op in PRODUCTS:
        return 2.0 * s["m"] * s["n"] * s["k"]
    if op.startswith("attention"):
        forward = 4.0 * s["batch"] * s["heads"] * s["len"] ** 2 * s["dim"] / (2 if s["causal"] else 1)
        return 2.5 * forward if op.endswith("backward") else forward
    return 0.0


def min_bytes(op, s, dtype):
    """Every input once and every result once."""
    size = dtype.itemsize
    if op == "copy":
        return 2.0 * s["elements"] * size
    if op in PRODUCTS:
        results = 2 if op in ("linear_gelu", "linear_add") else 1  # A GELU keeps its operand, a residual is read.
        return float(s["m"] * s["k"] + s["k"] * s["n"] + results * s["m"] * s["n"]) * size
    if op.startswith("attention"):
        return (8.0 if op.endswith("backward") else 4.0) * s["batch"] * s["heads"] * s["len"] * s["dim"] * size
    if op == "cross_entropy":
        return 2.0 * s["rows"] * s["classes"] * size
    if op == "adamw":
        return 28.0 * sum(torch.Size(shape).numel() for shape in gpt_shapes(s))
    return (3.0 if op.endswith("backward") else 2.0) * s["rows"] * s["cols"] * size


class Bench:
    def __init__(self, args):
        self.device = torch.device(args.device)
        self.on_gpu = self.device.type == "cuda"
        self.seconds, self.small, self.compiles = args.seconds, args.scale == "small", not args.no_compile

    def sync(self):
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    # How a time is taken.

    def batch_us(self, calls, count):
        """The microseconds of `count` calls together, after one that keeps the device busy while the first starts."""
        next(calls)()
        if not self.on_gpu:
            begin = time.perf_counter()
            for _ in range(count):
                next(calls)()
            return (time.perf_counter() - begin) * 1e6
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(count):
            next(calls)()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) * 1e3

    def measure(self, calls):
        def in_turn():
            while True:
                yield from calls

        turn = in_turn()
        for _ in range(3):  # Compiles, chooses kernels and allocates.
            next(turn)()
        self.sync()
        live = 0
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats(self.device)
            live = torch.cuda.memory_allocated(self.device)
        once_us = self.batch_us(turn, 1)
        extra = torch.cuda.max_memory_allocated(self.device) - live if self.on_gpu else None
        count = max(1, -int(-BATCH_US // max(once_us, 0.1)))
        self.batch_us(turn, count)
        begin, times = time.perf_counter(), []
        while len(times) < MIN_BATCHES or (len(times) < MAX_BATCHES and time.perf_counter() - begin < self.seconds):
            times.append(self.batch_us(turn, count) / count)
        self.sync()
        q = torch.tensor(times, dtype=torch.float64).quantile(torch.tensor([0.5, 0.1, 0.9], dtype=torch.float64))
        return {"median_us": q[0].item(), "p10_us": q[1].item(), "p90_us": q[2].item(), "extra_bytes": extra}

    # What a case is: its inputs, and for each implementation the call on one set of them.

    def normal(self, *shape, grad=False):
        return torch.randn(shape, dtype=self.dtype, device=self.device, requires_grad=grad)

    def inputs(self, op, s):
        if op == "copy":
            return (self.normal(s["elements"]),)
        if op in ("matmul", "matmul_tf32"):
            return self.normal(s["m"], s["k"]), self.normal(s["k"], s["n"])
        if op.startswith("linear"):
            # As in training, what a backward pass needs is kept: the inputs are tracked.
            grad = op == "linear_gelu"
            shapes = [(s["m"], s["k"]), (s["n"], s["k"]), (s["n"],)] + [(s["m"], s["n"])] * (op == "linear_add")
            return tuple(self.normal(*shape, grad=grad) for shape in shapes)
        grad = op.endswith("backward")
        if op.startswith("attention"):
            shape = (s["batch"], s["heads"], s["len"], s["dim"])
            return *(self.normal(*shape, grad=grad) for _ in range(3)), self.normal(*shape)
        if op.startswith("layer_norm"):
            x = self.normal(s["rows"], s["cols"], grad=grad)
            affine = [self.normal(s["cols"], grad=grad) for _ in range(2)]
            return x, *affine, self.normal(s["rows"], s["cols"])
        if op.startswith("softmax"):
            return self.normal(s["rows"], s["cols"], grad=grad), self.normal(s["rows"], s["cols"])
        if op == "cross_entropy":
            labels = torch.randint(0, s["classes"], (s["rows"],), device=self.device)
            return self.normal(s["rows"], s["classes"], grad=True), labels
        params = [torch.nn.Parameter(self.normal(*shape)) for shape in gpt_shapes(s)]
        for param in params:
            param.grad = self.normal(*param.shape)
        return (params,)

    def implementations(self, op, s):
        """Pairs of a name and `bind`, which makes a call of one set of inputs."""
        plain = {"copy": torch.clone, "matmul": torch.matmul, "linear": F.linear}
        if op in plain:
            return [("torch", contextlib.nullcontext, lambda *x: lambda: plain[op](*x))]
        if op == "matmul_tf32":
            return [("torch tf32", allowed_tf32, lambda *x: lambda: torch.matmul(*x))]
        call = lambda function: lambda *inputs: lambda: function(*inputs)
        if op == "linear_gelu":
            return self.eager_and_compiled(lambda *x: F.gelu(F.linear(*x), approximate="tanh"), call)
        if op == "linear_add":
            return self.eager_and_compiled(lambda x, weight, bias, residual: residual + F.linear(x, weight, bias), call)
        if op == "adamw":
            options = dict(lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
            return [("torch fused", contextlib.nullcontext, lambda params: torch.optim.AdamW(params, **options).step)]
        if op == "cross_entropy":
            step = lambda f: lambda x, labels: lambda: torch.autograd.grad(f(x, labels), x)
            return self.eager_and_compiled(F.cross_entropy, step)
        bind = backward if op.endswith("backward") else forward
        if op.startswith("attention"):
            function = lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=bool(s["causal"]))
            backends = [("default", None), ("flash", SDPBackend.FLASH_ATTENTION), ("cudnn", SDPBackend.CUDNN_ATTENTION)]
            within = lambda backend: lambda: sdpa_kernel(backend) if backend else contextlib.nullcontext()
            return [(f"torch {name}", within(backend), bind(function)) for name, backend in backends]
        if op.startswith("layer_norm"):
            return self.eager_and_compiled(lambda x, weight, bias: F.layer_norm(x, weight.shape, weight, bias), bind)
        return self.eager_and_compiled(lambda x: torch.softmax(x, -1), bind)

    def eager_and_compiled(self, function, bind):
        rows = [("torch eager", contextlib.nullcontext, bind(function))]
        if self.compiles:
            compiled = torch.compile(function, dynamic=False)
            rows.append(("torch compile", contextlib.nullcontext, bind(compiled)))
        return rows

    def rows(self, op, dtype, s):
        """The rows of a case; an implementation without a kernel for it says so."""
        self.dtype = dtype
        sets = [self.inputs(op, s)]
        count = 2 if self.small else min(SETS_BYTES // max(size_of(sets[0]), 1) + 1, MAX_SETS)
        sets += [self.inputs(op, s) for _ in range(count - 1)]
        rows = []
        for name, within, bind in self.implementations(op, s):
            torch._dynamo.reset()
            try:
                with within():
                    rows.append({"by": name, **self.measure([bind(*inputs) for inputs in sets])})
            except Exception as error:  # Whatever a backend refuses with is its row.
                rows.append({"by": name, "error": (str(error).strip() or type(error).__name__).splitlines()[0]})
        del sets
        if self.on_gpu:
            torch.cuda.empty_cache()
        return rows


@contextlib.contextmanager
def allowed_tf32():
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def size_of(inputs):
    tensors = inputs[0] if isinstance(inputs[0], list) else inputs
    return sum(x.numel() * x.element_size() for x in tensors)


def forward(function):
    """Calls without a record for gradients; the last input is the gradient of the result."""
    return lambda *inputs: lambda: function(*inputs[:-1])


def backward(function):
    def bind(*inputs):
        leaves, dy = inputs[:-1], inputs[-1]
        y = function(*leaves)
        return lambda: torch.autograd.grad(y, leaves, dy, retain_graph=True)

    return bind


def sizes_of(words):
    return {name: int(size) for name, size in (word.split("=") for word in words)}


# A run of its own: the table and the JSON of `chainrule-bench bench`.

HEAD = (
    f"{'op':18} {'case':48} {'dtype':5} {'by':14} {'median us':>11} {'p10':>11} {'p90':>11} {'TFLOP/s':>8} {'GB/s':>8} "
    f"{'of ceiling':>11} {'extra MB':>9} {'ratio':>7}"
)


def line(row, ceilings):
    start = f"{row['op']:18} {row['case']:48} {row['dtype']:5} {row['by']:14}"
    if "error" in row:
        return f"{start} {row['error']}"
    us = row["median_us"]
    row["tflops"] = row["flops"] / us / 1e6 if row["flops"] else None
    row["gbps"] = row["bytes"] / us / 1e3
    floors = [(row["bytes"] / ceilings["bytes"] * 1e6, "copy")]
    if row["flops"]:
        floors.append((row["flops"] / ceilings["flops"] * 1e6, "matmul"))
    floor, row["limit"] = max(floors)
    row["share"] = floor / us
    tflops = f"{row['tflops']:.1f}" if row["flops"] else "-"
    extra = "-" if row["extra_bytes"] is None else f"{row['extra_bytes'] / 1e6:.1f}"
    share = f"{100 * row['share']:.0f}% {row['limit']}"
    times = f"{us:>11.2f} {row['p10_us']:>11.2f} {row['p90_us']:>11.2f}"
    return f"{start} {times} {tflops:>8} {row['gbps']:>8.1f} {share:>11} {extra:>9} {'-':>7}"


def cases(scale, prefixes):
    """The wanted cases as (op, text, sizes), those that tell the ceilings apart."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "cases.txt")) as file:
        words = [text.split() for text in file if text.startswith(scale)]
    ceilings = [(op, sizes[:-1]) for _, op, *sizes in words if sizes[-1] == "ceiling=1"]
    others = [(op, sizes) for _, op, *sizes in words if sizes[-1] != "ceiling=1"]
    for prefix in prefixes:
        if not any(op.startswith(prefix) for op, _ in ceilings + others):
            sys.exit(f"error: no op starts with {prefix!r}")
    return ceilings, [case for case in others if not prefixes or case[0].startswith(tuple(prefixes))]


def run(bench, args):
    def rows_of(op, sizes):
        name = "f32" if op in ("adamw", "matmul_tf32") else args.dtype
        s, dtype = sizes_of(sizes), DTYPES[name]
        about = {"op": op, "case": " ".join(sizes), "dtype": name}
        about |= {"flops": flops(op, s), "bytes": min_bytes(op, s, dtype)}
        return [about | row for row in bench.rows(op, dtype, s)]

    first, others = cases(args.scale, [op for op in args.op.split(",") if op])
    print(f"{description(bench)}\n\n{HEAD}")
    rows = [row for case in first for row in rows_of(*case)]
    done = [row for row in rows if "error" not in row]
    rate = lambda work, of: max((row[work] / row["median_us"] * 1e6 for row in of), default=float("nan"))
    products, copies = ([row for row in done if bool(row["flops"]) is wanted] for wanted in (True, False))
    ceilings = {"flops": rate("flops", products), "bytes": rate("bytes", copies)}
    print("\n".join(line(row, ceilings) for row in rows))
    for case in others:
        for row in rows_of(*case):
            print(line(row, ceilings), flush=True)
            rows.append(row)
    if args.json:
        kept = [{key: value for key, value in row.items() if key not in ("flops", "bytes")} for row in rows]
        told = {"tflops": ceilings["flops"] / 1e12, "gbps": ceilings["bytes"] / 1e9}
        with open(args.json, "w") as file:
            json.dump({"rival": description(bench), "ceilings": told, "rows": kept}, file, indent=2)


def serve(bench):
    """Answers lines `op dtype sizes` until there are no more."""
    print(json.dumps({"ready": description(bench)}), flush=True)
    for text in sys.stdin:
        op, dtype, *sizes = text.split()
        try:
            answer = {"rows": bench.rows(op, DTYPES[dtype], sizes_of(sizes))}
        except Exception as error:
            answer = {"rows": [{"by": "torch", "error": f"{type(error).__name__}: {error}"}]}
        print(json.dumps(answer), flush=True)


def description(bench):
    hardware = torch.cuda.get_device_name(bench.device) if bench.on_gpu else "the host's processor"
    return f"torch {torch.__version__} on {bench.device} ({hardware})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0", help="cuda:0, cpu")
    parser.add_argument("--scale", choices=["full", "small"], default="full")
    parser.add_argument("--op", default="", help="only ops that start with one of these: matmul,attention")
    parser.add_argument("--dtype", choices=list(DTYPES), default="bf16")
    parser.add_argument("--seconds", type=float, default=0.3, help="how long each implementation of a case is repeated")
    parser.add_argument("--json", metavar="FILE", help="write the rows to this file")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--serve", action="store_true", help="answer cases on the standard input; chainrule-bench does")
    args = parser.parse_args()
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        message = f"torch {torch.__version__} finds no CUDA device; --device cpu --scale small shows that everything runs"
        if args.serve:
            print(json.dumps({"error": message}), flush=True)
            sys.exit(1)
        sys.exit(f"error: {message}")
    torch.manual_seed(1)
    bench = Bench(args)
    if bench.on_gpu:
        torch.cuda.set_device(bench.device)
    elif bench.small:
        torch.set_num_threads(1)  # Threads that wait for each other would take more time than tiny shapes do.
    serve(bench) if args.serve else run(bench, args)


if __name__ == "__main__":
    main()
