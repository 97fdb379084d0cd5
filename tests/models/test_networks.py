"""The networks of `models/`: published sizes, valid files, activations near 1 in onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

import models
from models.__main__ import main
from models.build import OLDEST_OPSET
from polydl.errors import UsageError

NAMES = list(models.NETWORKS)
# Values whose scale is their own business: probabilities, gates, masks.
FREE = {"Softmax", "Sigmoid", "HardSigmoid", "Where", "Sub", "Mul", "Cast", "Unsqueeze", "Transpose", "Add"}


def run_all(model: onnx.ModelProto, seed: int = 1) -> dict[str, np.ndarray]:
    """Every float value of the model, computed by onnxruntime without optimisation."""
    probe = onnx.ModelProto.FromString(model.SerializeToString())
    known = {output.name for output in probe.graph.output}
    for node in probe.graph.node:
        for name in node.output[: 1 if node.op_type == "Dropout" else None]:  # Dropout's mask is not data
            if name and name not in known:
                probe.graph.output.append(helper.make_empty_tensor_value_info(name))
                known.add(name)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    values = session.run(None, models.example_inputs(model, seed))
    return {
        info.name: value
        for info, value in zip(session.get_outputs(), values, strict=True)
        if value.dtype == np.float32
    }


def assert_near_one(model: onnx.ModelProto) -> None:
    operators = {name: node.op_type for node in model.graph.node for name in node.output}
    outputs = {output.name for output in model.graph.output}
    for name, value in run_all(model).items():
        if name in outputs or operators[name] not in FREE:
            assert np.isfinite(value).all(), name
        if name in outputs and operators[name] == "Softmax":
            assert value.max() > 3 / value.size, "a flat distribution shows nothing"
        elif (name in outputs or operators[name] not in FREE) and value.size > 16:
            assert 0.05 < value.std(dtype=np.float64) < 20, f"{name} ({operators[name]}): {value.std()}"


@pytest.mark.parametrize("name", NAMES)
def test_small_variant_is_valid_and_near_one(name: str) -> None:
    model = models.build(name, **models.NETWORKS[name].small)
    onnx.checker.check_model(model, full_check=True)
    assert_near_one(model)


@pytest.mark.parametrize("name", NAMES)
def test_number_of_parameters_is_the_published_one(name: str) -> None:
    network = models.NETWORKS[name]
    model = models.build(name)
    assert models.count_parameters(model, statistics=network.statistics) == network.parameters


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_published_size_is_valid_and_near_one(name: str) -> None:
    model = models.build(name)
    onnx.checker.check_model(model, full_check=True)
    assert_near_one(model)


@pytest.mark.parametrize(
    "name", ["resnet18", "densenet121", "shufflenet_v2", "bert-base", "gpt2-small", "lstm"]
)
@pytest.mark.parametrize("opset", [OLDEST_OPSET, 18, 20, 21])
def test_every_opset_says_the_same(name: str, opset: int) -> None:
    """Spelled-out LayerNormalization and Gelu agree with the operators of newer opsets."""
    small = models.NETWORKS[name].small
    reference, other = models.build(name, **small), models.build(name, **small, opset=opset)
    onnx.checker.check_model(other, full_check=True)
    expected, values = run_all(reference), run_all(other)
    for output in reference.graph.output:
        a, b = expected[output.name], values[output.name]
        if opset >= 17 and name not in ("bert-base", "gpt2-small"):
            np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)
        else:  # other nodes, hence other names and other random numbers: the same shapes and scale
            assert a.shape == b.shape
            assert 0.5 < a.std() / b.std() < 2


def test_weights_depend_on_the_seed_alone() -> None:
    small = models.NETWORKS["mobilenet_v2"].small
    first, again, other = (models.build("mobilenet_v2", **small, seed=seed) for seed in (3, 3, 4))
    assert first.SerializeToString() == again.SerializeToString()
    assert first.SerializeToString() != other.SerializeToString()


def test_batch_norm_nodes_stay() -> None:
    operators = [
        node.op_type for node in models.build("resnet18", **models.NETWORKS["resnet18"].small).graph.node
    ]
    assert operators.count("BatchNormalization") == operators.count("Conv") == 20


def test_wrong_requests_name_what_there_is() -> None:
    with pytest.raises(UsageError, match="resnet18"):
        models.build("resnet19")
    with pytest.raises(UsageError, match="tokens"):
        models.build("resnet18", tokens=4)
    with pytest.raises(UsageError, match="opset 12"):
        models.build("mlp", opset=12)


def test_command_writes_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "small.onnx"
    assert main(["mlp", "-o", str(file), "--width", "0.1", "--seed", "5"]) == 0
    assert onnx.load(file).SerializeToString() == models.build("mlp", width=0.1, seed=5).SerializeToString()
    assert "parameters" in capsys.readouterr().out
    assert main(["nothing", "-o", str(file)]) == 2
    assert "unknown network" in capsys.readouterr().err
    assert main(["mlp", "-o", str(file / "below" / "x.onnx")]) == 2
