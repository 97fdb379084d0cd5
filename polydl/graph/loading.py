"""From a file to a structurally sound ONNX message, and from its tensors to arrays. Everything read here is
untrusted."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import AttributeProto, TensorProto

from polydl.errors import InvalidModel, ResourceLimit
from polydl.graph.ir import Array
from polydl.graph.limits import Limits
from polydl.graph.protobuf import dtype_of, tensor_array, type_name

__all__ = ["TensorReader", "read_model", "subgraphs"]


def read_model(path: Path, limits: Limits) -> onnx.ModelProto:
    """The message in `path`. InvalidModel where there is none, ResourceLimit where the file is too large."""
    where = str(path)
    try:
        status = path.stat()
    except OSError as e:
        raise InvalidModel("the model file cannot be read", where=where, why=e.strerror or str(e)) from e
    if not stat.S_ISREG(status.st_mode):
        raise InvalidModel(
            "the model is not a regular file", where=where, next="give the path of an .onnx file"
        )
    if status.st_size > limits.file_bytes:
        raise ResourceLimit(
            f"the model file has {status.st_size} bytes",
            where=where,
            why=f"the limit is {limits.file_bytes} bytes",
        )
    if status.st_size == 0:
        raise InvalidModel(
            "the model file is empty", where=where, next="check the download or export the model again"
        )
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except OSError as e:
        raise InvalidModel("the model file cannot be read", where=where, why=e.strerror or str(e)) from e
    except (DecodeError, ValueError) as e:
        raise InvalidModel(
            "the file is not an ONNX model",
            where=where,
            why="it is not a complete protobuf message: damaged, truncated, or of another format",
            next="check the file's size against the original, or export the model again",
        ) from e
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise InvalidModel(
            "the file holds no ONNX graph",
            where=where,
            why="it parses as a protobuf message but has neither nodes nor outputs",
            next="check that this is an .onnx file",
        )
    damaged = next((t for t in _texts(model) if isinstance(t, bytes)), None)
    if damaged is not None:
        raise InvalidModel(
            f"the model holds a name that is not text: {damaged!r}", where=where, why="it is not valid UTF-8"
        )
    return model


def _texts(message: Any) -> Iterator[object]:
    """All strings in a message; protobuf gives those that are not UTF-8 as bytes. Tensor contents are not looked at."""
    if isinstance(message, TensorProto):
        yield message.name
        yield from (text for e in message.external_data for text in (e.key, e.value))
        return
    for field, value in message.ListFields():
        several = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else (value,)
        if field.message_type is not None:
            for inner in several:
                yield from _texts(inner)
        elif field.type == field.TYPE_STRING:
            yield from several


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs in a node's attributes."""
    for a in node.attribute:
        if a.type == AttributeProto.GRAPH:
            yield a.g
        elif a.type == AttributeProto.GRAPHS:
            yield from a.graphs


@dataclass(slots=True)
class TensorReader:
    """Reads tensor messages, those with external data from files inside `folder` only; counts bytes against the
    limits."""

    folder: Path
    limits: Limits
    total: int = 0

    def read(self, t: TensorProto, where: str) -> Array:
        """The contents of `t`, read-only. InvalidModel or ResourceLimit before anything large is touched."""
        dtype = dtype_of(t.data_type)
        if dtype is None:
            raise InvalidModel(f"tensor '{t.name}' has {type_name(t.data_type)} elements", where=where)
        shape = tuple(int(d) for d in t.dims)
        if any(d < 0 for d in shape):
            raise InvalidModel(f"tensor '{t.name}' has a negative dimension: {list(shape)}", where=where)
        self.limits.check_tensor(shape, dtype.bytes, where)
        size = int(np.prod(shape, dtype=object)) * dtype.bytes
        self.total += size
        if self.total > self.limits.constant_bytes:
            raise ResourceLimit(
                f"the model's constants need more than {self.limits.constant_bytes} bytes",
                where=where,
                next="raise Limits.constant_bytes if the model is trusted",
            )
        if t.data_location != TensorProto.EXTERNAL:
            return tensor_array(t, where)
        array = np.frombuffer(self._external(t, size, where), dtype=dtype.numpy).reshape(shape)
        array.setflags(write=False)
        return array

    def _external(self, t: TensorProto, size: int, where: str) -> bytes:
        entries = {e.key: e.value for e in t.external_data}
        location = entries.get("location", "")
        place = f"{where}, data in '{location}'"
        offset, length = _number(entries.get("offset"), 0, place), _number(entries.get("length"), size, place)
        if length != size:
            raise InvalidModel(
                f"tensor '{t.name}' needs {size} bytes, its external data has {length}", where=place
            )
        descriptor = _open_inside(self.folder, location, place)
        with os.fdopen(descriptor, "rb") as file:
            available = os.fstat(file.fileno()).st_size
            if offset + length > available:
                raise InvalidModel(
                    f"external data of tensor '{t.name}' ends at byte {offset + length}, its file at {available}",
                    where=place,
                    next="copy the data file again, next to the model",
                )
            file.seek(offset)
            data = file.read(length)
        if len(data) != length:
            raise InvalidModel(f"the external data of tensor '{t.name}' cannot be read whole", where=place)
        return data


def _number(text: str | None, default: int, where: str) -> int:
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise InvalidModel(f"'{text}' is not an offset or length of external data", where=where)
    return int(text)


def _open_inside(folder: Path, location: str, where: str) -> int:
    """A descriptor of the regular file `location` below `folder`; no step of the way may be a symbolic link."""
    refusal = "external data must lie in the model's own folder or below it, without symbolic links"
    parts = PurePosixPath(location).parts
    windows = PureWindowsPath(location)
    if (
        not parts or ".." in parts or ".." in windows.parts or "\0" in location
        or PurePosixPath(location).is_absolute() or windows.drive or windows.root
    ):  # fmt: skip
        raise InvalidModel("the model names external data outside its folder", where=where, why=refusal)
    try:
        current = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        for i, part in enumerate(parts):
            kind = os.O_DIRECTORY if i + 1 < len(parts) else os.O_NONBLOCK
            try:
                following = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | kind, dir_fd=current)
            finally:
                os.close(current)
            current = following
    except OSError as e:
        raise InvalidModel(
            "the external data of the model cannot be opened",
            where=where,
            why=f"{e.strerror}; {refusal}",
            next="put the data file next to the model",
        ) from e
    if not stat.S_ISREG(os.fstat(current).st_mode):
        os.close(current)
        raise InvalidModel("the external data of the model is not a regular file", where=where, why=refusal)
    return current
