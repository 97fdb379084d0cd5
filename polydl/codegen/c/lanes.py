"""Helpers that make, choose, combine and move lanes: splat, select, reductions, loads and stores of every kind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from polydl.codegen.c.library import X86_VECTORS, Library, halves, lanewise
from polydl.codegen.c.values import scalar_type, signed
from polydl.dtypes import I32, I64, U8, DType

__all__ = ["Lanes"]

_INSTRUCTIONS: Final = {"f32": "ps", "f64": "pd", "i32": "epi32", "u32": "epi32", "i64": "epi64", "u64": "epi64",
                        "i8": "epi8", "u8": "epi8", "i16": "epi16", "u16": "epi16"}  # fmt: skip


class Lanes:
    """Names of helpers for vectors of numbers (masks are vectors of signed integers)."""

    def __init__(self, library: Library) -> None:
        self.lib = library

    # ---- making vectors --------------------------------------------------------------------------

    def splat(self, dtype: DType, lanes: int) -> str:
        """splat_T(x): all lanes x."""
        vector = self.lib.type(dtype, lanes)
        body = [f"return {lanewise(vector, lanes, lambda k: 'x')};"]
        return self.lib.function(f"splat_{vector}", vector, f"{scalar_type(dtype)} x", lambda: body)

    def ramp(self, dtype: DType, lanes: int) -> str:
        """ramp_T(base, stride): base, base + stride, … (wrapping)."""
        vector, scalar = self.lib.type(dtype, lanes), scalar_type(dtype)
        wide = "uint64_t" if dtype.bits == 64 else "uint32_t"

        def lane(k: int) -> str:
            return f"({scalar})(({wide})base + {k}u * ({wide})stride)"

        body = [f"return {lanewise(vector, lanes, lane)};"]
        return self.lib.function(f"ramp_{vector}", vector, f"{scalar} base, {scalar} stride", lambda: body)

    def convert(self, to: DType, source: DType, lanes: int) -> str:
        """TO_from_SOURCE(v): C's conversion of each lane."""
        result, operand = self.lib.type(to, lanes), self.lib.type(source, lanes)
        body = [f"return __builtin_convertvector(v, {result});"]
        return self.lib.function(f"{result}_from_{operand}", result, f"{operand} v", lambda: body)

    # ---- choosing --------------------------------------------------------------------------------

    def select(self, dtype: DType, lanes: int) -> str:
        """select_T(mask, a, b): a where the mask is set."""
        vector, mask = self.lib.type(dtype, lanes), self.lib.mask(dtype, lanes)
        if lanes == 1:
            body = ["return mask ? a : b;"]
        else:
            body = [f"return ({vector})((mask & ({mask})a) | (~mask & ({mask})b));"]
        name = f"select_{self.lib.suffix(dtype, lanes)}"
        return self.lib.function(name, vector, f"{mask} mask, {vector} a, {vector} b", lambda: body)

    def mask_of(self, bits: int, lanes: int) -> str:
        """mask_T(condition): all lanes set, or none."""
        vector = self.lib.type(signed(bits), lanes)
        splat = self.splat(signed(bits), lanes)
        body = [f"return {splat}(condition ? -1 : 0);"]
        return self.lib.function(f"mask_{vector}", vector, "bool condition", lambda: body)

    def low(self, dtype: DType, lanes: int) -> str:
        return halves(self.lib, "low", dtype, lanes)

    def high(self, dtype: DType, lanes: int) -> str:
        return halves(self.lib, "high", dtype, lanes)

    def combine(self, name: str, dtype: DType, lanes: int, operation: list[str]) -> str:
        """reduce_NAME_T(v): all lanes combined by `operation[k]`, a format of {a} and {b} for 2^k lanes."""
        vector, scalar = self.lib.type(dtype, lanes), scalar_type(dtype)

        def body() -> Iterable[str]:
            a, b = f"{self.low(dtype, lanes)}(v)", f"{self.high(dtype, lanes)}(v)"
            whole = operation[(lanes // 2).bit_length() - 1].format(a=a, b=b)
            if lanes == 2:
                return [f"return ({scalar})({whole});"]
            return [f"return {self.combine(name, dtype, lanes // 2, operation)}({whole});"]

        return self.lib.function(f"reduce_{name}_{vector}", scalar, f"{vector} v", body)

    # ---- memory ----------------------------------------------------------------------------------

    def load(self, dtype: DType, lanes: int) -> str:
        """load_T(p): consecutive elements."""
        vector, inside = self.lib.type(dtype, lanes), self.lib.unaligned(dtype, lanes)
        body = [f"return *(const {inside} *)p;"]
        return self.lib.function(f"load_{vector}", vector, f"const {scalar_type(dtype)} *p", lambda: body)

    def store(self, dtype: DType, lanes: int) -> str:
        """store_T(p, v)."""
        vector, inside = self.lib.type(dtype, lanes), self.lib.unaligned(dtype, lanes)
        body = [f"*({inside} *)p = v;"]
        return self.lib.function(
            f"store_{vector}", "void", f"{scalar_type(dtype)} *p, {vector} v", lambda: body
        )

    def load_masked(self, dtype: DType, lanes: int) -> str:
        """load_masked_T(p, mask): consecutive elements, 0 and not accessed where the mask is not set."""
        vector, mask, scalar = self.lib.type(dtype, lanes), self.lib.mask(dtype, lanes), scalar_type(dtype)
        plain = lanewise(vector, lanes, lambda k: f"mask[{k}] ? p[{k}] : 0")
        body = self._masked(dtype, lanes, "return ({vector}){p}_maskz_loadu_{i}({k}, p);", f"return {plain};")
        return self.lib.function(
            f"load_masked_{vector}", vector, f"const {scalar} *p, {mask} mask", lambda: body
        )

    def store_masked(self, dtype: DType, lanes: int) -> str:
        """store_masked_T(p, v, mask)."""
        vector, mask, scalar = self.lib.type(dtype, lanes), self.lib.mask(dtype, lanes), scalar_type(dtype)
        plain = f"for (int k = 0; k < {lanes}; k++) if (mask[k]) p[k] = v[k];"
        body = self._masked(dtype, lanes, "{p}_mask_storeu_{i}(p, {k}, ({t})v);", plain)
        parameters = f"{scalar} *p, {vector} v, {mask} mask"
        return self.lib.function(f"store_masked_{vector}", "void", parameters, lambda: body)

    def _masked(self, dtype: DType, lanes: int, instruction: str, otherwise: str) -> list[str]:
        """AVX-512's masked instruction where the compiler may use it, else `otherwise`."""
        level = X86_VECTORS.get(dtype.bytes * lanes)
        if level is None or dtype.name not in _INSTRUCTIONS:
            return [otherwise]
        self.lib.intrinsics = True
        _, prefix, width = level
        kind = {"f32": "", "f64": "d"}.get(dtype.name, "i")
        move = f"{prefix}_movepi{dtype.bits}_mask((__m{width}i)mask)"
        text = instruction.format(
            vector=self.lib.type(dtype, lanes),
            p=prefix,
            i=_INSTRUCTIONS[dtype.name],
            k=move,
            t=f"__m{width}{kind}",
        )
        needs = "defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)"
        return [f"#if {needs}", text, "#else", otherwise, "#endif"]

    def strided(self, dtype: DType, lanes: int, masked: bool) -> str:
        """load_strided_T(p, stride[, mask]): p[0], p[stride], …"""
        vector, scalar = self.lib.type(dtype, lanes), scalar_type(dtype)
        if masked:
            body = [f"return {lanewise(vector, lanes, lambda k: f'mask[{k}] ? p[{k} * stride] : 0')};"]
            parameters = f"const {scalar} *p, int64_t stride, {self.lib.mask(dtype, lanes)} mask"
            return self.lib.function(f"load_strided_masked_{vector}", vector, parameters, lambda: body)
        body = [f"return {lanewise(vector, lanes, lambda k: f'p[{k} * stride]')};"]
        return self.lib.function(
            f"load_strided_{vector}", vector, f"const {scalar} *p, int64_t stride", lambda: body
        )

    def every_second(self, dtype: DType, lanes: int) -> str:
        """load_every_second_T(p): p[0], p[2], … as two overlapping vectors that end with the last element asked for."""
        vector, load = self.lib.type(dtype, lanes), self.load(dtype, lanes)
        picks = ", ".join(str(2 * k if 2 * k < lanes else 2 * k + 1) for k in range(lanes))
        body = [
            "#if POLYDL_SHUFFLE",
            f"return __builtin_shufflevector({load}(p), {load}(p + {lanes - 1}), {picks});",
            "#else",
            f"return {lanewise(vector, lanes, lambda k: f'p[{2 * k}]')};",
            "#endif",
        ]
        name = f"load_every_second_{vector}"
        return self.lib.function(name, vector, f"const {scalar_type(dtype)} *p", lambda: body)

    def gather(self, dtype: DType, lanes: int, masked: bool) -> str:
        """gather_T(p, index[, mask]): p[index[k]] in lane k."""
        vector, index, scalar = self.lib.type(dtype, lanes), self.lib.type(I64, lanes), scalar_type(dtype)
        if masked:
            body = [f"return {lanewise(vector, lanes, lambda k: f'mask[{k}] ? p[index[{k}]] : 0')};"]
            parameters = f"const {scalar} *p, {index} index, {self.lib.mask(dtype, lanes)} mask"
            return self.lib.function(f"gather_masked_{vector}", vector, parameters, lambda: body)
        body = [f"return {lanewise(vector, lanes, lambda k: f'p[index[{k}]]')};"]
        return self.lib.function(
            f"gather_{vector}", vector, f"const {scalar} *p, {index} index", lambda: body
        )

    def scatter(self, dtype: DType, lanes: int, strided: bool, masked: bool) -> str:
        """scatter_T or store_strided_T(p, index or stride, v[, mask]), lane by lane in order."""
        vector, scalar = self.lib.type(dtype, lanes), scalar_type(dtype)
        where = "int64_t stride" if strided else f"{self.lib.type(I64, lanes)} index"
        at = "k * stride" if strided else "index[k]"
        guard = "if (mask[k]) " if masked else ""
        name = f"{'store_strided' if strided else 'scatter'}{'_masked' if masked else ''}_{vector}"
        parameters = f"{scalar} *p, {where}, {vector} v"
        if masked:
            parameters += f", {self.lib.mask(dtype, lanes)} mask"
        body = [f"for (int k = 0; k < {lanes}; k++) {guard}p[{at}] = v[k];"]
        return self.lib.function(name, "void", parameters, lambda: body)

    # ---- masks -----------------------------------------------------------------------------------

    def any(self, bits: int, lanes: int) -> str:
        """any_T(mask): whether some lane is set."""
        return self._whole("any", bits, lanes, "|", "return {v} != 0;")

    def all(self, bits: int, lanes: int) -> str:
        """all_T(mask): whether every lane is set."""
        return self._whole("all", bits, lanes, "&", "return {v} != 0;")

    def _whole(self, name: str, bits: int, lanes: int, operator: str, finish: str) -> str:
        dtype = signed(bits)
        vector = self.lib.type(dtype, lanes)

        def body() -> Iterable[str]:
            parts = self.combine(name, dtype, lanes, [f"{{a}} {operator} {{b}}"] * 8)
            return [finish.format(v=f"{parts}(mask)")]

        return self.lib.function(f"{name}_{vector}", "bool", f"{vector} mask", body)

    def clamp(self) -> str:
        """clamp_i32(x, low, high): a 64-bit number brought between two small ones."""
        body = ["return x < low ? low : x > high ? high : (int32_t)x;"]
        return self.lib.function(
            "clamp_i32", scalar_type(I32), "int64_t x, int32_t low, int32_t high", lambda: body
        )

    def truth_bytes(self, lanes: int, bits: int) -> str:
        """bytes_T(mask): 1 in memory where the mask is set, else 0."""
        vector, mask = self.lib.type(U8, lanes), self.lib.type(signed(bits), lanes)
        body = [f"return __builtin_convertvector(mask, {vector}) & {self.splat(U8, lanes)}(1);"]
        return self.lib.function(f"bytes_{mask}", vector, f"{mask} mask", lambda: body)
