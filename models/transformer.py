"""Transformers.

bert-base: Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers", 2018 (with the pooler, no head).
gpt2-small: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019 (output layer tied).
vit-tiny: Dosovitskiy et al., "An Image is Worth 16x16 Words", 2020; size "tiny" of Touvron et al. (DeiT), 2020.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto

from models.build import DEFAULT_OPSET, Builder, Value, scaled

__all__ = ["bert_base", "gpt2_small", "vit_tiny"]

_HEAD = 64  # every one of them has heads of 64 features
_HIDDEN_SCORE = -10000.0  # what BERT adds to the score of a masked token


def _attend(g: Builder, q: Value, k: Value, v: Value, mask: Callable[[Value], Value]) -> Value:
    """Multi-head attention over (batch, tokens, features); `mask` maps scores (batch, heads, tokens, tokens)."""
    batch, tokens, features = q.shape
    heads = features // _HEAD
    q, k, v = (g.reshape(part, batch, tokens, heads, _HEAD) for part in (q, k, v))
    product = g.matmul(g.transpose(q, 0, 2, 1, 3), g.transpose(k, 0, 2, 3, 1))
    scores = g.node("Div", [product, g.scalar(math.sqrt(_HEAD))], product.shape)
    mixed = g.matmul(g.softmax(mask(scores)), g.transpose(v, 0, 2, 1, 3))
    return g.reshape(g.transpose(mixed, 0, 2, 1, 3), batch, tokens, features)


def _positions(g: Builder, name: str, tokens: int, table: int, features: int) -> Value:
    """The first `tokens` rows of a learned table of positions, with a leading batch axis."""
    indices = g.constant(np.arange(tokens, dtype=np.int64)[None])
    return g.gather(g.weight(name, (table, features)), indices)


def bert_base(
    *,
    tokens: int = 128,
    layers: int = 12,
    width: float = 1.0,
    vocabulary: int = 30522,
    batch: int = 1,
    seed: int = 0,
    opset: int = DEFAULT_OPSET,
) -> onnx.ModelProto:
    """input_ids, attention_mask, token_type_ids (batch, tokens) int64 -> last_hidden_state and pooler_output."""
    g = Builder("bert-base", opset=opset)
    features = scaled(768, width, _HEAD)
    ids, attention, kinds = (
        g.input(name, (batch, tokens), TensorProto.INT64)
        for name in ("input_ids", "attention_mask", "token_type_ids")
    )
    words = g.gather(g.weight("embeddings.word", (vocabulary, features)), ids)
    kind = g.gather(g.weight("embeddings.token_type", (2, features)), kinds)
    x = g.add(g.add(words, kind), _positions(g, "embeddings.position", tokens, 512, features))
    x = g.layer_norm(x, 1e-12)

    seen = g.unary("Cast", g.unsqueeze(g.unsqueeze(attention, 1), 2), to=TensorProto.FLOAT)
    hidden = g.node("Sub", [g.scalar(1.0), seen], seen.shape)
    penalty = g.mul(hidden, g.scalar(_HIDDEN_SCORE))
    for _ in range(layers):
        q, k, v = (g.dense(x, features) for _ in range(3))
        attended = _attend(g, q, k, v, lambda scores: g.add(scores, penalty))
        x = g.layer_norm(g.add(g.dense(attended, features), x), 1e-12)
        inner = g.gelu(g.dense(x, 4 * features))
        x = g.layer_norm(g.add(g.dense(inner, features), x), 1e-12)
    first = g.gather(x, g.constant(np.array(0, dtype=np.int64)), axis=1)
    return g.finish({"last_hidden_state": x, "pooler_output": g.tanh(g.dense(first, features))}, seed=seed)


def gpt2_small(
    *,
    tokens: int = 64,
    layers: int = 12,
    width: float = 1.0,
    vocabulary: int = 50257,
    batch: int = 1,
    seed: int = 0,
    opset: int = DEFAULT_OPSET,
) -> onnx.ModelProto:
    """input_ids (batch, tokens) int64 -> logits (batch, tokens, vocabulary)."""
    g = Builder("gpt2-small", opset=opset)
    features = scaled(768, width, _HEAD)
    ids = g.input("input_ids", (batch, tokens), TensorProto.INT64)
    table = g.weight("embeddings.word", (vocabulary, features))
    x = g.add(g.gather(table, ids), _positions(g, "embeddings.position", tokens, 1024, features))

    visible = g.constant(np.tri(tokens, dtype=np.bool_)[None, None])
    hidden = g.scalar(float(np.finfo(np.float32).min))
    for _ in range(layers):
        q, k, v = g.split(g.dense(g.layer_norm(x), 3 * features), 3, axis=2)
        attended = _attend(
            g, q, k, v, lambda scores: g.node("Where", [visible, scores, hidden], scores.shape)
        )
        x = g.add(x, g.dense(attended, features))
        x = g.add(x, g.dense(g.gelu_tanh(g.dense(g.layer_norm(x), 4 * features)), features))
    logits = g.matmul(g.layer_norm(x), g.transpose(table, 1, 0))
    return g.finish({"logits": logits}, seed=seed)


def vit_tiny(
    *,
    image: int = 224,
    layers: int = 12,
    width: float = 1.0,
    classes: int = 1000,
    batch: int = 1,
    seed: int = 0,
    opset: int = DEFAULT_OPSET,
) -> onnx.ModelProto:
    """Patches of 16x16; image (batch, 3, image, image) -> logits (batch, classes)."""
    g = Builder("vit-tiny", opset=opset)
    features = scaled(192, width, _HEAD)
    x = g.input("image", (batch, 3, image, image))
    x = g.conv(x, features, 16, 16, pad=0, bias=True)
    x = g.transpose(g.reshape(x, batch, features, x.shape[2] * x.shape[3]), 0, 2, 1)
    shape = (batch, 1, features)
    token = g.node("Expand", [g.weight("class_token", (1, 1, features)), g.ints(*shape)], shape)
    x = g.concat([token, x])
    x = g.add(x, g.weight("embeddings.position", (1, x.shape[1], features)))
    for _ in range(layers):
        mixed = g.dense(g.layer_norm(x, 1e-6), 3 * features)
        q, k, v = g.split(mixed, 3, axis=2)
        x = g.add(x, g.dense(_attend(g, q, k, v, lambda scores: scores), features))
        x = g.add(x, g.dense(g.gelu(g.dense(g.layer_norm(x, 1e-6), 4 * features)), features))
    first = g.gather(g.layer_norm(x, 1e-6), g.constant(np.array(0, dtype=np.int64)), axis=1)
    return g.finish({"logits": g.dense(first, classes)}, seed=seed)
