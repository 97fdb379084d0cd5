"""AST generation: from schedule tree to loops, through isl; the result is made of the plain values of `ast.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import islpy

from polydl.errors import InvalidProgram
from polydl.poly.affine import Affine
from polydl.poly.ast import Ast, BlockNode, CallNode, ForNode, IfNode, Node, Op, Operator, simplified
from polydl.poly.isl import guarded, map_of, set_of, thread_context
from polydl.poly.model import Scop, Statement
from polydl.poly.paths import Path, Position, paths
from polydl.poly.sets import restrict, schedule_text
from polydl.poly.tree import Band, Filter, Leaf, Member, Sequence, Tree

__all__ = ["generate", "iterator_names"]


def iterator_names(scop: Scop, depth: int) -> tuple[str, ...]:
    """The names of the schedule dimensions: `c0`, `c1`, … (another prefix where a parameter is called so)."""
    prefix = "c"
    while any(p.startswith(prefix) and p[len(prefix) :].isdigit() for p in scop.parameters):
        prefix += "c"
    return tuple(f"{prefix}{d}" for d in range(depth))


# The loops of an automatic schedule are asked for twice: whether they exist, and when it is lowered.
@lru_cache(maxsize=1)
@guarded
def generate(scop: Scop, tree: Tree) -> Node:
    """Loops that run every statement instance once, in the order of the tree (which must be verified).

    isl is asked once per stretch of loops between two sequences: the loops above a sequence scan the union of what
    the statements below need, and each child is generated for fixed outer coordinates. That costs a third of one
    call on a flat schedule, whose every dimension isl would treat for every statement, and it gives exactly one loop
    per band member unless a domain has holes.

    Raises `PolyhedralBlowup` where isl's budget does not suffice.
    """
    context = set_of(scop.context).params() if scop.context else set_of("{ : }").params()
    every = paths(scop, tree)
    depth = max(len(p.coordinates) for p in every)
    reaching = tuple(_Reaching(s, (), ()) for s in scop.statements)
    generator = _Generator(scop, iterator_names(scop, depth), {_place(p): k for k, p in enumerate(every)})
    return generator.generate(tree, reaching, 0, context, {}, ()) or BlockNode(())


def _place(path: Path) -> tuple[str, tuple[int, ...]]:
    """What tells a path from the others: its statement and the children taken at sequences."""
    return path.statement, tuple(c.index for c in path.coordinates if isinstance(c, Position))


@dataclass(frozen=True, slots=True)
class _Reaching:
    """A statement below some node: the filter conditions passed and the loops outside, each as (its name, its time)."""

    statement: Statement
    conditions: tuple[str, ...]
    outer: tuple[tuple[str, Affine], ...]


@dataclass(frozen=True, slots=True)
class _Generator:
    scop: Scop
    names: tuple[str, ...]  # of the schedule dimensions
    numbers: Mapping[tuple[str, tuple[int, ...]], int]  # the positions of paths, by `_place`

    def generate(
        self,
        tree: Tree,
        reaching: tuple[_Reaching, ...],
        depth: int,
        context: islpy.Set,
        known: dict[str, Ast],
        taken: tuple[int, ...],
    ) -> Node | None:
        """The code of one subtree. `context` constrains parameters and outer iterators, `known` replaces some,
        `taken` are the children taken at the sequences outside."""
        loops: list[tuple[int, Member]] = []
        while not isinstance(tree, (Sequence, Leaf)):
            if isinstance(tree, Band):
                loops += [(depth + k, m) for k, m in enumerate(tree.members)]
                depth += len(tree.members)
            elif isinstance(tree, Filter):
                reaching = self._select(tree, reaching)
            tree = tree.child
        if not reaching:
            return None
        dims = {self.names[d]: d for d, _ in loops}
        times = [[m.expr(r.statement.name) for _, m in loops] for r in reaching]
        if isinstance(tree, Leaf) and len(reaching) == 1:
            name = reaching[0].statement.name
            number = self.numbers[name, taken]
            node = self._ask(self._schedule(reaching[0], times[0]), dims, context, ())
            return _node(node, dims, known, lambda arguments: CallNode(name, arguments, number))
        inside = tuple(
            _Reaching(r.statement, r.conditions, r.outer + tuple(zip(dims, t, strict=True)))
            for r, t in zip(reaching, times, strict=True)
        )
        if not loops:
            return self._children(tree, inside, depth, context, known, taken)
        # What any statement needs of the loops here.  # { [loops] }
        scanned = self._schedule(reaching[0], times[0]).range()
        for r, t in zip(reaching[1:], times[1:], strict=True):
            scanned = scanned.union(self._schedule(r, t).range())
        scanned = scanned.remove_redundancies().coalesce().set_tuple_name("_")
        parts = scanned.n_basic_set()
        if parts == 0:
            return None
        node = self._ask(scanned.identity(), dims, context, tuple(range(len(loops))) if parts > 1 else ())
        below = _as_parameters(scanned, tuple(dims)).intersect_params(context)

        def body(coordinates: tuple[Ast, ...]) -> Node | None:
            values = {**known, **dict(zip(dims, coordinates, strict=True))}
            return self._children(tree, inside, depth, below, values, taken)

        return _node(node, dims, known, body)

    def _children(
        self,
        tree: Tree,
        reaching: tuple[_Reaching, ...],
        depth: int,
        context: islpy.Set,
        known: dict[str, Ast],
        taken: tuple[int, ...],
    ) -> Node | None:
        if isinstance(tree, Sequence):
            found = [
                self.generate(c, reaching, depth + 1, context, known, (*taken, k))
                for k, c in enumerate(tree.children)
            ]
        else:  # statements of equal time: textual order
            found = [self.generate(tree, (r,), depth, context, known, taken) for r in reaching]
        return _block([c for c in found if c is not None])

    def _select(self, node: Filter, reaching: tuple[_Reaching, ...]) -> tuple[_Reaching, ...]:
        chosen = {s.statement: s.condition for s in node.selections}
        return tuple(
            _Reaching(r.statement, (*r.conditions, chosen[r.statement.name]), r.outer)
            for r in reaching
            if r.statement.name in chosen
        )

    def _schedule(self, r: _Reaching, times: list[Affine]) -> islpy.Map:
        """Instances to the loops here, for fixed outer loops.  # [parameters, outer] -> { S[iterators] -> [times] }"""
        s = r.statement
        text = schedule_text(self.scop.parameters, s.name, s.iterators, times, r.outer, r.conditions)
        return map_of(text).intersect_domain(restrict(self.scop, s, ()))

    def _ask(
        self, schedule: islpy.Map, dims: Mapping[str, int], context: islpy.Set, atomic: tuple[int, ...]
    ) -> islpy.AstNode:
        build = islpy.AstBuild.from_context(context)
        ids = islpy.IdList.alloc(thread_context(), len(dims))
        for name in dims:
            ids = ids.add(islpy.Id(name, context=thread_context()))
        build = build.set_iterators(ids)
        if atomic:
            space = ", ".join(f"t{k}" for k in atomic)
            wanted = f"{{ [{space}] -> atomic[x] : 0 <= x <= {atomic[-1]} }}"
            build = build.set_options(islpy.UnionMap.read_from_str(thread_context(), wanted))
        return build.node_from_schedule_map(islpy.UnionMap.from_map(schedule))


def _as_parameters(scanned: islpy.Set, names: tuple[str, ...]) -> islpy.Set:
    """The same constraints on parameters of these names."""
    for k, name in enumerate(names):
        scanned = scanned.set_dim_name(islpy.dim_type.set, k, name)
    first = scanned.dim(islpy.dim_type.param)
    return scanned.move_dims(islpy.dim_type.param, first, islpy.dim_type.set, 0, len(names)).params()


_OPERATORS: dict[islpy.ast_expr_op_type, Operator] = {
    islpy.ast_expr_op_type.and_: "and",
    islpy.ast_expr_op_type.and_then: "and",
    islpy.ast_expr_op_type.or_: "or",
    islpy.ast_expr_op_type.or_else: "or",
    islpy.ast_expr_op_type.max: "max",
    islpy.ast_expr_op_type.min: "min",
    islpy.ast_expr_op_type.minus: "neg",
    islpy.ast_expr_op_type.add: "add",
    islpy.ast_expr_op_type.sub: "sub",
    islpy.ast_expr_op_type.mul: "mul",
    islpy.ast_expr_op_type.div: "floordiv",  # exact
    islpy.ast_expr_op_type.fdiv_q: "floordiv",
    islpy.ast_expr_op_type.pdiv_q: "floordiv",  # of a non-negative number
    islpy.ast_expr_op_type.pdiv_r: "mod",
    islpy.ast_expr_op_type.zdiv_r: "mod",  # compared with zero only
    islpy.ast_expr_op_type.cond: "select",
    islpy.ast_expr_op_type.select: "select",
    islpy.ast_expr_op_type.eq: "eq",
    islpy.ast_expr_op_type.le: "le",
    islpy.ast_expr_op_type.lt: "lt",
    islpy.ast_expr_op_type.ge: "ge",
    islpy.ast_expr_op_type.gt: "gt",
}


def _expr(expr: islpy.AstExpr, known: Mapping[str, Ast]) -> Ast:
    """An isl expression; iterators of loops that run once are replaced by their `known` value."""
    kind = expr.get_type()
    if kind == islpy.ast_expr_type.int:
        return int(expr.get_val().to_python())
    if kind == islpy.ast_expr_type.id:
        name = expr.get_id().get_name()
        return known.get(name, name)
    operator = _OPERATORS[expr.get_op_type()]
    args = [_expr(expr.get_op_arg(k), known) for k in range(expr.get_op_n_arg())]
    if operator in ("min", "max", "and", "or") and len(args) > 2:
        return Op(operator, tuple(args))
    return simplified(operator, tuple(args))


def _block(children: list[Node]) -> Node | None:
    flat: list[Node] = []
    for child in children:
        flat += child.children if isinstance(child, BlockNode) else (child,)
    return None if not flat else flat[0] if len(flat) == 1 else BlockNode(tuple(flat))


Body = Callable[[tuple[Ast, ...]], Node | None]


def _node(node: islpy.AstNode, dims: Mapping[str, int], known: dict[str, Ast], inner: Body) -> Node | None:
    """An isl node; a call in it becomes what `inner` makes of its arguments."""
    kind = node.get_type()
    if kind == islpy.ast_node_type.for_:
        iterator = node.for_get_iterator().get_id().get_name()
        lower = _expr(node.for_get_init(), known)
        if node.for_is_degenerate():
            return _node(node.for_get_body(), dims, {**known, iterator: lower}, inner)
        cond = node.for_get_cond()
        upper = _expr(cond.get_op_arg(1), known)
        if cond.get_op_type() == islpy.ast_expr_op_type.le:
            upper = simplified("add", (upper, 1))
        elif cond.get_op_type() != islpy.ast_expr_op_type.lt:
            raise InvalidProgram(
                "isl generated a loop without a plain upper bound", where=f"loop '{iterator}'"
            )
        step = _expr(node.for_get_inc(), known)
        body = _node(node.for_get_body(), dims, known, inner)
        if not isinstance(step, int):
            raise InvalidProgram("isl generated a loop without a constant step", where=f"loop '{iterator}'")
        return None if body is None else ForNode(dims[iterator], iterator, lower, upper, step, body)
    if kind == islpy.ast_node_type.if_:
        then = _node(node.if_get_then_node(), dims, known, inner)
        otherwise = _node(node.if_get_else_node(), dims, known, inner) if node.if_has_else_node() else None
        return IfNode(_expr(node.if_get_cond(), known), then or BlockNode(()), otherwise)
    if kind == islpy.ast_node_type.block:
        listed = node.block_get_children()
        children = [_node(listed.get_at(k), dims, known, inner) for k in range(listed.n_ast_node())]
        return _block([c for c in children if c is not None])
    if kind == islpy.ast_node_type.user:
        call = node.user_get_expr()
        arguments = tuple(_expr(call.get_op_arg(k), known) for k in range(1, call.get_op_n_arg()))
        return inner(arguments)
    raise InvalidProgram(f"isl generated an unexpected node ({kind})")
