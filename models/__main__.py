"""`python -m models resnet50 -o resnet50.onnx`: write networks to files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import onnx

from models import NETWORKS, build, count_parameters
from polydl.errors import PolydlError, UsageError

_OPTIONS = {
    "seed": (int, "of the random weights (default 0)"),
    "opset": (int, "operator set version (default 17)"),
    "batch": (int, "batch size (default 1)"),
    "image": (int, "image side in pixels"),
    "width": (float, "multiplies every channel count"),
    "classes": (int, "number of classes"),
    "tokens": (int, "sequence length"),
    "layers": (int, "number of layers"),
    "vocabulary": (int, "number of words"),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m models", description="Write network architectures as ONNX files."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NETWORKS))
    parser.add_argument("--all", action="store_true", help="every network")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path(), help="a file, or with several names a folder"
    )
    for name, (kind, text) in _OPTIONS.items():
        parser.add_argument(f"--{name}", type=kind, help=text)
    return parser


def _write(name: str, path: Path, options: dict[str, int | float]) -> None:
    model = build(name, **options)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, path)
    except OSError as error:
        raise UsageError(f"cannot write {path}", why=str(error)) from error
    size = path.stat().st_size / 2**20
    print(f"{path}: {len(model.graph.node)} nodes, {count_parameters(model):,} parameters, {size:.1f} MiB")


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    parsed = parser.parse_args(arguments)
    names = list(NETWORKS) if parsed.all else parsed.names
    if not names:
        parser.error("name a network, or give --all")
    options = {name: getattr(parsed, name) for name in _OPTIONS if getattr(parsed, name) is not None}
    single = len(names) == 1 and parsed.output.suffix == ".onnx"
    try:
        for name in names:
            # With --all an option goes to those that have it; by name, a wrong option is an error.
            known = NETWORKS[name].options if name in NETWORKS else ()
            taken = {key: value for key, value in options.items() if not parsed.all or key in known}
            _write(name, parsed.output if single else parsed.output / f"{name}.onnx", taken)
    except PolydlError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
