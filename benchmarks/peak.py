"""The machine's FMA peak in float32 or float64, measured: independent fused multiply-adds in registers, nothing else.

The kernel is LLVM IR with vectors of the machine's widest registers. Every accumulator is a chain of its own; there
are more chains than the latency times the number of FMA units, so that the units never wait. The operands are
unremarkable numbers: zeros or ones would let some cores clock higher than real work does.
"""

from __future__ import annotations

import ctypes
import threading
from dataclasses import dataclass

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from polydl.errors import ToolchainError

__all__ = ["Peak"]


@dataclass(frozen=True, slots=True)
class _Shape:
    """Bits of an element, vector lanes, and the number of chains that fit the register file beside the two operands."""

    bits: int
    lanes: int
    chains: int


def _native_shape(features: dict[str, bool], bits: int) -> _Shape:
    if features.get("avx512f"):
        return _Shape(bits, 512 // bits, 24)
    if features.get("fma"):
        return _Shape(bits, 256 // bits, 12)
    if features.get("neon") or llvm.get_process_triple().startswith("aarch64"):
        return _Shape(bits, 128 // bits, 24)
    raise ToolchainError(
        "the FMA peak cannot be measured here", why="the processor has no fused multiply-add"
    )


def _module(shape: _Shape) -> ir.Module:
    """`void peak(i64 rounds, element* data)`: data holds two operands and receives the chains' sum."""
    module = ir.Module("peak")
    module.triple = llvm.get_process_triple()
    element = ir.FloatType() if shape.bits == 32 else ir.DoubleType()
    integer, vector = ir.IntType(64), ir.VectorType(element, shape.lanes)
    pointer = vector.as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [integer, pointer]), "peak")
    rounds, data = function.args
    fma = ir.Function(module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{shape.lanes}f{shape.bits}")
    entry, loop, done = (function.append_basic_block(name) for name in ("entry", "loop", "done"))

    b = ir.IRBuilder(entry)
    factor, term = (b.load(b.gep(data, [integer(k)]), align=4) for k in range(2))
    # Distinct starting points, or the chains would be one.
    starts = [b.fadd(term, ir.Constant(vector, [float(k)] * shape.lanes)) for k in range(shape.chains)]
    b.branch(loop)

    b = ir.IRBuilder(loop)
    count = b.phi(integer)
    count.add_incoming(integer(0), entry)
    chains = [b.phi(vector) for _ in starts]
    following = [b.call(fma, [chain, factor, term]) for chain in chains]
    for chain, start, after in zip(chains, starts, following, strict=True):
        chain.add_incoming(start, entry)
        chain.add_incoming(after, loop)
    increased = b.add(count, integer(1))
    count.add_incoming(increased, loop)
    b.cbranch(b.icmp_unsigned("<", increased, rounds), loop, done)

    b = ir.IRBuilder(done)
    total = following[0]
    for other in following[1:]:
        total = b.fadd(total, other)
    b.store(total, data, align=4)
    b.ret_void()
    return module


class Peak:
    """A compiled peak kernel for elements of `bits`; `run()` does `flops` operations in all, on `threads` cores."""

    ROUNDS = 8_000_000  # of the loop in one run: some 20 ms

    def __init__(self, threads: int, bits: int = 32) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        features = llvm.get_host_cpu_features()
        shape = _native_shape(features, bits)
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=features.flatten(), opt=2
        )
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(_module(shape))), machine)
        self._engine.finalize_object()
        kind = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)
        self._function = kind(self._engine.get_function_address("peak"))
        self.threads = threads
        self.flops = threads * self.ROUNDS * shape.chains * shape.lanes * 2
        generator = np.random.default_rng(0)
        # x * factor + term with factor near 1 stays finite and never settles on a round number.
        factor = generator.uniform(0.9, 0.999, (threads, shape.lanes))
        term = generator.uniform(-1, 1, (threads, shape.lanes))
        self._data = np.stack([factor, term], axis=1).astype(f"f{bits // 8}")

    def run(self) -> None:
        others = [threading.Thread(target=self._one, args=(k,)) for k in range(1, self.threads)]
        for thread in others:
            thread.start()
        self._one(0)
        for thread in others:
            thread.join()

    def _one(self, thread: int) -> None:
        data = self._data[thread].copy()
        self._function(self.ROUNDS, data.ctypes.data)
