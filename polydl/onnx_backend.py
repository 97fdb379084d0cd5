"""polydl behind ONNX's own backend interface, `onnx.backend.base`.

    import polydl.onnx_backend as backend
    rep = backend.prepare(onnx.load("model.onnx"))
    outputs = rep.run([array])

Models are compiled for static shapes. A model that leaves dimensions open, or whose shapes depend on the *values* of
inputs (the second input of `Reshape`, the sizes of `Resize`), is compiled when it is first run with such shapes and
values, and kept for the next run with the same ones: `Prepared.deciding` names those inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.backend.base import Backend, BackendRep, Device, DeviceType, namedtupledict

from polydl.compiler import compile_graph
from polydl.errors import InvalidInput, UsageError
from polydl.graph.importer import import_model
from polydl.graph.limits import DEFAULT_LIMITS
from polydl.graph.structure import default_opset, inline_functions, schema_of
from polydl.ops import static_inputs, supported
from polydl.runtime import Module

__all__ = [
    "PolydlBackend",
    "Prepared",
    "deciding_inputs",
    "prepare",
    "run_model",
    "run_node",
    "supports_device",
]

Array = np.ndarray[Any, Any]
_WHERE: Final = "the model"
_NOWHERE: Final = Path("/dev/null")  # a message in memory has no folder to read external data from
_SHAPE_ONLY: Final = frozenset({"Shape", "Size"})  # operators that read no values of their inputs
_INTEGERS: Final = frozenset({onnx.TensorProto.INT32, onnx.TensorProto.INT64})
_MAX_COMPILED: Final = 16  # specialisations that a Prepared keeps


class Prepared(BackendRep):  # type: ignore[misc]  # onnx is untyped
    """A model ready to run. `inputs` are the names that positional arrays are given for; `deciding` are those whose
    values are compiled in because shapes depend on them."""

    def __init__(self, model: onnx.ModelProto, target: str, threads: int | None) -> None:
        self._model, self._target, self._threads = model, target, threads
        constant = {t.name for t in model.graph.initializer}
        self._declared = {i.name: i for i in model.graph.input if i.name not in constant}
        self.inputs = tuple(self._declared)
        self.deciding = deciding_inputs(model)
        self._outputs = namedtupledict("Outputs", [o.name for o in model.graph.output])
        self._modules: dict[tuple[Any, ...], Module] = {}
        if not self.deciding and all(_is_static(i) for i in self._declared.values()):
            self._module({}, {})

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs, by position or by name, for arrays in order of `inputs`, by name, or a single array.

        Raises InvalidInput for arrays that do not fit, and what compiling raises where the model is new to them.
        """
        if kwargs:
            raise UsageError(f"run has no option {', '.join(kwargs)}", where="polydl.onnx_backend")
        given = self._named(inputs)
        fixed = {n: given[n] for n in self.inputs if n in self.deciding}
        shapes = {
            n: a.shape for n, a in given.items() if n not in fixed and not _is_static(self._declared[n])
        }
        results = self._module(fixed, shapes).run({n: a for n, a in given.items() if n not in fixed})
        return self._outputs(*(results[o.name] for o in self._model.graph.output))  # type: ignore[no-any-return]

    def _named(self, inputs: Any) -> dict[str, Array]:
        if isinstance(inputs, np.ndarray):
            inputs = [inputs]
        names = list(inputs) if isinstance(inputs, Mapping) else list(self.inputs[: len(inputs)])
        if len(inputs) != len(self.inputs) or set(names) != set(self.inputs):
            raise InvalidInput(
                f"the inputs are {', '.join(self.inputs)}", why=f"given are {len(inputs)} inputs"
            )
        given = dict(inputs) if isinstance(inputs, Mapping) else dict(zip(names, inputs, strict=True))
        for name, value in given.items():
            if not isinstance(value, np.ndarray | np.generic | int | float | bool):
                raise InvalidInput(f"input '{name}' is no array", why=f"it is a {type(value).__name__}")
        return {name: np.asarray(value) for name, value in given.items()}

    def _module(self, fixed: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]]) -> Module:
        values = tuple((n, a.shape, a.dtype.str, a.tobytes()) for n, a in fixed.items())
        key = (values, tuple(shapes.items()))
        if key not in self._modules:
            if len(self._modules) == _MAX_COMPILED:
                self._modules.pop(next(iter(self._modules))).close()
            graph = import_model(_with_constants(self._model, fixed), _WHERE, _NOWHERE, shapes=shapes)
            self._modules[key] = compile_graph(graph, "model", target=self._target).module(self._threads)
        return self._modules[key]


class PolydlBackend(Backend):  # type: ignore[misc]  # onnx is untyped
    """The backend as ONNX wants it: a class whose class methods do the work."""

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether the device is there; what of a model cannot be compiled is said, all at once, by `prepare`."""
        return cls.supports_device(device)

    @classmethod
    def prepare(
        cls,
        model: onnx.ModelProto,
        device: str = "CPU",
        *,
        target: str = "native",
        threads: int | None = None,
        **kwargs: Any,
    ) -> Prepared:
        """The model compiled as far as its inputs are known. Raises what `polydl.compile_model` raises."""
        if not cls.supports_device(device):
            raise UsageError(f"there is no device '{device}'", where="polydl.onnx_backend", next="use CPU")
        if kwargs:
            raise UsageError(f"prepare has no option {', '.join(kwargs)}", where="polydl.onnx_backend")
        return Prepared(model, target, threads)

    @classmethod
    def run_model(
        cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any
    ) -> tuple[Any, ...]:
        """`prepare` and one run."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype[Any], tuple[int, ...]]] | None = None,
        *,
        opset_version: int | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """One operator on arrays, in the newest operator set or that of `opset_version`."""
        opset = opset_version or onnx.defs.onnx_opset_version()
        names = [i for i in dict.fromkeys(node.input) if i]
        given = dict(inputs) if isinstance(inputs, Mapping) else dict(zip(names, inputs, strict=True))
        arrays = {n: np.asarray(a) for n, a in given.items()}
        types = {n: helper.np_dtype_to_tensor_dtype(a.dtype) for n, a in arrays.items()}
        infos = [helper.make_tensor_value_info(n, types[n], a.shape) for n, a in arrays.items()]
        outputs = [
            helper.make_tensor_value_info(o, onnx.TensorProto.UNDEFINED, None) for o in node.output if o
        ]
        graph = helper.make_graph([node], "node", infos, outputs)
        imports = [helper.make_opsetid(node.domain, opset)]
        return cls.run_model(helper.make_model(graph, opset_imports=imports), arrays, device, **kwargs)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """The CPU."""
        try:
            return bool(Device(device).type == DeviceType.CPU)
        except (AttributeError, ValueError):  # how onnx says that it knows no such device
            return False


def deciding_inputs(model: onnx.ModelProto) -> frozenset[str]:
    """The scalar and vector inputs on whose values shapes depend: those from which an operand is computed that an
    operator needs at build time, or the condition of an `If`; and the integers from which one is computed of an
    operator that ONNX defines by a function, since inside it they may be sizes."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.ClearField("initializer")
    opset = default_opset(copy, _WHERE)
    nodes = list(inline_functions(copy, DEFAULT_LIMITS, _WHERE).graph.node)
    needed = {n.input[k] for n in nodes for k in _build_time(n, opset) if k < len(n.input)}
    inside = {i for n in nodes if _is_function(n, opset) for i in n.input}
    sure, perhaps = _sources(nodes, needed), _sources(nodes, inside)
    constant = {t.name for t in model.graph.initializer}
    return frozenset(
        i.name
        for i in model.graph.input
        if i.name not in constant
        and len(i.type.tensor_type.shape.dim) <= 1
        and (i.name in sure or (i.name in perhaps and i.type.tensor_type.elem_type in _INTEGERS))
    )


def _sources(nodes: Sequence[onnx.NodeProto], names: set[str]) -> set[str]:
    """`names` and everything from whose values they are computed."""
    found = names - {""}
    for node in reversed(nodes):
        if found & set(node.output) and node.op_type not in _SHAPE_ONLY:
            found |= {i for i in node.input if i}
    return found


def _build_time(node: onnx.NodeProto, opset: int) -> frozenset[int]:
    """Positions of the operands that must be known when the node is compiled."""
    return frozenset({0}) if node.op_type == "If" else static_inputs(node.op_type, node.domain, opset)


def _is_function(node: onnx.NodeProto, opset: int) -> bool:
    """Is the node replaced by other operators, any of which may need any of its operands?"""
    schema = schema_of(node, opset)
    defined = schema is not None and (schema.has_function or schema.has_context_dependent_function)
    return defined and ("", node.op_type) not in supported()


def _with_constants(model: onnx.ModelProto, fixed: Mapping[str, Array]) -> onnx.ModelProto:
    """A copy of the model in which inputs have become constants."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    kept = [i for i in result.graph.input if i.name not in fixed]
    del result.graph.input[:]
    result.graph.input.extend(kept)
    result.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in fixed.items())
    return result


def _is_static(value: onnx.ValueInfoProto) -> bool:
    """Whether nothing about the input's shape is left open (what is no tensor is refused when it is imported)."""
    if not value.type.HasField("tensor_type"):
        return True
    tensor = value.type.tensor_type
    return tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim)


prepare = PolydlBackend.prepare
run_model = PolydlBackend.run_model
run_node = PolydlBackend.run_node
supports_device = PolydlBackend.supports_device
