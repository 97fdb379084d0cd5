"""The networks of this folder: name, builder, published size."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import onnx

from models.densenet import densenet121
from models.efficientnet import efficientnet_b0
from models.inception import inception_v3
from models.lstm import lstm
from models.mlp import mlp
from models.mobilenet import mobilenet_v1, mobilenet_v2, mobilenet_v3_small
from models.resnet import resnet18, resnet50
from models.shufflenet import shufflenet_v2
from models.squeezenet import squeezenet1_1
from models.transformer import bert_base, gpt2_small, vit_tiny
from models.unet import unet
from models.vgg import vgg16
from models.yolo import yolo_tiny
from polydl.errors import UsageError

__all__ = ["NETWORKS", "Network", "build"]


@dataclass(frozen=True, slots=True)
class Network:
    """A builder, and the number of parameters its authors (or the reference implementation) publish.

    BatchNormalization's running mean and variance are not counted, except with `statistics`, where the published
    number is the size of a weight file that holds them. `small` are options that make a quick variant for tests.
    """

    builder: Callable[..., onnx.ModelProto]
    parameters: int
    small: dict[str, int | float]
    statistics: bool = False

    @property
    def options(self) -> tuple[str, ...]:
        return tuple(inspect.signature(self.builder).parameters)


_IMAGE = {"image": 64, "width": 0.25, "classes": 40}
_TEXT = {"tokens": 16, "layers": 2, "width": 0.17, "vocabulary": 100}

NETWORKS: dict[str, Network] = {
    "resnet18": Network(resnet18, 11_689_512, _IMAGE),
    "resnet50": Network(resnet50, 25_557_032, _IMAGE),
    "vgg16": Network(vgg16, 138_357_544, _IMAGE),
    "mobilenet_v1": Network(mobilenet_v1, 4_231_976, _IMAGE),
    "mobilenet_v2": Network(mobilenet_v2, 3_504_872, _IMAGE),
    "mobilenet_v3_small": Network(mobilenet_v3_small, 2_542_856, _IMAGE),
    "squeezenet1_1": Network(squeezenet1_1, 1_235_496, _IMAGE),
    "shufflenet_v2": Network(shufflenet_v2, 2_278_604, _IMAGE),
    "efficientnet_b0": Network(efficientnet_b0, 5_288_548, _IMAGE),
    "densenet121": Network(densenet121, 7_978_856, _IMAGE),
    "inception_v3": Network(inception_v3, 23_834_568, {**_IMAGE, "image": 107}),
    "unet": Network(unet, 31_030_658, {"image": 32, "width": 0.125}),
    "yolo-tiny": Network(yolo_tiny, 15_867_885, {**_IMAGE, "classes": 4}, statistics=True),
    "mlp": Network(mlp, 2_395_210, {"width": 0.1}),
    "bert-base": Network(bert_base, 109_482_240, _TEXT),
    "gpt2-small": Network(gpt2_small, 124_439_808, _TEXT),
    "vit-tiny": Network(vit_tiny, 5_717_416, {"image": 64, "layers": 2, "classes": 40}),
    "lstm": Network(lstm, 19_780_400, {"tokens": 8, "width": 0.1, "vocabulary": 100}),
}


def build(name: str, **options: Any) -> onnx.ModelProto:
    """The named network as a float32 ONNX model with seeded weights.

    Options (each builder takes some): `seed`, `opset`, `batch`, `width` (multiplies channels), `image`, `classes`,
    `tokens`, `layers`, `vocabulary`. Raises UsageError for an unknown name or an option the network does not have.
    """
    if name not in NETWORKS:
        raise UsageError(f"unknown network {name!r}", why=f"there are {', '.join(NETWORKS)}")
    network = NETWORKS[name]
    unknown = sorted(set(options) - set(network.options))
    if unknown:
        raise UsageError(
            f"{name} has no option {', '.join(unknown)}", why=f"its options are {', '.join(network.options)}"
        )
    return network.builder(**options)
