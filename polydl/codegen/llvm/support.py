"""IR that every generated module carries: the barrier at which the threads of one run meet.

The 64-byte block that the entry point receives holds three 32-bit words: how many threads have arrived, the
generation (the number of the barrier passed last), and how many sleep. The last thread to arrive resets the
count and then opens the next generation, so that one block, zeroed once, serves any number of barriers and runs.
(Thread *teams* are the runtime's: `polydl.runtime.teams`; code needs only the barrier.)

**Every thread must reach every barrier of a run**, also after a failed run-time check: a thread that returns early
would leave the others waiting for ever. Generated code therefore remembers the code of the first failed check,
skips the work but not the barriers, and returns the code at the end.
"""

from __future__ import annotations

from typing import Final

from polydl.spinwait import spinwait_ir

__all__ = ["BARRIER_SPIN_MICROSECONDS", "barrier_ir"]

# How long a thread spins at a barrier before it sleeps. Spinning for as long as a wake-up takes is never more than
# twice as slow as the best choice; waking a thread took 105 to 135 us on a virtual machine (measured).
BARRIER_SPIN_MICROSECONDS: Final = 150

_BARRIER: Final = """
define internal void @polydl_barrier(ptr %barrier, i64 %threads) noinline nounwind {
entry:
  %alone = icmp sle i64 %threads, 1
  br i1 %alone, label %done, label %arrive
arrive:
  %generation = getelementptr i8, ptr %barrier, i64 4
  %sleepers = getelementptr i8, ptr %barrier, i64 8
  %number = load atomic i32, ptr %generation acquire, align 4
  %before = atomicrmw add ptr %barrier, i32 1 acq_rel
  %arrived = add i32 %before, 1
  %all = trunc i64 %threads to i32
  %last = icmp eq i32 %arrived, %all
  br i1 %last, label %open, label %wait
open:
  store atomic i32 0, ptr %barrier monotonic, align 4
  %opened = add i32 %number, 1
  store atomic i32 %opened, ptr %generation seq_cst, align 4
  call void @polydl_wake(ptr %generation, ptr %sleepers)
  br label %done
wait:
  call void @polydl_wait(ptr %generation, i32 %number, ptr %sleepers, i64 $SPIN)
  br label %done
done:
  ret void
}
"""


def barrier_ir(arch: str) -> str:
    """IR text defining `internal void @polydl_barrier(ptr %barrier, i64 %threads)` for "x86_64" or "aarch64" (Linux).

    Append it once to a module (it declares `@syscall` and the intrinsics it uses). With one thread it returns at
    once and `%barrier` may be null. It is a full acquire-release fence for the threads that meet.
    """
    return spinwait_ir(arch) + _BARRIER.replace("$SPIN", str(BARRIER_SPIN_MICROSECONDS))
