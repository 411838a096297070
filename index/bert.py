"""BERT as an OpenVINO graph, in 8-bit integers where a calibration is given.

In full precision all-MiniLM-L6-v2 runs at under a third of the speed that two cores with 8-bit dot
products allow (`docs/retrieval.md` has the measurements). This builds the same network
from the same weight files. The quantisation is static: activations per tensor with ranges seen on
calibration texts, weights per output channel, both smoothed between each other (Xiao et
al., *SmoothQuant*, 2023). What was seen lies in `int8/<model>.npz`, written by
`python -m benchmarks.quantize`; the weights stay those of the package that carries them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Weights = Mapping[str, NDArray[np.float32]]
"""Tensors by their Hugging Face name, without the `bert.` in front."""

SMOOTHING = 0.85
"""How far an activation's outliers move into the weights (the paper's alpha). Mean cosine to full
precision on held-out chunks: 0.9934 without, 0.9786 at 0.5, 0.9967 at 0.7, 0.9965 at 0.85
(on other chunks)."""

EPSILON = 1e-12
"""BERT's own, in each layer norm."""

MASKED = -10_000.0


@dataclass(frozen=True)
class Calibration:
    """What calibration saw in front of each linear layer: `ranges` of the smoothed activations as
    `(low, high)`, and `scales`, `(inputs,) float32`, by which they are divided.
    """

    ranges: Mapping[str, tuple[float, float]]
    scales: Mapping[str, NDArray[np.float32]]


def save_calibration(path: Path, calibration: Calibration) -> None:
    """Write a calibration as `.npz`, without pickled objects."""
    arrays: dict[str, Any] = {
        f"scale/{name}": scale.astype(np.float32) for name, scale in calibration.scales.items()
    }
    for name, bounds in calibration.ranges.items():
        arrays[f"range/{name}"] = np.array(bounds, dtype=np.float32)
    np.savez_compressed(path, **arrays)


def load_calibration(path: Path) -> Calibration:
    """Read what `save_calibration` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        named = {name: arrays[name] for name in arrays.files}
    parts = {name.partition("/")[2] for name in named}
    return Calibration(
        {
            name: (float(low), float(high))
            for name in parts
            for low, high in [named[f"range/{name}"]]
        },
        {name: named[f"scale/{name}"] for name in parts},
    )


def read_weights(folder: Path) -> Weights:
    """The weights in a model's folder: `model.safetensors`, or else `model.onnx` with 8-bit ones."""
    if (folder / "model.safetensors").exists():
        from safetensors.numpy import load_file

        found = load_file(folder / "model.safetensors")
    else:
        found = _onnx_weights(folder / "model.onnx")
    return {name.removeprefix("bert."): value for name, value in found.items()}


def _onnx_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """The tensors of a dynamically quantised ONNX export, as numbers again.

    Its linear weights have lost their names; each is found by the bias that is added after it.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    tensors = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    plain = {name: value for name, value in tensors.items() if value.dtype == np.float32}
    for name in [name for name in tensors if name.endswith("_quantized")]:
        stem = name.removesuffix("_quantized")
        zero = tensors[f"{stem}_zero_point"].astype(np.float32)
        plain[stem] = (tensors[name].astype(np.float32) - zero) * tensors[f"{stem}_scale"]

    def multiplied_by(output: str) -> str | None:
        node = makers.get(output)
        if node is None:
            return None
        if node.op_type in ("MatMul", "MatMulInteger"):
            return str(node.input[1]).removesuffix("_quantized")
        return next(filter(None, map(multiplied_by, node.input)), None)

    named = dict(plain)
    for node in graph.node:
        if node.op_type != "Add":
            continue
        for bias, output in (node.input, reversed(node.input)):
            if not bias.endswith(".bias") or "LayerNorm" in bias or bias not in plain:
                continue
            if weight := multiplied_by(output):
                named[bias.removesuffix("bias") + "weight"] = plain[weight].T
    return named


class _Graph:
    """The operations that the layers are made of, over one set of weights."""

    def __init__(self, weights: Weights, calibration: Calibration | None) -> None:
        import openvino.opset13 as op

        self.op = op
        self.weights = weights
        self.calibration = calibration
        self.inputs: dict[str, Any] = {}
        """What goes into each linear layer, for calibration to look at."""

    def const(self, value: Any, dtype: Any = np.float32) -> Any:
        return self.op.constant(np.asarray(value, dtype=dtype, order="C"))

    def ints(self, *values: int) -> Any:
        return self.const(values, np.int64)

    def embedding(self, name: str, ids: Any) -> Any:
        table = self.op.constant(self.weights[f"embeddings.{name}.weight"].astype(np.float16))
        wide = self.op.convert(table, np.float32)
        return self.op.gather(wide, ids, self.const(0, np.int64))

    def norm(self, x: Any, name: str) -> Any:
        normed = self.op.mvn(x, self.ints(-1), True, EPSILON, "INSIDE_SQRT")
        scaled = self.op.multiply(normed, self.const(self.weights[f"{name}.weight"]))
        return self.op.add(scaled, self.const(self.weights[f"{name}.bias"]))

    def linear(self, x: Any, name: str, site: str | None = None) -> Any:
        """`x @ weight.T + bias`; layers that share an input share the `site` it was calibrated at."""
        site = site or name
        weight = self.weights[f"{name}.weight"]
        if self.calibration:
            scale = self.calibration.scales[site]
            x, weight = self.op.multiply(x, self.const(1 / scale)), weight * scale
        self.inputs[site] = x
        if self.calibration and self.calibration.ranges:
            x = self._rounded(x, *self.calibration.ranges[site], levels=256)
            most = np.maximum(np.abs(weight).max(axis=1, keepdims=True), 1e-6)
            matrix = self._rounded(self.const(weight), -most, most, levels=255)
        else:
            matrix = self.const(weight)
        product = self.op.matmul(x, matrix, False, True)
        return self.op.add(product, self.const(self.weights[f"{name}.bias"]))

    def _rounded(self, x: Any, low: Any, high: Any, levels: int) -> Any:
        """Values rounded to `levels` steps: OpenVINO turns such layers into integer ones."""
        low, high = self.const(low), self.const(high)
        return self.op.fake_quantize(x, low, high, low, high, levels)

    def attention(self, x: Any, mask: Any, name: str, heads: int, width: int) -> Any:
        op, size = self.op, width // heads

        def part(which: str) -> Any:
            y = self.linear(x, f"{name}.self.{which}", f"{name}.self")
            split = op.reshape(y, self.ints(0, 0, heads, size), True)
            return op.transpose(split, self.ints(0, 2, 1, 3))

        query, key, value = part("query"), part("key"), part("value")
        mixed = op.scaled_dot_product_attention(query, key, value, mask, self.const(size**-0.5))
        joined = op.transpose(mixed, self.ints(0, 2, 1, 3))
        return op.reshape(joined, self.ints(0, 0, width), True)

    def layer(self, x: Any, mask: Any, number: int, heads: int, width: int) -> Any:
        op, name = self.op, f"encoder.layer.{number}"
        seen = self.attention(x, mask, f"{name}.attention", heads, width)
        out = self.linear(seen, f"{name}.attention.output.dense")
        x = self.norm(op.add(out, x), f"{name}.attention.output.LayerNorm")
        inner = op.gelu(self.linear(x, f"{name}.intermediate.dense"), "erf")
        out = self.linear(inner, f"{name}.output.dense")
        return self.norm(op.add(out, x), f"{name}.output.LayerNorm")

    def inputs_seen(self) -> list[Any]:
        """For each site, what calibration needs of its input: least, most, and most per channel."""
        outputs = []
        for site, x in self.inputs.items():
            everywhere, rows = self.ints(0, 1, 2), self.ints(0, 1)
            for what, seen in (
                ("low", self.op.reduce_min(x, everywhere, False)),
                ("high", self.op.reduce_max(x, everywhere, False)),
                ("channels", self.op.reduce_max(self.op.abs(x), rows, False)),
            ):
                seen.output(0).set_names({f"{what}/{site}"})
                outputs.append(seen)
        return outputs


def layers_of(weights: Weights) -> int:
    """How many layers a model has."""
    return 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer."))


def build(weights: Weights, heads: int, head: str, calibration: Calibration | None = None) -> Any:
    """An `openvino.Model` from `input_ids`, `attention_mask` and `token_type_ids`, `(texts, tokens)
    int64`, to what `head` names.

    `mean` and `cls`: unit sentence vectors `(texts, width)` and token states `(texts, tokens,
    width)`; `score`: one logit a text, `(texts, 1)`; `spans`: logits of where an answer begins and ends,
    `(texts, tokens, 2)`, and of there being none, `(texts, 1)`; `calibrate`: what goes into each linear
    layer.
    """
    import openvino

    graph = _Graph(weights, calibration)
    op = graph.op
    ids, mask, types = (
        op.parameter([-1, -1], openvino.Type.i64, name=name)
        for name in ("input_ids", "attention_mask", "token_type_ids")
    )
    zero, one = graph.const(0, np.int64), graph.const(1, np.int64)
    length = op.gather(op.shape_of(ids), one, zero)
    positions = op.unsqueeze(op.range(zero, length, one, output_type="i64"), zero)
    x = op.add(
        op.add(
            graph.embedding("word_embeddings", ids), graph.embedding("token_type_embeddings", types)
        ),
        graph.embedding("position_embeddings", positions),
    )
    x = graph.norm(x, "embeddings.LayerNorm")
    kept = op.convert(mask, np.float32)
    hidden = op.multiply(op.subtract(graph.const(1.0), kept), graph.const(MASKED))
    hidden = op.unsqueeze(hidden, graph.ints(1, 2))
    width = weights["embeddings.word_embeddings.weight"].shape[1]
    for number in range(layers_of(weights)):
        x = graph.layer(x, hidden, number, heads, width)
    outputs = graph.inputs_seen() if head == "calibrate" else _head(graph, head, x, kept)
    return openvino.Model(outputs, [ids, mask, types], "bert")


def _head(graph: _Graph, head: str, x: Any, kept: Any) -> list[Any]:
    op = graph.op
    first = op.gather(x, graph.const(0, np.int64), graph.const(1, np.int64))
    if head == "score":
        pooled = op.tanh(_small(graph, first, "pooler.dense"))
        return [_small(graph, pooled, "classifier")]
    if head == "spans":
        return [_small(graph, x, "spans"), _small(graph, first, "none")]
    if head == "mean":
        first = op.reduce_sum(
            op.multiply(x, op.unsqueeze(kept, graph.ints(-1))), graph.ints(1), False
        )
    # The sum over tokens points where their mean does, and length is taken out here.
    return [op.normalize_l2(first, graph.ints(1), EPSILON, "max"), x]


def _small(graph: _Graph, x: Any, name: str) -> Any:
    """A linear layer of the head, left in full precision."""
    product = graph.op.matmul(x, graph.const(graph.weights[f"{name}.weight"]), False, True)
    return graph.op.add(product, graph.const(graph.weights[f"{name}.bias"]))
