"""The C text of the barrier at which the threads of one run meet.

The same protocol over the same 64 bytes as `polydl.codegen.llvm.support`: arrived, generation, sleepers. A thread
spins for a bounded time and then sleeps in the kernel (futex); where there is no futex it yields.
"""

from __future__ import annotations

from typing import Final

__all__ = ["BARRIER", "BARRIER_HEADERS"]

BARRIER_HEADERS: Final = """\
#include <sched.h>
#include <stdatomic.h>
#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
"""

# About as long as a wake-up takes (see the LLVM back end's barrier): a pause is some 20 to 40 ns.
_SPINS: Final = 5000

BARRIER: Final = (
    """\
/* Waits until all threads are here. The 64 bytes, zeroed before the first run: arrived, generation, sleepers. */
static NOINLINE void polydl_barrier(void *barrier, int64_t threads) {
    _Atomic uint32_t *arrived = barrier, *generation = arrived + 1, *sleepers = arrived + 2;
    if (threads <= 1) return;
    uint32_t number = atomic_load_explicit(generation, memory_order_acquire);
    if (atomic_fetch_add_explicit(arrived, 1u, memory_order_acq_rel) + 1u == (uint32_t)threads) {
        atomic_store_explicit(arrived, 0u, memory_order_relaxed);
        atomic_store(generation, number + 1u);
#if defined(__linux__)
        if (atomic_load(sleepers) != 0)
            syscall(SYS_futex, generation, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT32_MAX, (void *)0, (void *)0, 0);
#endif
        return;
    }
    for (int spin = 0; spin < SPINS; spin++) {
        if (atomic_load_explicit(generation, memory_order_acquire) != number) return;
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("isb");
#endif
    }
    atomic_fetch_add(sleepers, 1u);
    while (atomic_load(generation) == number) {
#if defined(__linux__)
        syscall(SYS_futex, generation, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, number, (void *)0, (void *)0, 0);
#else
        sched_yield();
#endif
    }
    atomic_fetch_sub(sleepers, 1u);
}
"""
).replace("SPINS", str(_SPINS))
