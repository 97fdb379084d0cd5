"""What the benchmarks measure: operation counts and the forms of the peers that this repository writes itself."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from onnx import helper

import models
from benchmarks.cases import Case, _single, count_flops, kernels, network
from benchmarks.numpy_kernels import kernel
from polydl.errors import UsageError


def reference(case: Case) -> np.ndarray:
    session = ort.InferenceSession(case.model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, case.inputs)[0])


def test_operations_of_published_networks() -> None:
    """Multiply-adds as the literature counts them, in 10^9: resnet18 1.81, mobilenet_v2 0.30, squeezenet1_1 0.35."""
    for name, expected in (("resnet18", 1.81), ("mobilenet_v2", 0.30), ("squeezenet1_1", 0.35)):
        nominal = count_flops(models.build(name), nominal=True)
        assert nominal / 2e9 == pytest.approx(expected, rel=0.02), name


def test_padding_is_not_arithmetic() -> None:
    """A padded 3x3 on 7x7: per axis 19 of the 21 taps are inside."""
    (case,) = kernels(["conv3x3 s1 512x7x7"])
    assert case.nominal_flops == 2 * 512 * 7 * 7 * 512 * 9
    assert case.flops == 2 * 512 * 512 * 19 * 19
    (product,) = kernels(["gemm 128x3072x768"])
    assert product.flops == product.nominal_flops == 2 * 128 * 3072 * 768
    assert product.bytes == 4 * (128 * 768 + 768 * 3072 + 128 * 3072)


def test_taps_with_automatic_padding() -> None:
    """Stride 2, 3x3, 8 -> 4 with SAME: one padded row, at the end (UPPER) or the beginning (LOWER)."""
    for mode in ("SAME_UPPER", "SAME_LOWER"):
        node = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[3, 3], strides=[2, 2], auto_pad=mode)
        case = _single("same", node, (1, 1, 8, 8), (1, 1, 4, 4), {"w": (1, 1, 3, 3)})
        assert case.flops == 2 * 11 * 11


def test_kernels_are_distinct_and_filtered() -> None:
    names = [case.name for case in kernels([])]
    assert len(set(names)) == len(names)
    assert {name.split()[0] for name in names} == {
        "gemm",
        "conv7x7",
        "conv3x3",
        "conv1x1",
        "depthwise3x3",
        "softmax",
        "layernorm",
    }
    assert [case.name for case in kernels(["gemm 512", "conv7x7"])] == [
        "gemm 512x512x512",
        "conv7x7 s2 3x224x224 -> 64x112x112",
    ]
    with pytest.raises(UsageError, match="no kernel matches"):
        kernels(["nothing"])
    with pytest.raises(UsageError, match="no such file"):
        network("absent.onnx")


@pytest.mark.parametrize(
    "name",
    [
        "gemm 128x3072x768",
        "conv3x3 s2 256x14x14",
        "conv1x1 s2 256x14x14",
        "conv3x3 s1 512x7x7",
        "depthwise3x3 s1 960x7x7",
        "depthwise3x3 s2 576x14x14",
        "softmax 1536x128",
        "layernorm 128x768",
    ],
)
def test_numpy_forms(name: str) -> None:
    (case,) = kernels([name])
    expected = reference(case)
    np.testing.assert_allclose(kernel(case.model)(case.inputs["x"]), expected, rtol=1e-3, atol=1e-4)
    assert expected.std() > 1e-3


@pytest.mark.parametrize("name", list(models.NETWORKS))
def test_torch_forms(name: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is a peer, not a dependency")
    from benchmarks.torch_graph import to_torch

    model = models.build(name, **models.NETWORKS[name].small)
    inputs = models.example_inputs(model, 1)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, inputs)
    with torch.inference_mode():
        results = to_torch(model).eval()(*[torch.from_numpy(array) for array in inputs.values()])
    for result, array in zip(results, expected, strict=True):
        np.testing.assert_allclose(result.numpy(), array, rtol=1e-3, atol=1e-4)
