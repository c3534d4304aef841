"""Writes the golden files beside this script: what PyTorch computes, for the tests to compare with.

Run:    python tests/golden/generate.py            (writes every file)
        python tests/golden/generate.py layers     (writes layers.safetensors only)
Needs:  pip install torch numpy safetensors        (no GPU is used)

The present files were made with
    Python 3.11.7, PyTorch 2.15.0 (CPU, one thread), NumPy 2.3.5, safetensors 0.8.0, on x86-64 with AVX-512.

Every generator is seeded and nothing reads the clock, so the same versions on the same kind of processor write the same
bytes.
Another processor may change the last bits of transcendental functions.
The versions also stand in each file's metadata, under the one key `made_by` (one key, because the order of several is
not fixed by the format).

README.md beside this script lists what each file holds and how its tensors are named.
The files are never edited by hand: change a generator and run this again.
"""

import platform
import sys
import warnings
from pathlib import Path

sys.dont_write_bytecode = True

import numpy
import safetensors
import torch
from safetensors.torch import save_file

from generators import elementwise, gpt, layers, losses, movement, optimizers, reductions
from generators.record import Golden

# Name of the file, its seed, and the functions that fill it in order.
FILES = {
    "layers": (1, [layers.fill]),
    "losses": (2, [losses.fill]),
    "optimizers": (3, [optimizers.fill]),
    "ops": (4, [reductions.fill, elementwise.fill, movement.fill]),
    "gpt": (5, [gpt.fill]),
}


def versions() -> str:
    return (
        f"Python {platform.python_version()}, PyTorch {torch.__version__.split('+')[0]} (CPU), "
        f"NumPy {numpy.__version__}, safetensors {safetensors.__version__}"
    )


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)  # PyTorch remarks on the edge cases that are wanted here.
    torch.use_deterministic_algorithms(True)
    folder = Path(__file__).resolve().parent
    print(versions())
    for name in sys.argv[1:] or FILES:
        seed, fillers = FILES[name]
        golden = Golden(seed)
        for fill in fillers:
            fill(golden)
        path = folder / f"{name}.safetensors"
        save_file(golden.tensors, path, metadata={"made_by": versions()})
        print(f"{path.name}: {len(golden.tensors)} tensors, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
