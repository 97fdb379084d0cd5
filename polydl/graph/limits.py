"""What an untrusted model may ask for. Every limit is checked before anything of that size is allocated or read."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Final

from polydl.errors import ResourceLimit

__all__ = ["DEFAULT_LIMITS", "Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds on a model. `tensor_bytes` holds for each value, `constant_bytes` for all constants together.

    `fold_elements` bounds what is evaluated while a model is read; `fold_bytes` what constant folding may add to a
    model.
    """

    nodes: int = 100_000
    rank: int = 16
    file_bytes: int = 8 << 30
    tensor_bytes: int = 8 << 30
    constant_bytes: int = 16 << 30
    fold_elements: int = 1 << 16
    fold_bytes: int = 64 << 20

    def check_nodes(self, count: int, where: str) -> None:
        """ResourceLimit where a model has more than `nodes` nodes."""
        if count > self.nodes:
            raise ResourceLimit(
                f"the model has {count} nodes",
                where=where,
                why=f"the limit is {self.nodes} nodes",
                next="raise Limits.nodes if the model is trusted",
            )

    def check_tensor(self, shape: tuple[int, ...], itemsize: int, where: str) -> None:
        """ResourceLimit where a tensor of `shape` would be larger than `tensor_bytes`, or has too many dimensions."""
        if len(shape) > self.rank:
            raise ResourceLimit(
                f"a tensor has {len(shape)} dimensions",
                where=where,
                why=f"the limit is {self.rank} dimensions",
            )
        if any(d >= 1 << 31 for d in shape) or prod(shape) * itemsize > self.tensor_bytes:
            raise ResourceLimit(
                f"a tensor of shape [{', '.join(map(str, shape))}] needs {prod(shape) * itemsize} bytes",
                where=where,
                why=f"the limit is {self.tensor_bytes} bytes for one tensor and 2^31 - 1 for one dimension",
                next="check the model's shapes, or raise Limits.tensor_bytes if the model is trusted",
            )


DEFAULT_LIMITS: Final = Limits()
