"""LLVM IR of the one way threads wait: a spin of bounded time, then sleep in the kernel (futex).

Part of the calling convention, hence beside `artifact.py`: barriers in generated code and the runtime's thread teams
wait through the same two functions. Both work on a 32-bit *word* that some thread will change and a 32-bit count of
the *sleepers* on it; whoever changes the word calls `polydl_wake` afterwards, which is two instructions when
nobody sleeps. Neither keeps state of its own. Linux only: the symbol `syscall` comes from the C library.

Why no wake-up is lost: the sleeper does `sleepers += 1` and then reads the word, the waker writes the word and
then reads `sleepers`, all sequentially consistent, so at least one sees the other; and the kernel compares the word
again before it puts a thread to sleep.
"""

from __future__ import annotations

from typing import Final

from polydl.errors import ToolchainError

__all__ = ["spinwait_ir"]

# Time is read from the constant-rate counter of the core. x86 does not tell its rate in user mode, and all makers
# stay within 2 to 5 GHz: 2500 ticks are counted as a microsecond, so that a bound is right within a factor of two.
# Intrinsics only, no inline assembly: emitting an object then needs no assembly parser.
_X86: Final = """
declare i64 @llvm.readcyclecounter()
declare void @llvm.x86.sse2.pause()

define internal i64 @polydl_ticks() nounwind {
  %ticks = call i64 @llvm.readcyclecounter()
  ret i64 %ticks
}

define internal i64 @polydl_ticks_in(i64 %microseconds) nounwind {
  %ticks = mul i64 %microseconds, 2500
  ret i64 %ticks
}

define internal void @polydl_pause() nounwind {
  call void @llvm.x86.sse2.pause()
  ret void
}
"""

_AARCH64: Final = """
declare i64 @llvm.read_volatile_register.i64(metadata)
declare void @llvm.aarch64.isb(i32)
define internal i64 @polydl_ticks() nounwind {
  %ticks = call i64 @llvm.read_volatile_register.i64(metadata !{!"CNTVCT_EL0"})
  ret i64 %ticks
}

define internal i64 @polydl_ticks_in(i64 %microseconds) nounwind {
  %rate = call i64 @llvm.read_volatile_register.i64(metadata !{!"CNTFRQ_EL0"})
  %product = mul i64 %microseconds, %rate
  %ticks = udiv i64 %product, 1000000
  ret i64 %ticks
}

define internal void @polydl_pause() nounwind {
  call void @llvm.aarch64.isb(i32 15)
  ret void
}
"""

_ARCHITECTURES: Final = {"x86_64": (_X86, 202), "aarch64": (_AARCH64, 98)}  # number of the futex system call

_WAIT: Final = """
declare i64 @syscall(i64, ...)

; Returns when *word != old. At most `microseconds` of spinning, then sleep.
define internal void @polydl_wait(ptr %word, i32 %old, ptr %sleepers, i64 %microseconds) noinline nounwind {
entry:
  %budget = call i64 @polydl_ticks_in(i64 %microseconds)
  %start = call i64 @polydl_ticks()
  br label %spin
spin:
  %seen = load atomic i32, ptr %word acquire, align 4
  %changed = icmp ne i32 %seen, %old
  br i1 %changed, label %done, label %pause
pause:
  call void @polydl_pause()
  %now = call i64 @polydl_ticks()
  %spent = sub i64 %now, %start
  %more = icmp ult i64 %spent, %budget
  br i1 %more, label %spin, label %sleep
sleep:
  %before = atomicrmw add ptr %sleepers, i32 1 seq_cst
  br label %check
check:
  %again = load atomic i32, ptr %word seq_cst, align 4
  %woken = icmp ne i32 %again, %old
  br i1 %woken, label %leave, label %futex
futex:                                            ; 128 = FUTEX_WAIT | FUTEX_PRIVATE_FLAG, no timeout
  %ignored = call i64 (i64, ...) @syscall(i64 $FUTEX, ptr %word, i32 128, i32 %old, ptr null, ptr null, i32 0)
  br label %check
leave:
  %after = atomicrmw sub ptr %sleepers, i32 1 seq_cst
  br label %done
done:
  ret void
}

; To be called after a sequentially consistent change of *word.
define internal void @polydl_wake(ptr %word, ptr %sleepers) nounwind {
entry:
  %count = load atomic i32, ptr %sleepers seq_cst, align 4
  %none = icmp eq i32 %count, 0
  br i1 %none, label %done, label %futex
futex:                                            ; 129 = FUTEX_WAKE | FUTEX_PRIVATE_FLAG, everybody
  %ignored = call i64 (i64, ...) @syscall(i64 $FUTEX, ptr %word, i32 129, i32 2147483647, ptr null, ptr null, i32 0)
  br label %done
done:
  ret void
}
"""


def spinwait_ir(arch: str) -> str:
    """IR of `polydl_wait` and `polydl_wake` (internal) for `arch`, "x86_64" or "aarch64"; ToolchainError for others."""
    if arch not in _ARCHITECTURES:
        raise ToolchainError(
            f"no thread synchronisation for architecture '{arch}'",
            next=f"use one of {', '.join(_ARCHITECTURES)}",
        )
    primitives, futex = _ARCHITECTURES[arch]
    return primitives + _WAIT.replace("$FUTEX", str(futex))
