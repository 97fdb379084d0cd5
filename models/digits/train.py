"""Train the digits network and write `digits.onnx` and `holdout.npz` beside this file: `python -m models.digits.train`.

Data: scikit-learn's copy of the UCI "Optical Recognition of Handwritten Digits" test set, 1797 images of 8x8 pixels.
A quarter, stratified by class, is held out and never used in training or in choosing when to stop. Needs torch and
scikit-learn (the extras `peers` and `test`); building and running the result needs neither.
"""

from __future__ import annotations

import argparse

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits  # type: ignore[import-untyped]
from sklearn.model_selection import train_test_split  # type: ignore[import-untyped]
from torch import nn

from models.digits.data import HOLDOUT, MODEL, Samples

__all__ = ["main"]

_OPSET = 17
_HELD_OUT = 0.25
_EPOCHS = 60
_BATCH = 32
_INK = 16.0  # a pixel of the data counts ink from 0 to 16


class Digits(nn.Module):  # type: ignore[misc]  # torch is optional, hence untyped here
    """Three convolutions with batch normalisation, two poolings, two fully connected layers; 23 114 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.conv2, self.bn2 = nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32)
        self.conv3, self.bn3 = nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32)
        self.fc1, self.fc2 = nn.Linear(128, 64), nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.max_pool2d(torch.relu(self.bn2(self.conv2(x))), 2)
        x = torch.max_pool2d(torch.relu(self.bn3(self.conv3(x))), 2)
        return self.fc2(torch.relu(self.fc1(torch.flatten(x, 1))))


def split_data() -> tuple[Samples, Samples]:
    """(training, held out)."""
    digits = load_digits()
    images = (digits.images[:, None] / _INK).astype(np.float32)
    labels = digits.target.astype(np.int64)
    parts = train_test_split(images, labels, test_size=_HELD_OUT, stratify=labels, random_state=0)
    return Samples(parts[0], parts[2]), Samples(parts[1], parts[3])


def shifted(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Every image moved by up to one pixel each way, with blank paper coming in."""
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    result = torch.empty_like(images)
    offsets = torch.randint(0, 3, (len(images), 2), generator=generator).tolist()
    for index, (row, column) in enumerate(offsets):
        result[index] = padded[index, :, row : row + 8, column : column + 8]
    return result


def train(samples: Samples, seed: int) -> Digits:
    """Adam with a cosine schedule on cross-entropy, images shifted at random. Deterministic on one thread."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(seed)
    network = Digits()
    images, labels = torch.from_numpy(samples.images), torch.from_numpy(samples.labels)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _EPOCHS)
    for epoch in range(_EPOCHS):
        total = 0.0
        for chunk in torch.randperm(len(images), generator=generator).split(_BATCH):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(shifted(images[chunk], generator)), labels[chunk])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(chunk)
        schedule.step()
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: training loss {total / len(images):.4f}")
    network.eval()
    return network


def accuracy(network: Digits, samples: Samples) -> float:
    with torch.inference_mode():
        named = network(torch.from_numpy(samples.images)).argmax(1).numpy()
    return float((named == samples.labels).mean())


def export(network: Digits) -> onnx.ModelProto:
    """The network as ONNX, batch 1, BatchNormalization not folded, ending in Softmax.

    Written with onnx.helper so that the file depends neither on torch's exporter nor on its version.
    """
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    nodes: list[onnx.NodeProto] = []
    used: list[str] = []

    def apply(op: str, x: str, y: str, parameters: tuple[str, ...] = (), **attributes: object) -> str:
        used.extend(parameters)
        nodes.append(helper.make_node(op, [x, *parameters], [y], name=y, **attributes))
        return y

    x = "image"
    for layer in (1, 2, 3):
        window = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [1, 1]}
        x = apply("Conv", x, f"conv{layer}", (f"conv{layer}.weight", f"conv{layer}.bias"), **window)
        statistics = [f"bn{layer}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
        x = apply("BatchNormalization", x, f"bn{layer}", tuple(statistics), epsilon=1e-5)
        x = apply("Relu", x, f"relu{layer}")
        if layer > 1:
            x = apply("MaxPool", x, f"pool{layer}", kernel_shape=[2, 2], strides=[2, 2])
    x = apply("Flatten", x, "flat", axis=1)
    x = apply("Gemm", x, "fc1", ("fc1.weight", "fc1.bias"), transB=1)
    x = apply("Relu", x, "relu4")
    x = apply("Gemm", x, "fc2", ("fc2.weight", "fc2.bias"), transB=1)
    apply("Softmax", x, "probabilities", axis=1)

    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, 10])],
        [numpy_helper.from_array(weights[name], name) for name in used],
    )
    operators = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(
        graph,
        opset_imports=operators,
        ir_version=helper.find_min_ir_version_for(operators),
        producer_name="polydl.models.digits",
        doc_string="Handwritten digits, 8x8 pixels. Trained by models/digits/train.py.",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m models.digits.train", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    seed: int = parser.parse_args().seed
    training, held_out = split_data()
    network = train(training, seed)
    print(f"training accuracy {accuracy(network, training):.4f}, held out {accuracy(network, held_out):.4f}")
    onnx.save(export(network), MODEL)
    np.savez_compressed(HOLDOUT, images=held_out.images, labels=held_out.labels)
    print(f"wrote {MODEL} and {HOLDOUT}")


if __name__ == "__main__":
    main()
