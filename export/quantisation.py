"""Eight-bit weights for a CPU: the backbone's matrix products in integers, their inputs quantised while the graph runs.

Only products with a weight of the backbone are touched. The AHD multiplies small differences of cosines by large weights, and the
language model's last product decides between tokens: both stay as they are, and so do products of two activations.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
import onnx_ir as ir
from onnxruntime.quantization import QuantType, quantize_dynamic

from tvau_export.onnx_files import WeightTensor, save

__all__ = ["quantise"]


def quantise(model: ir.Model) -> ir.Model:
    """The traced graph with eight-bit weights, one scale per column. Holds all weights of the graph in memory."""
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
        quantize_dynamic(
            whole,
            small,
            nodes_to_quantize=nodes,
            per_channel=True,
            # Seven bits, so that processors without VNNI, which add products in sixteen, do not overflow.
            reduce_range=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=whole.with_name("whole.onnx.data").exists(),
        )
        quantised = ir.load(small)
        return ir.external_data.load_to_model(quantised)
