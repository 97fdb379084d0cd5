"""The LLVM back end: programs of loop IR to object code for x86-64 and AArch64."""

from __future__ import annotations

from polydl.codegen.llvm.compile import compile_program, emit_asm, emit_llvm, lower

__all__ = ["compile_program", "emit_asm", "emit_llvm", "lower"]
