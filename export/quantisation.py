"""Eight-bit weights and activations for the backbone's matrix products.

`int8`, for CPUs: products in integers, whose inputs are quantised while the graph runs. `int8-static`, for TensorRT:
QuantizeLinear and DequantizeLinear nodes before each product, with scales of activations that were seen in calibration.
Only products with a weight of the backbone are touched. The AHD multiplies small differences of cosines by large weights, and the
language model's last product decides between tokens: both stay as they are, and so do products of two activations.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from tvau_export.onnx_files import WeightTensor, save

__all__ = ["quantise"]


def quantise(model: ir.Model, precision: str, feeds: Iterator[dict[str, np.ndarray]]) -> ir.Model:
    """The traced graph with eight-bit weights, one scale per column. Holds all weights of the graph in memory.

    precision: int8 or int8-static. feeds: for the latter, the graph's inputs by name, as they come in use.
    """
    nodes = [
        node.name
        for node in model.graph
        if node.op_type == "MatMul"
        and any(v is not None and isinstance(v.const_value, WeightTensor) for v in node.inputs)
    ]
    model.metadata_props["onnx.quant.pre_process"] = "onnxruntime.quant"  # else it warns that the graph might be untidy
    with tempfile.TemporaryDirectory() as folder:
        whole, small = Path(folder) / "whole.onnx", Path(folder) / "small.onnx"
        save(model, whole)
        proto = onnx.load(whole, load_external_data=False)
        # The library transposes weights of the products that it rewrites, but not the shapes that are noted of them.
        del proto.graph.value_info[:]
        onnx.save(proto, whole)
        large = whole.with_name("whole.onnx.data").exists()
        if precision == "int8-static":
            quantize_static(
                whole,
                small,
                _Reader(feeds),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["MatMul"],  # else it looks at all tensors
                nodes_to_quantize=nodes,
                per_channel=True,
                weight_type=QuantType.QInt8,
                activation_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                use_external_data_format=large,
                # TensorRT takes no zero points; what leaves a product stays as it is.
                extra_options={
                    "ActivationSymmetric": True,
                    "WeightSymmetric": True,
                    "OpTypesToExcludeOutputQuantization": ["MatMul"],
                },
            )
        else:
            quantize_dynamic(
                whole,
                small,
                nodes_to_quantize=nodes,
                per_channel=True,
                # Seven bits, so that processors without VNNI, which add products in sixteen, do not overflow.
                reduce_range=True,
                weight_type=QuantType.QInt8,
                use_external_data_format=large,
            )
        quantised = ir.load(small)
        return ir.external_data.load_to_model(quantised)


class _Reader(CalibrationDataReader):
    def __init__(self, feeds: Iterator[dict[str, np.ndarray]]) -> None:
        self._feeds = feeds

    def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
        return next(self._feeds, None)
