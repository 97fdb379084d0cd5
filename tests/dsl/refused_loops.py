"""Functions that are no static control parts, or lie about their arrays. Their errors are golden texts."""

# ruff: noqa: B007, F722, F821, F841, UP037
# mypy: disable-error-code="name-defined, valid-type, no-untyped-def"
from __future__ import annotations

import numpy as np


def untyped(A) -> None:
    for i in range(10):
        A[i] = 0.0


def unknown_type(A: "real[N]") -> None:
    for i in range(N):
        A[i] = 0.0


def computed_extent(A: "f64[N * M]") -> None:
    for i in range(N):
        A[i] = 0.0


def product_bound(A: "f64[N]", n: "size", m: "size") -> None:
    for i in range(n * m):
        A[i] = 0.0


def bound_from_array(A: "f64[N]", last: "i64[1]") -> None:
    for i in range(last[0]):
        A[i] = 0.0


def product_subscript(A: "f64[N]", n: "size", m: "size") -> None:
    for i in range(n):
        for j in range(m):
            A[i * j] = 1.0


def store_through_array(A: "f64[N]", where: "i64[N]") -> None:
    for i in range(N):
        A[where[i]] = 1.0


def never_assigned(A: "f64[N]") -> None:
    for i in range(N):
        t = t + A[i]
        A[i] = t


def summed_without_a_start(A: "f64[N]") -> None:
    for i in range(N):
        t += A[i]
    A[0] = 1.0


def assigned_under_a_condition(A: "f64[N]") -> None:
    for i in range(N):
        if i > 3:
            t = A[i]
        A[i] = t


def assigned_in_a_loop_that_may_be_empty(A: "f64[N]", y: "f64[1]") -> None:
    for i in range(N):
        t = A[i]
    y[0] = t


def while_loop(A: "f64[N]") -> None:
    i = 0
    while i < N:
        A[i] = 0.0


def breaks(A: "f64[N]") -> None:
    for i in range(N):
        A[i] = 1.0
        break


def returns(A: "f64[N]") -> None:
    for i in range(N):
        A[i] = 1.0
    return A[0]  # type: ignore[return-value]


def condition_on_data(A: "f64[N]") -> None:
    for i in range(N):
        if A[i] < 0.0:
            A[i] = 0.0


def over_elements(A: "f64[N]") -> None:
    for x in A:
        A[0] = x


def variable_step(A: "f64[N]", n: "size") -> None:
    for i in range(0, N, n):
        A[i] = 0.0


def leaves_the_array(A: "f64[N]", B: "f64[N]") -> None:
    for i in range(N):
        A[i] = B[i] + B[i + 1]


def first_of_none(A: "f64[N]") -> None:
    A[0] = 1.0
    for i in range(1, N):
        A[i] = A[i - 1]


def slices(A: "f64[N, M]") -> None:
    for i in range(N):
        A[i, 0:M] = 0.0


def whole_array(A: "f64[N]", B: "f64[N]") -> None:
    for i in range(N):
        A[i] = B + 1.0


def too_few_subscripts(A: "f64[N, M]") -> None:
    for i in range(N):
        A[i] = 0.0


def unknown_function(A: "f64[N]") -> None:
    for i in range(N):
        A[i] = np.interp(A[i], 0.0, 1.0)


def unknown_name(A: "f64[N]") -> None:
    for i in range(N):
        A[i] = A[i] * factor


def mixed_types(A: "f64[N]", B: "f32[N]") -> None:
    for i in range(N):
        A[i] = A[i] + B[i]


def iterator_after_loop(A: "f64[N]") -> None:
    for i in range(N):
        A[i] = 0.0
    A[i] = 1.0


def hidden_iterator(A: "f64[N, N]") -> None:
    for i in range(N):
        for i in range(N):
            A[i, i] = 0.0


def assigned_parameter(A: "f64[N]", s: "f64") -> None:
    for i in range(N):
        s = A[i]


def fraction_in_integers(A: "i64[N]") -> None:
    for i in range(N):
        A[i] = 0.5


def late_assert(A: "f64[N]") -> None:
    for i in range(N):
        A[i] = 0.0
        assert N >= 1


def nothing(A: "f64[N]") -> None:
    pass


def unequal_tuple(A: "f64[N]", B: "f64[2]") -> None:
    for i in range(N):
        A[i], A[0] = B


def slices_updated(A: "f64[N]", B: "f64[N]") -> None:
    A[:] += B[:]


def inner_function(A: "f64[N]") -> None:
    def twice(x):
        return 2.0 * x

    for i in range(N):
        A[i] = twice(A[i])


def over_enumerate(A: "f64[N]") -> None:
    for i, x in enumerate(A):
        A[i] = x


def returns_early(A: "f64[N]") -> None:
    for i in range(N):
        A[i] = 1.0
        return


def comprehension(A: "f64[N]") -> None:
    for i in range(N):
        A[i] = sum(A[j] for j in range(i))


def alias(A: "f64[N]", B: "f64[N]") -> None:
    C = A
    for i in range(N):
        B[i] = C[i]


def bits_of_floats(A: "f64[N]") -> None:
    for i in range(N):
        A[i] = A[i] & A[0]


def number_as_condition(A: "f64[N]") -> None:
    for i in range(N):
        A[i] = 1.0 if A[i] else 2.0


def stepped_maximum(A: "f64[N]") -> None:
    for i in range(N):
        for j in range(max(i, 3), N, 2):
            A[j] += 1.0


def read_before_the_constant(A: "f64[N]") -> None:
    for i in range(N):
        A[i] = t
    t = 5.0


def assigned_size(A: "f64[N]") -> None:
    N = 3
    for i in range(N):
        A[i] = 1.0


def assigned_array(A: "f64[N]", B: "f64[N]") -> None:
    A = 5.0
    for i in range(N):
        B[i] = A


def another_size(m: "size", A: "f64[N, m]") -> None:
    m, _n = A.shape
    for i in range(m):
        A[i, 0] = 1.0


def number_without_room(A: "i8[N]", B: "bool[N]") -> None:
    for i in range(N):
        B[i] = A[i] < 300


def number_below_zero(A: "u8[N]") -> None:
    for i in range(N):
        A[i] = -1


def not_a_number(A: "i64[N]") -> None:
    for i in range(N):
        A[i] = int(np.nan)


def endless_bound(A: "f64[N]") -> None:
    for i in range(10**30):
        A[i % 4] = 1.0


def endless_constant(A: "i64[N]") -> None:
    for i in range(N):
        A[i] = 1 << 10**11


def tower(A: "i64[N]") -> None:
    for i in range(N):
        A[i] = 10**10**10


def divided_by_zero(A: "i64[N]") -> None:
    for i in range(N):
        A[i] = i // 0


def truth_as_subscript(A: "f64[N]") -> None:
    for i in range(N):
        A[True] = 1.0


def added_conditions(x: "f64[N]", k: "i64[N]") -> None:
    for i in range(N):
        k[i] = (x[i] > 0.0) + (x[i] > 1.0)


def two_types(A: "f64[N]") -> None:
    x: "f64" = 1.0
    for i in range(N):
        x: "i64" = 3
        A[i] = x


def foreign_letters(A: "f64[größe]") -> None:
    for i in range(größe):
        A[i] = 1.0


def spelled_extents(A: "f64[N M]") -> None:
    for i in range(N):
        A[i] = 1.0


def missing_dimension(A: "f64[N]") -> None:
    for i in range(A.shape[1]):
        A[i] = 1.0


def strange_range(A: "f64[N]") -> None:
    for i in another_range(N):
        A[i] = 1.0


another_range = range(3).index


REFUSED = {
    f.__name__: f
    for f in (
        untyped, unknown_type, computed_extent, product_bound, bound_from_array, product_subscript,
        store_through_array, never_assigned, summed_without_a_start, assigned_under_a_condition,
        assigned_in_a_loop_that_may_be_empty, while_loop, breaks, returns, condition_on_data, over_elements,
        variable_step,
        leaves_the_array, first_of_none, slices, whole_array, too_few_subscripts, unknown_function, unknown_name,
        mixed_types, iterator_after_loop, hidden_iterator, assigned_parameter, fraction_in_integers, late_assert,
        nothing, unequal_tuple, slices_updated, inner_function, over_enumerate, returns_early, comprehension, alias,
        bits_of_floats, number_as_condition, stepped_maximum, read_before_the_constant, assigned_size, assigned_array,
        another_size, number_without_room, number_below_zero, not_a_number, endless_bound, endless_constant, tower,
        divided_by_zero, truth_as_subscript, added_conditions, two_types, foreign_letters, spelled_extents,
        missing_dimension, strange_range,
    )
}  # fmt: skip
