"""`polydl explain`: what was done to every fused group, why it is legal, and how close to its limits the machine is."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polydl.cli.arrays import random_inputs
from polydl.cli.common import Common
from polydl.cli.console import quantity, seconds
from polydl.cli.program import ProgramPath
from polydl.cli.source import (
    Dims,
    Order,
    OrderName,
    PathOrProgram,
    Precision,
    Request,
    Shapes,
    TargetName,
    require_model,
)
from polydl.errors import UsageError
from polydl.targets import parse as parse_target

if TYPE_CHECKING:
    from polydl.compiler import GroupReport, Peak
    from polydl.runtime import StepTime

__all__ = ["explain"]


def explain(
    path: PathOrProgram,
    group: Annotated[
        str | None, typer.Option("--group", "-g", help="Only this fusion group.", show_default=False)
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, max=100_000, help="Measured runs.")] = 20,
    words: Annotated[
        bool,
        typer.Option(
            "--words",
            "-w",
            help="In words instead: what runs when, what each loop carries, which loops may be exchanged.",
        ),
    ] = False,
    order: OrderName = Order.COMPILED,
    target: TargetName = "native",
    shapes: Shapes = None,
    dims: Dims = None,
    precision: Precision = "f32",
    *,
    common: Common,
) -> None:
    """Explain each fused group: schedule, proof of legality, measured time, rate, roofline bound, percent of peak.

    A program in a Python file is explained in words, without a measurement.

    Examples:

    polydl explain model.onnx --threads 1

    polydl explain model.onnx --group conv1 --words

    polydl explain kernels.py:seidel --order optimized
    """
    program = ProgramPath.of(path)
    if program is not None:
        if group is not None or shapes or dims:
            raise UsageError(
                f"{program.file} holds programs, not a model", next="leave --group, --shape and --dim out"
            )
        schedule = program.schedule(order, parse_target(target))
        text = schedule.explain()
        data = {"trace": [t.to_json() for t in schedule.trace], "proof": schedule.proof(), "text": text}
        common.console.result({"source": path, "order": order.value, **data}, text)
        return
    require_model(order)
    request = Request.of(path, target, shapes, dims, precision)
    if words:
        text = _in_words(request, group, common)
        common.console.result({"model": path, "group": group, "text": text}, text)
        return
    compiled = request.compile(common)
    names = [report.name for report in compiled.groups]
    if group is not None and group not in names:
        raise UsageError(f"there is no group '{group}'", why=f"the groups are {', '.join(names)}")
    from polydl.compiler import measure_peak

    with compiled.module(common.threads) as module, common.console.progress("measuring") as progress:
        progress("every group", 0, 2)
        arrays = random_inputs(module.inputs, common.seed)
        times = module.profile(*[arrays[spec.name] for spec in module.inputs], rounds=rounds)
        progress("the machine's peak", 1, 2)
        peak = measure_peak(request.target, module.threads)
        progress("done", 2, 2)
        threads = module.threads
    total = sum(time.seconds for time in times)
    rows = [
        _measured(report, time, peak, total)
        for report, time in zip(compiled.groups, times, strict=True)
        if group is None or report.name == group
    ]
    head = (
        f"{path}, {threads} thread{'s' * (threads > 1)}: {len(times)} groups, {seconds(total)} in all; measured peak "
        f"{quantity(peak.flops_per_second, 'FLOP/s')}, {quantity(peak.bytes_per_second, 'B/s')}"
    )
    common.console.result(
        {
            "model": path,
            "threads": threads,
            "seconds": total,
            "peak": {"flops_per_second": peak.flops_per_second, "bytes_per_second": peak.bytes_per_second},
            "groups": rows,
        },
        "\n\n".join([head, *map(_text, rows)]),
    )


def _in_words(request: Request, group: str | None, common: Common) -> str:
    """`Schedule.explain()` of one group, or of all."""
    from polydl.compiler import stages

    with common.console.progress(f"compiling {request.path.name}") as progress:
        return stages(
            request.path,
            "explanation",
            group=group,
            target=request.target,
            shapes=request.shapes,
            dims=request.dims,
            progress=progress,
        )


def _measured(report: GroupReport, time: StepTime, peak: Peak, total: float) -> dict[str, Any]:
    """One group's numbers. Roofline bound: the longer of arithmetic at peak and least traffic at peak."""
    compute, memory = report.flops / peak.flops_per_second, report.bytes / peak.bytes_per_second
    bound = max(compute, memory)
    return {
        "name": report.name,
        "nodes": list(report.nodes),
        "schedule": report.schedule,
        "proof": report.proof,
        "flops": report.flops,
        "bytes": report.bytes,
        "seconds": time.seconds,
        "share": time.seconds / total if total else 0.0,
        "flops_per_second": time.flops_per_second,
        "bytes_per_second": time.bytes_per_second,
        "bound_seconds": bound,
        "bound_by": "arithmetic" if compute >= memory else "memory",
        "percent_of_roofline": 100 * bound / time.seconds if time.seconds else 0.0,
        "percent_of_peak": 100 * time.flops_per_second / peak.flops_per_second,
    }


def _text(row: dict[str, Any]) -> str:
    rate = (
        quantity(row["flops_per_second"], "FLOP/s")
        if row["bound_by"] == "arithmetic"
        else quantity(row["bytes_per_second"], "B/s")
    )
    lines = [
        f"{row['name']}  ({', '.join(row['nodes'])})",
        f"  time      {seconds(row['seconds'])}, {100 * row['share']:.1f} % of the run; {rate}",
        f"  roofline  {seconds(row['bound_seconds'])}, bound by {row['bound_by']}: "
        f"{row['percent_of_roofline']:.0f} % of it reached, {row['percent_of_peak']:.0f} % of the arithmetic peak",
        "  schedule",
        textwrap.indent(row["schedule"].rstrip(), "    "),
        "  legal",
        textwrap.indent(row["proof"].rstrip(), "    "),
    ]
    return "\n".join(lines)
