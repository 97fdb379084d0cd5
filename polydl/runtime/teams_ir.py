"""LLVM IR of the native side of a thread team: the worker loop and the fork-join of one run.

A *team block* (`TEAM_BYTES`, zeroed, 64-byte aligned) keeps on separate pairs of cache lines what different threads
write::

      0  i32 run       number of the newest run          4  i32 sleepers on it
    128  i32 pending   workers still in the run          132  i32 sleepers on it      136  i32 greatest code returned
    256  ptr call      the call block of the run         264  i64 threads of the team
    384  the 64-byte barrier block of the calling convention

A *call block* (`CALL_BYTES`) holds entry, inputs, outputs, constants, workspace, sizes, first, last: eight 8-byte
fields in that order. The caller computes as thread 0; a null call block tells the workers to return.
"""

from __future__ import annotations

from typing import Final

from polydl.spinwait import spinwait_ir

__all__ = [
    "CALL_BYTES",
    "IDLE_SPIN_MICROSECONDS",
    "JOIN_SPIN_MICROSECONDS",
    "TEAM_BYTES",
    "THREADS_OFFSET",
    "teams_ir",
]

CALL_BYTES: Final = 64
TEAM_BYTES: Final = 512
THREADS_OFFSET: Final = 264

# A worker spins this long for the next run and then sleeps: long enough to catch back-to-back runs from Python
# (some 10 us apart), short enough that an idle process costs nothing.
IDLE_SPIN_MICROSECONDS: Final = 100
# The caller, once done, waits for the others as at a barrier (see `polydl.codegen.llvm.support`).
JOIN_SPIN_MICROSECONDS: Final = 150

_TEAM: Final = """
define internal i32 @polydl_enter(ptr %call, i64 %thread, i64 %threads, ptr %barrier) nounwind {
  %entry.at = getelementptr i8, ptr %call, i64 0
  %inputs.at = getelementptr i8, ptr %call, i64 8
  %outputs.at = getelementptr i8, ptr %call, i64 16
  %constants.at = getelementptr i8, ptr %call, i64 24
  %workspace.at = getelementptr i8, ptr %call, i64 32
  %sizes.at = getelementptr i8, ptr %call, i64 40
  %first.at = getelementptr i8, ptr %call, i64 48
  %last.at = getelementptr i8, ptr %call, i64 56
  %entry = load ptr, ptr %entry.at
  %inputs = load ptr, ptr %inputs.at
  %outputs = load ptr, ptr %outputs.at
  %constants = load ptr, ptr %constants.at
  %workspace = load ptr, ptr %workspace.at
  %sizes = load ptr, ptr %sizes.at
  %first = load i64, ptr %first.at
  %last = load i64, ptr %last.at
  %code = call i32 %entry(ptr %inputs, ptr %outputs, ptr %constants, ptr %workspace, ptr %sizes,
                          i64 %thread, i64 %threads, ptr %barrier, i64 %first, i64 %last)
  ret i32 %code
}

; The life of worker `thread` (1 <= thread < threads).
define void @polydl_team_worker(ptr %team, i64 %thread) nounwind {
entry:
  %run.sleepers = getelementptr i8, ptr %team, i64 4
  %pending = getelementptr i8, ptr %team, i64 128
  %pending.sleepers = getelementptr i8, ptr %team, i64 132
  %code.at = getelementptr i8, ptr %team, i64 136
  %call.at = getelementptr i8, ptr %team, i64 256
  %threads.at = getelementptr i8, ptr %team, i64 264
  %barrier = getelementptr i8, ptr %team, i64 384
  %threads = load i64, ptr %threads.at
  br label %next
next:
  %number = phi i32 [ 0, %entry ], [ %new, %again ]
  call void @polydl_wait(ptr %team, i32 %number, ptr %run.sleepers, i64 $IDLE)
  %new = load atomic i32, ptr %team acquire, align 4
  %call = load ptr, ptr %call.at
  %stop = icmp eq ptr %call, null
  br i1 %stop, label %end, label %work
work:
  %code = call i32 @polydl_enter(ptr %call, i64 %thread, i64 %threads, ptr %barrier)
  %failed = icmp ne i32 %code, 0
  br i1 %failed, label %report, label %leave
report:
  %ignored = atomicrmw max ptr %code.at, i32 %code monotonic
  br label %leave
leave:
  %before = atomicrmw sub ptr %pending, i32 1 seq_cst
  %last = icmp eq i32 %before, 1
  br i1 %last, label %tell, label %again
tell:
  call void @polydl_wake(ptr %pending, ptr %pending.sleepers)
  br label %again
again:
  br label %next
end:
  ret void
}

; One run with all threads of the team; returns the greatest code. Never two at once on one team.
define i32 @polydl_team_run(ptr %team, ptr %call) nounwind {
entry:
  %run.sleepers = getelementptr i8, ptr %team, i64 4
  %pending = getelementptr i8, ptr %team, i64 128
  %pending.sleepers = getelementptr i8, ptr %team, i64 132
  %code.at = getelementptr i8, ptr %team, i64 136
  %call.at = getelementptr i8, ptr %team, i64 256
  %threads.at = getelementptr i8, ptr %team, i64 264
  %barrier = getelementptr i8, ptr %team, i64 384
  %threads = load i64, ptr %threads.at
  %workers64 = sub i64 %threads, 1
  %workers = trunc i64 %workers64 to i32
  store ptr %call, ptr %call.at
  store i32 0, ptr %code.at
  store atomic i32 %workers, ptr %pending monotonic, align 4
  %number = load atomic i32, ptr %team monotonic, align 4
  %new = add i32 %number, 1
  store atomic i32 %new, ptr %team seq_cst, align 4
  call void @polydl_wake(ptr %team, ptr %run.sleepers)
  %mine = call i32 @polydl_enter(ptr %call, i64 0, i64 %threads, ptr %barrier)
  br label %join
join:
  %left = load atomic i32, ptr %pending acquire, align 4
  %joined = icmp eq i32 %left, 0
  br i1 %joined, label %done, label %wait
wait:
  call void @polydl_wait(ptr %pending, i32 %left, ptr %pending.sleepers, i64 $JOIN)
  br label %join
done:
  %theirs = load i32, ptr %code.at
  %more = icmp sgt i32 %theirs, %mine
  %code = select i1 %more, i32 %theirs, i32 %mine
  ret i32 %code
}

; Tells the workers to return; they are to be joined afterwards.
define void @polydl_team_stop(ptr %team) nounwind {
  %run.sleepers = getelementptr i8, ptr %team, i64 4
  %call.at = getelementptr i8, ptr %team, i64 256
  store ptr null, ptr %call.at
  %number = load atomic i32, ptr %team monotonic, align 4
  %new = add i32 %number, 1
  store atomic i32 %new, ptr %team seq_cst, align 4
  call void @polydl_wake(ptr %team, ptr %run.sleepers)
  ret void
}
"""


def teams_ir(arch: str) -> str:
    """IR text with the exported `polydl_team_worker`, `polydl_team_run` and `polydl_team_stop`."""
    text = _TEAM.replace("$IDLE", str(IDLE_SPIN_MICROSECONDS)).replace("$JOIN", str(JOIN_SPIN_MICROSECONDS))
    return spinwait_ir(arch) + text
