"""What of ONNX's backend suite polydl refuses, each with its reason. A case that matches nothing here must pass."""

from __future__ import annotations

import re
from typing import Final

import onnx

__all__ = ["CASES", "CATEGORIES", "OPERATORS", "ROUNDING", "TYPES", "reason"]

TYPES: Final = frozenset(
    {
        "FLOAT",
        "DOUBLE",
        "FLOAT16",
        "INT8",
        "INT16",
        "INT32",
        "INT64",
        "UINT8",
        "UINT16",
        "UINT32",
        "UINT64",
        "BOOL",
    }
)
"""The element types that polydl has; every other makes the case excluded."""

_LISTS = "sequences and optionals are not tensors"
_BODY = "an operator with a body of its own, run a number of times known only at run time"
_SIZE = "the size of its result depends on data"
_QUANTISED = "quantised arithmetic is not compiled yet"
_RECURRENT = "recurrent operators are not compiled yet"
_RANDOM = "a random result is nothing to compare"
_TRAINING = "training is not compiled"
_SIGNAL = "signal processing is not among the operators compiled"
_SCATTER = "writes to positions known only at run time are not compiled yet"
_VISION = "sampling at positions known only at run time is not compiled yet"
_OTHER = "not among the operators compiled"

ROUNDING: Final = "the suite wants f16's rounding of every value on the way; polydl rounds where it stores"
"""Cases that run, with results a unit or two in the last place from the suite's."""

OPERATORS: Final = {
    **dict.fromkeys(
        ("SequenceConstruct", "SequenceAt", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength",
         "SequenceMap", "ConcatFromSequence", "SplitToSequence", "OptionalGetElement"),
        _LISTS,
    ),
    **dict.fromkeys(("Loop", "Scan"), _BODY),
    **dict.fromkeys(("NonZero", "NonMaxSuppression", "Unique", "Compress", "ImageDecoder"), _SIZE),
    **dict.fromkeys(
        ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearMatMul", "QLinearConv", "ConvInteger",
         "MatMulInteger"),
        _QUANTISED,
    ),
    **dict.fromkeys(("RNN", "GRU", "LSTM"), _RECURRENT),
    **dict.fromkeys(("Bernoulli", "RandomUniformLike"), _RANDOM),
    **dict.fromkeys(("Adagrad", "Adam", "Momentum", "Gradient"), _TRAINING),
    **dict.fromkeys(("DFT", "STFT", "MelWeightMatrix"), _SIGNAL),
    **dict.fromkeys(("TensorScatter", "MaxUnpool"), _SCATTER),
    **dict.fromkeys(("GridSample", "RoiAlign", "DeformConv"), _VISION),
    "LinearAttention": "ONNX defines it with a Scan",
    "FlexAttention": "an operator of ONNX's preview domain",
    **dict.fromkeys(("TfIdfVectorizer", "StringNormalizer", "TreeEnsemble", "ArrayFeatureExtractor", "Binarizer",
                     "LabelEncoder"), "classical machine learning and text are not compiled"),
    **dict.fromkeys(("TopK", "BitCast", "Col2Im", "Det"), _OTHER),
}  # fmt: skip
"""Operators that are not compiled; a case with one of them, spelled out or inside a function, is excluded."""

CASES: Final = {
    r"test_affine_grid_.*": "ONNX's function for AffineGrid gives Range vectors, which ONNX forbids",
    r"test_(attention_4d|attention_4d_causal|attention_4d_gqa_with_past_and_present|causal_conv_with_state_silu)"
    r"_fp16(_expanded)?": ROUNDING,
    r"test_attention_4d_gqa_causal_nonpad_decode_fp16_expanded": ROUNDING,
}
"""Names of single cases -> reason."""

_GAPS: Final = frozenset(
    {"Attention", "CausalConvWithState"}
)  # compiled through the functions that define them

CATEGORIES: Final = {
    "Real": "the suite writes into the home folder; tests/networks runs the same nine with random weights",
}


def reason(category: str, name: str, model: onnx.ModelProto) -> str | None:
    """Why the case `name` (without its device) is excluded; None where it must pass."""
    if category in CATEGORIES:
        return CATEGORIES[category]
    for pattern, why in CASES.items():
        if re.fullmatch(pattern, name):
            return why
    for value in (*model.graph.input, *model.graph.output):
        kind = value.type.WhichOneof("value")
        if kind != "tensor_type":
            return _LISTS
        element = onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)
        if element not in TYPES:
            return f"no element type {element.lower()}"
    if any(n.op_type in _GAPS and "" in n.input for n in model.graph.node):
        return "onnx's inliner cannot expand a node that leaves out an input before one that it gives"
    return next((OPERATORS[n.op_type] for n in model.graph.node if n.op_type in OPERATORS), None)
