"""Where the values of a network lie: one blocked layout over the whole graph, halos of zeros, shared storage.

Blocked storage of a value [N, C, H, W] with block b and halo ((t, l), …) is [N, ceil(C/b), t + H + t', l + W + l', b]:
lane c % b of block c / b. A convolution over channels then loads vectors of b output channels and broadcasts inputs;
chains of convolutions, pools and elementwise nodes stay blocked, and only what enters or leaves such a region reads
or writes the other form, through its own access functions.

* **Surplus lanes.** Where C is not a multiple of b, whatever is computed per channel (convolution outputs, depthwise
  convolutions, pools, elementwise nodes) is computed for all lanes, with weights and per-channel constants padded by
  zeros. Contents of surplus lanes never reach another lane: whoever sums over channels reads c < C.
* **Halo.** A convolution with padding reads zeros around its input. The *producer* writes them, so the convolution has
  no edge conditions and no padded copy.
* **Slices.** Concat and Split along the outermost storage dimension that varies copy nothing: the parts lie inside the
  whole. Reshapes of dense storage are the same bytes under another shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

from polydl.graph.groups import Group, GroupKind, kind_of, make_groups
from polydl.graph.ir import Graph, Node
from polydl.graph.nodes import depthwise, op_node
from polydl.graph.placement import (
    ALIGNMENT,
    PLAIN,
    Halo,
    Layouts,
    Placement,
    Slice,
    storage_bytes,
    storage_shape,
)
from polydl.graph.sharing import find_slices, is_free, root_of, with_offsets
from polydl.ops.convolution import padding_read
from polydl.ops.windows import windows

__all__ = [
    "PLAIN",
    "Layouts",
    "Placement",
    "Slice",
    "absorb_copies",
    "arrange",
    "choose_layouts",
    "isolate_inputs",
    "isolate_outputs",
    "storage_bytes",
    "storage_shape",
]


def isolate_outputs(graph: Graph) -> Graph:
    """The graph with an Identity before every output, so that what computes it is free to choose its own layout.

    The Identity costs nothing where the layout chosen is the output's; it is the copy where an output is a constant
    or an input. An output that is an input gets a name of its own.
    """
    names = set(graph.values)
    values = dict(graph.values)
    inner: dict[str, str] = {}  # output -> what it copies
    outputs = []
    for o in graph.outputs:
        name = _unused(f"{o}_output" if o in graph.inputs else f"{o}_inner", names)
        names.add(name)
        copied, output = (o, name) if o in graph.inputs else (name, o)
        values[name] = replace(graph.values[o], name=name)
        inner[output] = copied
        outputs.append(output)
    renamed = {o: i for o, i in inner.items() if o in graph.values}
    nodes = [
        replace(
            n,
            inputs=tuple(renamed.get(i, i) for i in n.inputs),
            outputs=tuple(renamed.get(o, o) for o in n.outputs),
        )
        for n in graph.nodes
    ]
    copies = [Node(f"{o}_output", "Identity", max(graph.opset, 7), (i,), (o,)) for o, i in inner.items()]
    constants = {renamed.get(c, c): a for c, a in graph.constants.items()}
    return replace(graph, outputs=tuple(outputs), nodes=(*nodes, *copies), values=values, constants=constants)


def isolate_inputs(graph: Graph) -> Graph:
    """The graph with an Identity after every input that a depthwise convolution reads.

    Such a convolution has one input per output and tap: it gains more from a blocked input with a halo than the copy
    costs. The Identity costs nothing where the input's own layout is kept.
    """
    names = set(graph.values)
    values = dict(graph.values)
    nodes: list[Node] = []
    copies: dict[str, str] = {}
    for v in graph.inputs:
        if any(n.op_type == "Conv" and depthwise(graph, n) and n.inputs[0] == v for n in graph.nodes):
            copies[v] = _unused(f"{v}_copy", names)
            names.add(copies[v])
            values[copies[v]] = replace(graph.values[v], name=copies[v])
            nodes.append(Node(f"{v}_input", "Identity", max(graph.opset, 7), (v,), (copies[v],)))
    for n in graph.nodes:
        windowed = n.op_type == "Conv" and depthwise(graph, n) and n.inputs[0] in copies
        nodes.append(replace(n, inputs=(copies[n.inputs[0]], *n.inputs[1:])) if windowed else n)
    return replace(graph, nodes=tuple(nodes), values=values)


def arrange(graph: Graph, block: int | None) -> tuple[Graph, tuple[Group, ...], Layouts]:
    """The graph cut into groups, and where their values lie: `block` channels to a vector (None: row-major)."""
    graph = isolate_inputs(isolate_outputs(graph))
    groups = make_groups(graph)
    layouts = choose_layouts(graph, groups, block)
    return graph, absorb_copies(graph, groups, layouts), layouts


def absorb_copies(graph: Graph, groups: Sequence[Group], layouts: Layouts) -> tuple[Group, ...]:
    """The groups in which each contraction makes the row-major copy of its blocked result itself.

    before:  g0: Conv -> v (blocked);  g1: Identity v -> y (row-major)
    after:   g0: Conv, Identity -> y
    The copy can then be made tile by tile, while the tile is near. `v` must be dense and no part of another value.
    """
    readers: dict[str, list[Group]] = {}
    for g in groups:
        for i in g.inputs:
            readers.setdefault(i, []).append(g)
    absorbed: dict[str, Group] = {}  # by name of the contraction's group
    for g in groups:
        if g.kind is not GroupKind.CONTRACTION or len(g.outputs) != 1 or g.outputs[0] in layouts.slices:
            continue
        place = layouts.of(g.outputs[0])
        after = readers.get(g.outputs[0], [])
        if place.block is None or any(n for ends in place.halo for n in ends) or len(after) != 1:
            continue
        (copy,) = after
        alone = copy.anchor.op_type == "Identity" and len(copy.nodes) == 1
        if alone and layouts.of(copy.outputs[0]) == PLAIN and copy.name not in layouts.free:
            absorbed[g.name] = copy
    gone = {g.name for g in absorbed.values()}
    result = []
    for g in groups:
        if g.name in absorbed:
            copy = absorbed[g.name]
            result.append(replace(g, nodes=(*g.nodes, *copy.nodes), outputs=copy.outputs))
        elif g.name not in gone:
            result.append(g)
    return tuple(result)


def _unused(name: str, names: set[str]) -> str:
    while name in names:
        name += "_"
    return name


def choose_layouts(graph: Graph, groups: Sequence[Group], block: int | None) -> Layouts:
    """Placements and storage sharing for all values, `block` channels to a vector (None: everything row-major)."""
    blocked: set[str] = set()
    if block is not None:
        for g in groups:
            if _blockable(graph, g, block, blocked):
                blocked |= set(g.outputs)
    external = {*graph.inputs, *graph.outputs, *graph.constants}
    form = {v: Placement(block) for v in blocked if v not in external}
    separate: set[str] = set()  # values whose parts turn out to begin at unaligned places
    while True:
        slices = find_slices(graph, groups, form, external, separate)
        halos = _halos(graph, groups, form, slices, external)
        placements = form | {v: replace(form.get(v, PLAIN), halo=h) for v, h in halos.items()}
        slices = with_offsets(graph, groups, placements, slices)
        unaligned = {s.base for s in slices.values() if s.offset % ALIGNMENT}
        if not unaligned:
            break
        separate |= unaligned
    free = frozenset(g.name for g in groups if is_free(g, slices))
    return Layouts(placements, slices, free)


def _blockable(graph: Graph, group: Group, block: int, blocked: set[str]) -> bool:
    """Is the group's result computed per channel, or summed over channels, from fitting operands?"""
    anchor = group.anchor
    out = graph.values[group.outputs[0]]
    if len(out.shape) < 3 or any(o in graph.outputs for o in group.outputs):
        return False
    channels = out.shape[1]
    surplus = channels % block != 0
    data = [i for i in anchor.inputs if i and i not in graph.constants]
    match anchor.op_type:
        case "Conv" | "ConvTranspose" if depthwise(graph, anchor):
            wanted = data[0] in blocked
        case "Conv" | "ConvTranspose":
            # Below half a block, more lanes would be idle than busy. That is better than lanes of pixels, though, where
            # neighbouring pixels lie a block apart.
            fits = 2 * channels >= block
            wanted = (fits or data[0] in blocked) and (anchor.integer("group", 1) == 1 or not surplus)
        case "Concat" | "Split":
            axis = anchor.integer("axis") % len(out.shape)
            parts = anchor.inputs if anchor.op_type == "Concat" else anchor.outputs
            aligned = all(not p or graph.values[p].shape[1] % block == 0 for p in parts[:-1])
            return all(i in blocked for i in data) and (axis >= 2 or (axis == 1 and aligned))
        case "Resize" | "Upsample" | "BatchNormalization" | "InstanceNormalization":
            return (
                data[0] in blocked
                and graph.values[data[0]].shape[:2] == out.shape[:2]
                and len(group.nodes) == 1
                and not (surplus and len(data) > 1)
            )
        case op if op.startswith("Global") or kind_of(anchor) is GroupKind.POOL:
            wanted = data[0] in blocked
        case "Identity" if anchor.inputs[0] in graph.inputs and len(group.nodes) == 1:
            readers = [n for n in graph.nodes if out.name in n.inputs]
            return not surplus and any(n.op_type == "Conv" and depthwise(graph, n) for n in readers)
        case _ if kind_of(anchor) is GroupKind.ELEMENTWISE:
            wanted = any(i in blocked for i in group.inputs)
        case _:
            return False
    if not wanted:
        return False
    # Every operand that has these channels must have the surplus lanes too (constants are padded when they are packed);
    # a sum over channels reads the true ones.
    summed = (
        {anchor.inputs[0]}
        if kind_of(anchor) is GroupKind.CONTRACTION and not depthwise(graph, anchor)
        else set()
    )
    for n in group.nodes:
        for i in n.inputs:
            if not i or i in graph.constants or i not in group.inputs or (n is anchor and i in summed):
                continue
            shape = graph.values[i].shape
            aligned = len(shape) == len(out.shape) and shape[1] == channels
            if i not in blocked and ((surplus and channels in shape) or (aligned and prod(shape[2:]) > 1)):
                return False
    return True


def _halos(
    graph: Graph,
    groups: Sequence[Group],
    placements: Mapping[str, Placement],
    slices: dict[str, Slice],
    external: set[str],
) -> dict[str, Halo]:
    """Zeros to be written around each value, as much as the convolutions that read it need; equal within shared
    storage."""
    function_made = {o for g in groups if len(g.outputs) == 1 for o in g.outputs} - external
    needed: dict[str, Halo] = {}
    for g in groups:
        if g.anchor.op_type != "Conv":
            continue
        x = g.anchor.inputs[0]
        if x not in function_made or x not in placements:
            continue
        reach = _reach(graph, g.anchor)
        if any(a or b for a, b in reach):
            needed[x] = _wider(needed.get(x), reach)
    # Storage is shared by equal halos only: a class takes the widest of its members'; where it cannot have one, its
    # members do without and the convolution makes a padded copy.
    classes: dict[str, list[str]] = {}
    for v in {*slices, *(s.base for s in slices.values()), *needed}:
        classes.setdefault(root_of(v, slices), []).append(v)
    result: dict[str, Halo] = {}
    for root, members in classes.items():
        wanted = [needed[m] for m in members if m in needed]
        if not wanted:
            continue
        same_form = all(
            m in placements
            and m not in external
            and graph.values[m].shape[2:] == graph.values[root].shape[2:]
            for m in members
        )
        if not same_form:
            continue
        halo = wanted[0]
        for h in wanted[1:]:
            halo = _wider(halo, h)
        result |= dict.fromkeys(members, halo)
    return result


def _reach(graph: Graph, node: Node) -> Halo:
    x, w = graph.values[node.inputs[0]], graph.values[node.inputs[1]]
    view = windows(op_node(graph, node), x.shape[2:], w.shape[2:])
    return padding_read(view, node.integer("group", 1), w.shape[1])


def _wider(a: Halo | None, b: Halo) -> Halo:
    return b if a is None else tuple((max(p, r), max(q, s)) for (p, q), (r, s) in zip(a, b, strict=True))
