"""Integer expressions as linear combinations over atoms: the arithmetic behind `simplify`.

A value `const + sum coefficient * atom` is kept as a `Linear`; an atom is a variable or anything not linear (a load, a
product of variables, `x // k`, `x mod k`, `min`, …). Nodes are hash-consed, so equal expressions are one object and
atoms are addressed by identity. Sums, differences and products by constants are identities of the ring of integers
modulo 2^bits and always hold; everything about order (intervals, floordiv, mod, comparisons) is used only where the
exact value provably stays in the type's range (`exact`).
"""

from __future__ import annotations

from math import gcd
from typing import NamedTuple

from polydl.dtypes import DType
from polydl.ir.expr import Expr, Ramp, Unary
from polydl.ir.nodes import Nodes
from polydl.ir.semantics import limits, wrap

__all__ = ["Interval", "Linear", "LinearSpace"]


class Interval(NamedTuple):
    """Closed bounds of a value; `exact` where the linear form has no wrap-around."""

    low: int
    high: int
    exact: bool


class Linear:
    """`const + sum terms[id(atom)] * atom` of an integer type; no coefficient is zero. Not to be mutated."""

    __slots__ = ("const", "dtype", "expr", "interval", "lanes", "terms")

    def __init__(self, const: int, terms: dict[int, int], dtype: DType, lanes: int = 1) -> None:
        self.const, self.terms, self.dtype, self.lanes = const, terms, dtype, lanes
        self.expr: Expr | None = None
        self.interval: Interval | None = None


class LinearSpace(Nodes):
    """The atoms and nodes met so far, with what is known of each."""

    def __init__(self) -> None:
        super().__init__()
        self._atoms: dict[int, Expr] = {}
        self._ranges: dict[int, tuple[int, int]] = {}
        self._factors: dict[int, tuple[Expr, ...]] = {}  # of product atoms
        self._divs: dict[int, tuple[Linear, int]] = {}  # atom x // k -> (x, k)
        self._mods: dict[int, tuple[Linear, int]] = {}  # atom x mod k -> (x, k)
        self._iotas: set[int] = set()  # atoms Ramp(0, 1, lanes)

    # ---- linear forms

    def constant(self, value: int, dtype: DType, lanes: int = 1) -> Linear:
        return Linear(value, {}, dtype, lanes)

    def atom(self, e: Expr, dtype: DType, low: int | None = None, high: int | None = None) -> Linear:
        """An interned node as an atom with its value's bounds; a constant where they meet."""
        lanes = self._lanes[id(e)]
        if id(e) not in self._atoms:
            least, greatest = limits(dtype)
            low = least if low is None else max(low, least)
            high = greatest if high is None else min(high, greatest)
            self._atoms[id(e)] = e
            self._ranges[id(e)] = (low, high)
        low, high = self._ranges[id(e)]
        if low == high:
            return Linear(low, {}, dtype, lanes)
        result = Linear(0, {id(e): 1}, dtype, lanes)
        result.expr = e
        return result

    def iota(self, lanes: int, dtype: DType) -> Linear:
        """The vector 0, 1, …, lanes - 1."""
        node = self.intern(("iota", lanes, dtype.name), Ramp(self.literal(0, dtype), 1, lanes), lanes)
        self._iotas.add(id(node))
        return self.atom(node, dtype, 0, lanes - 1)

    def atoms(self, n: Linear) -> list[tuple[Expr, int]]:
        """The terms in canonical order."""
        return [(self._atoms[t], n.terms[t]) for t in sorted(n.terms, key=self._order)]

    def exact_bounds(self, n: Linear) -> tuple[int, int]:
        """Bounds of the value before it is wrapped to the type."""
        low = high = n.const
        for t, c in n.terms.items():
            a, b = self._ranges[t]
            if c < 0:
                a, b = b, a
            low, high = low + c * a, high + c * b
        return low, high

    def interval(self, n: Linear) -> Interval:
        """Bounds of the value; a constant is brought into its type's range."""
        found = n.interval
        if found is None:
            if not n.terms:
                n.const = wrap(n.const, n.dtype)
            low, high = self.exact_bounds(n)
            least, greatest = limits(n.dtype)
            exact = low >= least and high <= greatest
            found = n.interval = Interval(low, high, True) if exact else Interval(least, greatest, False)
        return found

    def add(self, a: Linear, b: Linear, scale: int = 1) -> Linear:
        """`a + scale * b`."""
        lanes = a.lanes if a.lanes >= b.lanes else b.lanes
        terms = dict(a.terms)
        for t, c in b.terms.items():
            total = terms.get(t, 0) + scale * c
            if total:
                terms[t] = total
            else:
                del terms[t]
        const = a.const + scale * b.const
        if (self._divs or self._mods) and len(terms) > 1:
            const += self._recombine(terms)
        return Linear(const, terms, a.dtype, lanes)

    def scale(self, a: Linear, c: int) -> Linear:
        if c == 1:
            return a
        return Linear(a.const * c, {t: k * c for t, k in a.terms.items()} if c else {}, a.dtype, a.lanes)

    def mul(self, a: Linear, b: Linear) -> Linear:
        lanes = max(a.lanes, b.lanes)
        if not b.terms:
            a, b = b, a
        if not a.terms:
            return Linear(b.const * a.const, self.scale(b, a.const).terms, b.dtype, lanes)
        scale_a, a = self._primitive(a)
        scale_b, b = self._primitive(b)
        parts: list[Expr] = []
        for x in (self.rebuild(a), self.rebuild(b)):
            parts += self._factors.get(id(x), (x,))
        parts.sort(key=self.key)
        node = parts[0]
        for x in parts[1:]:
            node = self.binary("mul", node, x)
        self._factors[id(node)] = tuple(parts)
        (p, q, _), (r, s, _) = self.interval(a), self.interval(b)
        corners = (p * r, p * s, q * r, q * s)
        least, greatest = limits(a.dtype)
        bounded = min(corners) >= least and max(corners) <= greatest
        product = self.atom(node, a.dtype, *((min(corners), max(corners)) if bounded else ()))
        result = self.scale(product, scale_a * scale_b)
        result.lanes = lanes
        return result

    def _primitive(self, a: Linear) -> tuple[int, Linear]:
        """`a` as content * primitive part."""
        content = gcd(a.const, *a.terms.values())
        if a.const <= 0 and all(c < 0 for c in a.terms.values()):
            content = -content
        if content == 1:
            return 1, a
        return content, Linear(
            a.const // content, {t: c // content for t, c in a.terms.items()}, a.dtype, a.lanes
        )

    # ---- quotient and remainder by a positive constant

    def floordiv(self, n: Linear, k: int) -> Linear:
        low, high, exact = self.interval(n)
        if k == 1:
            return n
        if low // k == high // k:
            return self.constant(low // k, n.dtype, n.lanes)
        if not exact:
            return self._div_atom(n, k)
        q_terms, r_terms = {}, {}
        for t, c in n.terms.items():
            q = c // k if c > 0 else -(-c // k)
            if q:
                q_terms[t] = q
            if c - q * k:
                r_terms[t] = c - q * k
        whole = Linear(n.const // k, q_terms, n.dtype, n.lanes)
        rest = Linear(n.const % k, r_terms, n.dtype, n.lanes)
        low, high, exact = self.interval(rest)
        if not exact:
            return self._div_atom(n, k)
        if low // k == high // k:
            whole.const += low // k
            return whole
        turned = self._turned(rest, k)
        if turned is not None:  # (a - y) // k = -((y - a + k - 1) // k)
            quotient, y = turned
            return self.add(self.add(whole, quotient), self.floordiv(y, k), -1)
        return self.add(whole, self._floordiv_reduced(rest, k))

    def _turned(self, n: Linear, k: int) -> tuple[Linear, Linear] | None:
        """(q, y) with `n = q*k - y + k - 1` where y is the simpler of the two; None where n is.

        `(55*i + 55) // 56` is `i - i//56`: tools that solve `56*h + w = i` may say either.
        """
        signs = {c > 0 for c in n.terms.values()}
        positive = True in signs
        if len(signs) == 2:  # of n and its negation the one whose smallest coefficient is positive
            positive = False
            least = min(n.terms, key=lambda t: (abs(n.terms[t]), self._order(t)))
            if n.terms[least] > 0:
                return None
        else:
            size, other = sum(map(abs, n.terms.values())), sum(k - abs(c) for c in n.terms.values())
            if (positive and size <= other) or (not positive and size > other):
                return None
        quotient = Linear(0, dict.fromkeys(n.terms, 1) if positive else {}, n.dtype, n.lanes)
        y = Linear(
            k - 1 - n.const, {t: k - c if positive else -c for t, c in n.terms.items()}, n.dtype, n.lanes
        )
        return (quotient, y) if self.interval(y).exact else None

    def _floordiv_reduced(self, n: Linear, k: int) -> Linear:
        split = self._split(n, k)
        if split is not None:
            g, scaled, _, _ = split
            return self.floordiv(scaled, k // g)  # (g*s + t) // k = s // (k/g) where 0 <= t < g and g | k
        inner = self._single(n, self._divs)
        if inner is not None and inner[1] * k <= limits(n.dtype)[1]:
            x, m = inner  # (x // m + c) // k = (x + c*m) // (m*k)
            shifted = Linear(x.const + n.const * m, x.terms, x.dtype, n.lanes)
            if self.interval(shifted).exact:
                return self.floordiv(shifted, m * k)
        inner = self._single(n, self._mods)
        if inner is not None and n.const == 0 and inner[1] % k == 0:
            x, m = inner  # (x mod m) // k = (x // k) mod (m/k) where k | m
            return self.mod(self.floordiv(x, k), m // k)
        return self._div_atom(n, k)

    def mod(self, n: Linear, k: int) -> Linear:
        low, high, exact = self.interval(n)
        if k == 1:
            return self.constant(0, n.dtype, n.lanes)
        if low // k == high // k:
            return Linear(n.const - low // k * k, n.terms, n.dtype, n.lanes)
        if not exact:
            return self._mod_atom(n, k)
        rest = Linear(n.const % k, {}, n.dtype, n.lanes)
        for t, c in n.terms.items():
            c = c % k if c > 0 else -(-c % k)
            inner = self._mods.get(t)
            if c and inner is not None and c * inner[1] % k == 0:
                rest = self.add(rest, inner[0], c)  # c * (x mod m) = c*x modulo k where k | c*m
            elif c:
                rest = self.add(rest, Linear(0, {t: c}, n.dtype))
        low, high, exact = self.interval(rest)
        if not exact:
            return self._mod_atom(n, k)
        if low // k == high // k:
            return Linear(rest.const - low // k * k, rest.terms, n.dtype, n.lanes)
        if rest.const != rest.const % k or any(self._reducible(t, c, k) for t, c in rest.terms.items()):
            return self.mod(rest, k)  # an inner modulo brought new terms
        turned = self._turned(rest, k)
        if turned is not None:  # (k - 1 - y) mod k = k - 1 - y mod k
            return self.add(self.constant(k - 1, n.dtype, n.lanes), self.mod(turned[1], k), -1)
        split = self._split(rest, k)
        if split is None:
            return self._mod_atom(rest, k)
        g, scaled, tail, floor = split  # (g*s + t) mod k = g*(s mod k/g) + t where 0 <= t < g and g | k
        shifted = Linear(tail.const - floor * g, tail.terms, n.dtype, n.lanes)
        return self.add(shifted, self.mod(scaled, k // g), g)

    def _reducible(self, t: int, c: int, k: int) -> bool:
        inner = self._mods.get(t)
        return abs(c) >= k or (inner is not None and c * inner[1] % k == 0)

    def _split(self, n: Linear, k: int) -> tuple[int, Linear, Linear, int] | None:
        """`n = g*s' + t` with g | k and `t // g` one constant f; as (g, s = s' + f, t, f), or None."""
        for g in sorted({gcd(c, k) for c in n.terms.values()} - {1}, reverse=True):
            scaled = {t: c // g for t, c in n.terms.items() if c % g == 0}
            tail = Linear(n.const % g, {t: c for t, c in n.terms.items() if c % g}, n.dtype, n.lanes)
            low, high, exact = self.interval(tail)
            if exact and low // g == high // g:
                s = Linear(n.const // g + low // g, scaled, n.dtype, n.lanes)
                if self.interval(s).exact:
                    return g, s, tail, low // g
        return None

    def _single(self, n: Linear, table: dict[int, tuple[Linear, int]]) -> tuple[Linear, int] | None:
        """What `table` says of the atom of `n = atom + const`."""
        if len(n.terms) != 1:
            return None
        ((t, c),) = n.terms.items()
        return table.get(t) if c == 1 else None

    def _div_atom(self, n: Linear, k: int) -> Linear:
        low, high, exact = self.interval(n)
        node = self.binary("floordiv", self.rebuild(n), self.literal(k, n.dtype))
        if exact:
            self._divs[id(node)] = (n, k)
        return self.atom(node, n.dtype, low // k, high // k)

    def _mod_atom(self, n: Linear, k: int) -> Linear:
        low, high, exact = self.interval(n)
        node = self.binary("mod", self.rebuild(n), self.literal(k, n.dtype))
        if exact:
            self._mods[id(node)] = (n, k)
        return self.atom(node, n.dtype, 0, min(k - 1, high) if low >= 0 else k - 1)

    def _recombine(self, terms: dict[int, int]) -> int:
        """Joins quotients and remainders in `terms`, in place; returns what the constant grows by."""
        const, changed = 0, True
        while changed:
            changed = False
            for t in [t for t in terms if t in self._divs or t in self._mods]:
                replacement = self._joined(t, terms)
                if replacement is not None:
                    partner, factor, value = replacement
                    del terms[t], terms[partner]
                    const += factor * value.const
                    for u, c in value.terms.items():
                        terms[u] = terms.get(u, 0) + factor * c
                        if not terms[u]:
                            del terms[u]
                    changed = True
                    break
        return const

    def _joined(self, t: int, terms: dict[int, int]) -> tuple[int, int, Linear] | None:
        """A second term that together with term `t` is `factor * value`."""
        c = terms[t]
        if t in self._mods:
            x, k = self._mods[t]
            quotient = self._only(self.floordiv(x, k))
            if quotient is not None and terms.get(quotient) == k * c:
                return quotient, c, x  # (x // k) * k + x mod k = x
            inner = self._single(x, self._divs)
            if inner is not None and x.const == 0 and c % inner[1] == 0:
                y, m = inner
                low = self._only(self.mod(y, m))
                if low is not None and low in terms and terms[low] * m == c:
                    return low, c // m, self.mod(y, m * k)  # ((y//m) mod k) * m + y mod m = y mod (m*k)
        if t in self._divs:
            x, k = self._divs[t]
            whole = self._only(x)
            if whole is not None and c % k == 0 and terms.get(whole) == -(c // k):
                return whole, -(c // k), self.mod(x, k)  # x - k * (x // k) = x mod k
        return None

    def _only(self, n: Linear) -> int | None:
        """The atom that `n` consists of."""
        if n.const or len(n.terms) != 1:
            return None
        ((t, c),) = n.terms.items()
        return t if c == 1 else None

    # ---- back to expressions

    def rebuild(self, n: Linear) -> Expr:
        """`n` as an expression: positive terms, then negative terms, each by name, then the constant."""
        if n.expr is None:
            n.expr = self.fit(self._sum(n), n.lanes)
        return n.expr

    def _sum(self, n: Linear) -> Expr:
        dtype = n.dtype
        greatest = limits(dtype)[1]
        half, modulus = 1 << (dtype.bits - 1), 1 << dtype.bits
        terms = [(t, (c + half) % modulus - half) for t, c in n.terms.items()]
        const = (n.const + half) % modulus - half
        if n.lanes > 1:
            vectors = [(t, c) for t, c in terms if self._lanes[t] > 1]
            if (
                len(vectors) == 1
                and vectors[0][0] in self._iotas
                and (const or vectors != terms or vectors[0][1] != 1)
            ):
                return self._ramp(n, *vectors[0])
        if len(terms) > 1:
            terms.sort(key=lambda term: (term[1] < 0, self._order(term[0])))
        total: Expr | None = None
        if const > 0 and not any(c > 0 for _, c in terms):
            total, const = self.literal(const, dtype), 0
        for t, c in terms:
            if c == 0:
                continue
            atom = self._atoms[t]
            subtract = c < 0 and -c <= greatest
            size = -c if subtract else c
            term = atom if size == 1 else self.binary("mul", atom, self.literal(wrap(size, dtype), dtype))
            if total is None:
                total = (
                    self.intern(("neg", id(term)), Unary("neg", term), self._lanes[id(term)])
                    if subtract
                    else term
                )
            else:
                total = self.binary("sub" if subtract else "add", total, term)
        if total is None:
            return self.literal(wrap(const, dtype), dtype)
        if const < 0 and -const <= greatest:
            return self.binary("sub", total, self.literal(-const, dtype))
        return self.binary("add", total, self.literal(wrap(const, dtype), dtype)) if const else total

    def _ramp(self, n: Linear, iota: int, stride: int) -> Expr:
        base = self.rebuild(Linear(n.const, {t: c for t, c in n.terms.items() if t != iota}, n.dtype))
        lanes = self._lanes[iota]
        return self.intern(("ramp", id(base), stride, lanes), Ramp(base, stride, lanes), lanes)

    def _order(self, atom: int) -> str:
        return self._keys.get(atom) or self.key(self._atoms[atom])
