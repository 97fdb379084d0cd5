"""`manifest.json`: what a package says about itself, written deterministically and read strictly.

Reading trusts nothing: the text has a size limit, every field its type and range, names their alphabet, and a checksum
over the whole catches accidental damage, which matters because wrong sizes would make sound code write out of bounds.
The checksum is no signature: a package contains machine code, so load only packages whose source you trust.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from polydl._version import __version__
from polydl.artifact import Artifact, Extent, StepInfo, TemporarySpec, TensorSpec
from polydl.dtypes import DType, by_name
from polydl.errors import InvalidPackage, InvalidProgram, UsageError
from polydl.runtime.memory import MAX_BYTES

__all__ = ["CODE", "MANIFEST", "WEIGHTS", "FileEntry", "Manifest", "decode", "encode", "is_file_name"]

MANIFEST, CODE, WEIGHTS = "manifest.json", "model.o", "weights.bin"
MAX_MANIFEST_BYTES: Final = 64 << 20
_FORMAT: Final = "polydl-package"
_VERSION: Final = 2
_MAX_ITEMS: Final = 1 << 20  # inputs, steps, files …
_MAX_RANK: Final = 64
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,200}")
_SYMBOL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,200}")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_KEYS: Final = frozenset({
    "format", "format_version", "polydl_version", "target", "entry", "inputs", "outputs", "sizes", "steps",
    "constants_bytes", "workspace_bytes", "scratch_bytes", "checks", "temporaries", "files", "info", "checksum",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class FileEntry:
    """Size and SHA-256 of a file of the package."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The decoded manifest; `artifact.code` is empty, the code is a file of its own."""

    artifact: Artifact
    files: Mapping[str, FileEntry]
    info: Mapping[str, Any]
    polydl_version: str


def is_file_name(name: str) -> bool:
    """Whether `name` may be a file of a package: one plain component, no hidden file, not the manifest."""
    return bool(_FILE_NAME.fullmatch(name)) and name != MANIFEST


def encode(artifact: Artifact, files: Mapping[str, FileEntry], info: Mapping[str, Any]) -> bytes:
    """The manifest's text: same arguments, same bytes. `info` is any JSON object; UsageError when it is not."""
    document: dict[str, Any] = {
        "format": _FORMAT,
        "format_version": _VERSION,
        "polydl_version": __version__,
        "target": {"triple": artifact.triple, "cpu": artifact.cpu, "features": list(artifact.features)},
        "entry": artifact.entry,
        "inputs": [_spec(spec) for spec in artifact.inputs],
        "outputs": [_spec(spec) for spec in artifact.outputs],
        "sizes": list(artifact.sizes),
        "steps": [{"name": s.name, "flops": s.flops, "bytes": s.bytes} for s in artifact.steps],
        "constants_bytes": artifact.constants_bytes,
        "workspace_bytes": artifact.workspace_bytes,
        "scratch_bytes": artifact.scratch_bytes,
        "checks": list(artifact.checks),
        "temporaries": [
            {"name": t.name, "dtype": t.dtype.name, "shape": [_extent(e) for e in t.shape]}
            for t in artifact.temporaries
        ],
        "files": {name: {"bytes": entry.bytes, "sha256": entry.sha256} for name, entry in files.items()},
    }
    try:
        document["info"] = json.loads(
            json.dumps(dict(info), allow_nan=False)
        )  # as it will be read: keys are texts
        document["checksum"] = _checksum(document)
        text = json.dumps(document, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False)
        return text.encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError("the package's info is not a JSON object", why=str(error)) from error


def decode(text: bytes, where: str) -> Manifest:
    """Check and decode a manifest; `where` names it in errors. InvalidPackage for what `encode` does not write."""
    if len(text) > MAX_MANIFEST_BYTES:
        raise InvalidPackage(f"the manifest is larger than {MAX_MANIFEST_BYTES} bytes", where=where)
    try:
        document = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidPackage("the manifest is not JSON", where=where, why=str(error)) from error
    reader = _Reader(where)
    top = reader.object(document, "the manifest", None)
    if top.get("format") != _FORMAT:
        raise InvalidPackage("this is not a polydl package", where=where, why=f'"format" is not "{_FORMAT}"')
    version = reader.integer(top.get("format_version"), "format_version")
    if version != _VERSION:
        raise InvalidPackage(
            f"the package has format version {version}, this polydl reads version {_VERSION}", where=where,
            next="build the package again with this version of polydl",
        )  # fmt: skip
    reader.object(top, "the manifest", _KEYS)
    if reader.text(top["checksum"], "checksum") != _checksum(
        {k: v for k, v in top.items() if k != "checksum"}
    ):
        raise reader.error("the checksum of the manifest is wrong: the file is damaged")
    target = reader.object(top["target"], "target", {"triple", "cpu", "features"})
    artifact = Artifact(
        code=b"",
        entry=reader.text(top["entry"], "entry", _SYMBOL),
        inputs=tuple(
            reader.spec(e, f"inputs[{i}]") for i, e in enumerate(reader.items(top["inputs"], "inputs"))
        ),
        outputs=tuple(
            reader.spec(e, f"outputs[{i}]") for i, e in enumerate(reader.items(top["outputs"], "outputs"))
        ),
        sizes=reader.texts(top["sizes"], "sizes"),
        steps=tuple(reader.step(e, f"steps[{i}]") for i, e in enumerate(reader.items(top["steps"], "steps"))),
        constants_bytes=reader.integer(top["constants_bytes"], "constants_bytes"),
        workspace_bytes=reader.integer(top["workspace_bytes"], "workspace_bytes"),
        scratch_bytes=reader.integer(top["scratch_bytes"], "scratch_bytes"),
        triple=reader.text(target["triple"], "target.triple"),
        cpu=reader.text(target["cpu"], "target.cpu"),
        features=reader.texts(target["features"], "target.features"),
        checks=reader.texts(top["checks"], "checks"),
        temporaries=tuple(
            reader.temporary(e, f"temporaries[{i}]")
            for i, e in enumerate(reader.items(top["temporaries"], "temporaries"))
        ),
    )
    unknown = {n for t in artifact.temporaries for e in t.shape for n in e.names()} - set(artifact.sizes)
    if unknown:
        raise reader.error(f"temporaries depend on {', '.join(sorted(unknown))}, which is no size")
    for kind, specs in (("input", artifact.inputs), ("output", artifact.outputs)):
        if len({spec.name for spec in specs}) != len(specs):
            raise reader.error(f"two {kind}s have the same name")
    files = reader.object(top["files"], "files", None)
    entries = {name: reader.file(name, entry) for name, entry in files.items()}
    for name in (CODE, WEIGHTS):
        if name not in entries:
            raise reader.error(f"'files' lacks {name}")
    if entries[WEIGHTS].bytes != artifact.constants_bytes:
        raise reader.error(f"{WEIGHTS} has another size than the code's constants")
    info = reader.object(top["info"], "info", None)
    return Manifest(artifact, entries, info, reader.text(top["polydl_version"], "polydl_version"))


class _Reader:
    """Typed access to decoded JSON; every mismatch is an InvalidPackage that names the field."""

    def __init__(self, where: str) -> None:
        self._where = where

    def error(self, what: str) -> InvalidPackage:
        return InvalidPackage(f"invalid manifest: {what}", where=self._where, next="build the package again")

    def object(self, value: Any, field: str, keys: frozenset[str] | set[str] | None) -> dict[str, Any]:
        if not isinstance(value, dict) or (keys is not None and set(value) != keys):
            wanted = (
                "an object" if keys is None else f"an object with {', '.join(sorted(keys))} and nothing else"
            )
            raise self.error(f"{field} is not {wanted}")
        return value

    def items(self, value: Any, field: str) -> list[Any]:
        if not isinstance(value, list) or len(value) > _MAX_ITEMS:
            raise self.error(f"{field} is not a list of at most {_MAX_ITEMS} entries")
        return value

    def text(self, value: Any, field: str, pattern: re.Pattern[str] | None = None) -> str:
        if not isinstance(value, str) or (pattern is not None and not pattern.fullmatch(value)):
            raise self.error(f"{field} is not a valid text")
        return value

    def texts(self, value: Any, field: str) -> tuple[str, ...]:
        return tuple(self.text(entry, f"{field}[{i}]") for i, entry in enumerate(self.items(value, field)))

    def integer(self, value: Any, field: str, limit: int = MAX_BYTES) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= limit:
            raise self.error(f"{field} is not a whole number from 0 to {limit}")
        return value

    def spec(self, value: Any, field: str) -> TensorSpec:
        name, dtype, shape = self._tensor(value, field)
        extents = tuple(e if isinstance(e, str) else self.integer(e, f"{field}.shape") for e in shape)
        if math.prod(e for e in extents if not isinstance(e, str)) * dtype.bytes > MAX_BYTES:
            raise self.error(f"{field} is larger than any memory")
        return TensorSpec(name, dtype, extents)

    def temporary(self, value: Any, field: str) -> TemporarySpec:
        name, dtype, shape = self._tensor(value, field)
        extents = tuple(self.extent(e, f"{field}.shape", 0) for e in shape)
        return TemporarySpec(name, dtype, extents)

    def _tensor(self, value: Any, field: str) -> tuple[str, DType, list[Any]]:
        """Name, element type and the extents, which are not looked at yet."""
        entry = self.object(value, field, {"name", "dtype", "shape"})
        try:
            dtype = by_name(self.text(entry["dtype"], f"{field}.dtype"))
        except InvalidProgram as error:
            raise self.error(f"{field}.dtype: {error.what}") from error
        shape = self.items(entry["shape"], f"{field}.shape")
        if len(shape) > _MAX_RANK:
            raise self.error(f"{field}.shape has more than {_MAX_RANK} axes")
        return self.text(entry["name"], f"{field}.name"), dtype, shape

    def extent(self, value: Any, field: str, depth: int) -> Extent:
        entry = self.object(value, field, {"constant", "terms"})
        if depth > _MAX_RANK:
            raise self.error(f"{field} is nested too deeply")
        terms = []
        for item in self.items(entry["terms"], field):
            parts = self.items(item, field)
            if len(parts) != 3:
                raise self.error(f"{field} has a term that is not coefficient, term and divisor")
            factor, term, divisor = parts
            what = term if isinstance(term, str) else self.extent(term, field, depth + 1)
            number = self.signed(factor, field)
            if self.integer(divisor, field) == 0:
                raise self.error(f"{field} divides by 0")
            terms.append((number, what, divisor))
        return Extent(self.signed(entry["constant"], field), tuple(terms))

    def signed(self, value: Any, field: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MAX_BYTES:
            raise self.error(f"{field} is not a whole number of at most {MAX_BYTES}")
        return value

    def step(self, value: Any, field: str) -> StepInfo:
        entry = self.object(value, field, {"name", "flops", "bytes"})
        flops = self.integer(entry["flops"], f"{field}.flops", 1 << 62)
        return StepInfo(
            self.text(entry["name"], f"{field}.name"),
            flops,
            self.integer(entry["bytes"], f"{field}.bytes", 1 << 62),
        )

    def file(self, name: str, value: Any) -> FileEntry:
        if not is_file_name(name):
            raise self.error(f"'{name}' is no file name of a package")
        entry = self.object(value, f"files.{name}", {"bytes", "sha256"})
        size = self.integer(entry["bytes"], f"files.{name}.bytes")
        return FileEntry(size, self.text(entry["sha256"], f"files.{name}.sha256", _HASH))


def _spec(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "dtype": spec.dtype.name, "shape": list(spec.shape)}


def _extent(extent: Extent) -> dict[str, Any]:
    return {
        "constant": extent.constant,
        "terms": [[c, t if isinstance(t, str) else _extent(t), d] for c, t, d in extent.terms],
    }


def _checksum(document: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical text of everything but the checksum."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("an object has the same key twice")
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
