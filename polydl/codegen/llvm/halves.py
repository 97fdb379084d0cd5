"""Conversions between f16 and f32 for processors that have none: LLVM calls them by the names of libgcc's.

They are in the module, because neither libc nor a process that loads a package has them. Both work on the bits, as
F. Giesen describes (https://gist.github.com/rygorous/2156668): subnormals by an addition that the processor rounds.
"""

from __future__ import annotations

from typing import Final

from polydl.targets import Target

__all__ = ["half_ir"]

_HALVES: Final = """
define weak_odr hidden float @__extendhfsf2(half %x) #0 {
  %short = bitcast half %x to i16
  %wide = zext i16 %short to i32
  %all = shl i32 %wide, 13
  %bits = and i32 %all, 268427264 ; exponent and mantissa: 0x7fff << 13
  %exponent = and i32 %all, 260046848 ; 0x7c00 << 13
  %biased = add i32 %bits, 939524096 ; (127 - 15) << 23
  %endless = add i32 %biased, 939524096 ; infinities and nan have the largest exponent again
  %is.endless = icmp eq i32 %exponent, 260046848
  %usual = select i1 %is.endless, i32 %endless, i32 %biased
  %next = add i32 %biased, 8388608
  %shifted = bitcast i32 %next to float
  %tiny = fsub float %shifted, 0x3F10000000000000 ; 2^-14: what is left is the subnormal
  %tiny.bits = bitcast float %tiny to i32
  %is.tiny = icmp eq i32 %exponent, 0
  %chosen = select i1 %is.tiny, i32 %tiny.bits, i32 %usual
  %negative = and i32 %wide, 32768
  %sign = shl i32 %negative, 16
  %signed = or i32 %chosen, %sign
  %result = bitcast i32 %signed to float
  ret float %result
}

define weak_odr hidden half @__truncsfhf2(float %x) #0 {
  %all = bitcast float %x to i32
  %bits = and i32 %all, 2147483647
  %odd.place = lshr i32 %bits, 13
  %odd = and i32 %odd.place, 1
  %rebiased = add i32 %bits, -939520001 ; ((15 - 127) << 23) + 0xfff: half of the last place, less one
  %rounded = add i32 %rebiased, %odd ; ties to even
  %usual = lshr i32 %rounded, 13
  %small = bitcast i32 %bits to float
  %aligned = fadd float %small, 5.000000e-01 ; its last place is that of the subnormals, 2^-24
  %aligned.bits = bitcast float %aligned to i32
  %tiny = sub i32 %aligned.bits, 1056964608 ; the bits of 0.5
  %is.tiny = icmp ult i32 %bits, 947912704 ; 2^-14
  %finite = select i1 %is.tiny, i32 %tiny, i32 %usual
  %is.large = icmp uge i32 %bits, 1199570944 ; 2^16
  %bounded = select i1 %is.large, i32 31744, i32 %finite
  %kept = and i32 %odd.place, 511
  %nan = or i32 %kept, 32256
  %is.nan = icmp ugt i32 %bits, 2139095040
  %chosen = select i1 %is.nan, i32 %nan, i32 %bounded
  %sign.place = lshr i32 %all, 16
  %sign = and i32 %sign.place, 32768
  %signed = or i32 %chosen, %sign
  %short = trunc i32 %signed to i16
  %result = bitcast i16 %short to half
  ret half %result
}

@llvm.compiler.used = appending global [2 x ptr] [ptr @__extendhfsf2, ptr @__truncsfhf2], section "llvm.metadata"
"""


def half_ir(target: Target, text: str) -> str:
    """The conversions, for a module of `text` that needs them: empty where it has no f16, or the target has its own."""
    return _HALVES if target.arch == "x86-64" and not target.has("f16c") and "half" in text else ""
