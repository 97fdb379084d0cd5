"""Damaged models end in one of our errors, or in a graph that keeps its contract; never in another exception."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest

from models.table import NETWORKS, build
from polydl.errors import PolydlError
from polydl.graph import Limits, load_model, optimize
from polydl.graph.importer import import_model

LIMITS = Limits(tensor_bytes=1 << 26, constant_bytes=1 << 28)
SOURCES = ("mlp", "shufflenet_v2", "mobilenet_v3_small", "vit-tiny")
EXTREMES = (
    -1,
    0,
    1,
    2,
    3,
    -2,
    7,
    1000,
    1 << 16,
    1 << 31,
    (1 << 31) - 1,
    1 << 40,
    1 << 62,
    -(1 << 63),
    (1 << 63) - 1,
)


def numbers(message: Any) -> Iterator[tuple[Any, Any]]:
    """All integer fields of a message that have a value."""
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else [value]:
                yield from numbers(inner)
        elif field.type in (field.TYPE_INT64, field.TYPE_INT32, field.TYPE_UINT64, field.TYPE_ENUM):
            yield message, field


@pytest.mark.parametrize("name", SOURCES)
def test_extreme_numbers(name: str) -> None:
    original = build(name, **NETWORKS[name].small)
    rng = random.Random(name)
    imported = 0
    for _ in range(60):
        model = onnx.ModelProto()
        model.CopyFrom(original)
        message, field = rng.choice(list(numbers(model)))
        try:
            if field.is_repeated:
                values = getattr(message, field.name)
                values[rng.randrange(len(values))] = rng.choice(EXTREMES)
            else:
                setattr(message, field.name, rng.choice(EXTREMES))
        except (ValueError, OverflowError):
            continue  # the field is too narrow for the number
        try:
            graph = import_model(model, "damaged", Path("/nonexistent"), limits=LIMITS)
            optimize(graph).verify()
            imported += 1
        except PolydlError:
            continue
    assert imported, "some numbers do not matter"


def test_damaged_bytes(tmp_path: Path) -> None:
    original = build("mlp", **NETWORKS["mlp"].small)
    for t in original.graph.initializer:
        t.ClearField("raw_data")  # what is left is structure: every byte counts
    content = original.SerializeToString()
    rng = random.Random(0)
    path = tmp_path / "model.onnx"
    refused = 0
    for _ in range(400):
        data = bytearray(content)
        for _ in range(rng.choice((1, 1, 3))):
            place = rng.randrange(len(data))
            match rng.randrange(3):
                case 0:
                    data[place] = rng.randrange(256)
                case 1:
                    del data[place : place + rng.randrange(1, 8)]
                case _:
                    data[place:place] = rng.randbytes(rng.randrange(1, 5))
        path.write_bytes(data)
        try:
            load_model(path, limits=LIMITS)
        except PolydlError:
            refused += 1
    assert refused > 200
