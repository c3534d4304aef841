"""Collects named tensors, and records a function with its gradients in one call."""

import torch
from torch import Tensor


class Golden:
    """The tensors of one file, and the random numbers that its inputs are drawn from."""

    def __init__(self, seed: int):
        self.tensors: dict[str, Tensor] = {}
        self.rng = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int, scale: float = 1.0, dtype=torch.float64) -> Tensor:
        """Normal values that f32 holds exactly, so that a test in f32 starts from the same inputs as one in f64."""
        return (torch.randn(shape, generator=self.rng) * scale).to(dtype)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0, dtype=torch.float64) -> Tensor:
        """Uniform values in [low, high) that f32 holds exactly."""
        return (torch.rand(shape, generator=self.rng) * (high - low) + low).to(dtype)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Integers in [low, high)."""
        return torch.randint(low, high, shape, generator=self.rng)

    def cotangent(self, y: Tensor) -> Tensor:
        """A random upstream gradient for `y`."""
        return self.normal(*y.shape, dtype=y.dtype)

    def save(self, name: str, value: Tensor) -> None:
        assert name not in self.tensors, f"{name} is saved twice"
        self.tensors[name] = value.detach().clone().contiguous()

    def save_all(self, prefix: str, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            self.save(f"{prefix}.{name}", value)

    def gradients(self, prefix: str, y: Tensor, inputs: dict[str, Tensor], dy: Tensor | None = None) -> None:
        """Saves `y`, a cotangent `dy` and the gradient `d<name>` of every input."""
        dy = self.cotangent(y) if dy is None else dy
        grads = torch.autograd.grad(y, list(inputs.values()), dy, allow_unused=True)
        self.save(f"{prefix}.y", y)
        self.save(f"{prefix}.dy", dy)
        for (name, x), dx in zip(inputs.items(), grads):
            self.save(f"{prefix}.d{name}", torch.zeros_like(x) if dx is None else dx)

    def case(self, prefix: str, function, inputs: dict[str, Tensor], constants: dict[str, Tensor] | None = None) -> None:
        """Saves inputs and constants under their names, then `y`, `dy` and the gradients of `function` at the inputs."""
        constants = constants or {}
        self.save_all(prefix, inputs | constants)
        leaves = tracked(inputs)
        self.gradients(prefix, function(**leaves, **constants), leaves)


def exact_in_f32(values: Tensor) -> Tensor:
    """The same values rounded to what f32 holds, in f64."""
    return values.float().double()


def tracked(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies that PyTorch differentiates."""
    return {name: value.detach().clone().requires_grad_(True) for name, value in values.items()}
