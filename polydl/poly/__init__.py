"""The polyhedral model: domains, accesses, dependences, the schedule tree, the legality judge, AST generation."""

from __future__ import annotations

from polydl.poly import affine
from polydl.poly.affine import Affine, FloorDiv, Mod
from polydl.poly.ast import (
    Ast,
    BlockNode,
    CallNode,
    ForNode,
    IfNode,
    Node,
    Op,
    affine_ast,
    evaluate,
    format_ast,
)
from polydl.poly.dependences import bounds_violation, dependences
from polydl.poly.distances import Distance, distances
from polydl.poly.equivalence import OtherValue, other_value
from polydl.poly.footprint import Footprint, footprint
from polydl.poly.freedom import free_columns, free_instances, undisturbed
from polydl.poly.generate import generate, iterator_names
from polydl.poly.isl import budget, operations_spent
from polydl.poly.legality import Violation, carried_by, check, independent, parallel_members
from polydl.poly.model import Access, AccessKind, Box, Dependence, DependenceKind, Scop, Statement
from polydl.poly.paths import Coordinate, Path, Position, common_coordinates, initial_tree, paths
from polydl.poly.sets import (
    count,
    extent,
    intersect,
    is_empty,
    is_subset,
    pairs_text,
    points,
    sample,
    set_text,
)
from polydl.poly.shares import share_of_instances
from polydl.poly.tree import (
    Allocate,
    Band,
    Filter,
    Leaf,
    Mark,
    Member,
    Selection,
    Sequence,
    Tree,
    map_tree,
    members,
    statements_below,
    walk,
    with_child,
)
from polydl.poly.treetext import format_tree, parse_tree, render
from polydl.poly.values import (
    Redirected,
    UnwrittenRead,
    ValueViolation,
    span,
    unwritten_read,
    value_violation,
)
from polydl.poly.verify import verify

__all__ = [
    "Access",
    "AccessKind",
    "Affine",
    "Allocate",
    "Ast",
    "Band",
    "BlockNode",
    "Box",
    "CallNode",
    "Coordinate",
    "Dependence",
    "DependenceKind",
    "Distance",
    "Filter",
    "FloorDiv",
    "Footprint",
    "ForNode",
    "IfNode",
    "Leaf",
    "Mark",
    "Member",
    "Mod",
    "Node",
    "Op",
    "OtherValue",
    "Path",
    "Position",
    "Redirected",
    "Scop",
    "Selection",
    "Sequence",
    "Statement",
    "Tree",
    "UnwrittenRead",
    "ValueViolation",
    "Violation",
    "affine",
    "affine_ast",
    "bounds_violation",
    "budget",
    "carried_by",
    "check",
    "common_coordinates",
    "count",
    "dependences",
    "distances",
    "evaluate",
    "extent",
    "footprint",
    "format_ast",
    "format_tree",
    "free_columns",
    "free_instances",
    "generate",
    "independent",
    "initial_tree",
    "intersect",
    "is_empty",
    "is_subset",
    "iterator_names",
    "map_tree",
    "members",
    "operations_spent",
    "other_value",
    "pairs_text",
    "parallel_members",
    "parse_tree",
    "paths",
    "points",
    "render",
    "sample",
    "set_text",
    "share_of_instances",
    "span",
    "statements_below",
    "unwritten_read",
    "value_violation",
    "undisturbed",
    "verify",
    "walk",
    "with_child",
]
