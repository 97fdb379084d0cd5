"""A word-level language model of two LSTM layers: Zaremba, Sutskever, Vinyals, "Recurrent Neural Network
Regularization", 2014, the medium network (650 units, 35 steps, 10 000 words)."""

from __future__ import annotations

import onnx
from onnx import TensorProto

from models.build import DEFAULT_OPSET, Builder, Value, scaled

__all__ = ["lstm"]


def _lstm_layer(g: Builder, x: Value, hidden: int, name: str) -> Value:
    """Forward LSTM over (steps, batch, features) from zero state -> (steps, batch, hidden)."""
    steps, batch, features = x.shape
    weights = [
        g.weight(f"{name}.input", (1, 4 * hidden, features)),
        g.weight(f"{name}.recurrent", (1, 4 * hidden, hidden)),
        g.weight(f"{name}.bias", (1, 8 * hidden)),
    ]
    y = g.node("LSTM", [x, *weights], (steps, 1, batch, hidden), hidden_size=hidden)
    return g.squeeze(y, 1)


def lstm(
    *,
    tokens: int = 35,
    layers: int = 2,
    width: float = 1.0,
    vocabulary: int = 10000,
    batch: int = 1,
    seed: int = 0,
    opset: int = DEFAULT_OPSET,
) -> onnx.ModelProto:
    """input_ids (tokens, batch) int64 -> logits (tokens, batch, vocabulary)."""
    g = Builder("lstm", opset=opset)
    hidden = scaled(650, width)
    ids = g.input("input_ids", (tokens, batch), TensorProto.INT64)
    x = g.gather(g.weight("embeddings.word", (vocabulary, hidden)), ids)
    for layer in range(layers):
        x = _lstm_layer(g, x, hidden, f"lstm_{layer}")
    return g.finish({"logits": g.dense(x, vocabulary)}, seed=seed)
