"""A graph of plain tensors to an ONNX file whose weights are read from the checkpoint while it is written.

The exporter traces a hollow model; each weight is then a promise that is kept, one tensor at a time, when the file is saved.
What float16 or bfloat16 holds exactly is stored so, behind a cast that onnxruntime folds when it loads the graph. Knows
neither what the graphs compute nor where the checkpoint lies.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from onnx_ir.passes import common as passes
from onnx_ir.tensor_adapters import TorchTensor, from_torch_dtype
from onnxscript import optimizer
from torch import Tensor

from tvau_export.graphs import Graph
from tvau_export.weights import Weights, narrowest
from tvau_runtime.model import checkpoint

__all__ = ["OPSET", "WeightTensor", "save", "store_narrow", "trace", "write_table"]

OPSET = 18
MOST_INSIDE = 1 << 28
"""Weights of more bytes than this go into a file beside the graph: a protobuf holds at most 2 GB, and is held in memory."""
SMALL = 1024
"""Fewer numbers than this are not worth a cast."""
ROWS = 4096
"""So many rows of the token table are converted at once."""


class WeightTensor(ir.LazyTensor):
    """A checkpoint's tensor in a graph. changed: from its layout in the checkpoint to that in the graph."""

    def __init__(
        self, weights: Weights, source: str, dtype: torch.dtype, shape: Any, changed: Callable[[Tensor], Tensor]
    ) -> None:
        self.weights, self.source, self.changed = weights, source, changed
        super().__init__(lambda: TorchTensor(self.load(dtype)), from_torch_dtype(dtype), ir.Shape(shape), name=source)

    def load(self, dtype: torch.dtype) -> Tensor:
        return self.changed(self.weights.read(self.source)).contiguous().to(dtype)

    def narrowest(self) -> torch.dtype:
        return narrowest(self.weights.read(self.source))

    def then(self, change: Callable[[Tensor], Tensor], shape: Any) -> WeightTensor:
        """The same tensor in another layout."""
        before = self.changed
        return WeightTensor(self.weights, self.source, self.torch_dtype, shape, lambda tensor: change(before(tensor)))

    def stored_as(self, dtype: torch.dtype) -> WeightTensor:
        return WeightTensor(self.weights, self.source, dtype, self.shape, self.changed)

    @property
    def torch_dtype(self) -> torch.dtype:
        return {ir.DataType.FLOAT: torch.float32, ir.DataType.FLOAT16: torch.float16}[self.dtype]


@torch.no_grad()
def trace(graph: Graph, backbone: torch.nn.Module, weights: Weights) -> ir.Model:
    """The graph as ONNX; its weights are still on disk. backbone: the hollow one, by whose names `weights` are known."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells of torchvision, which nothing here needs
    with warnings.catch_warnings(), checkpoint.quiet():
        warnings.simplefilter("ignore")  # the exporter's own, about its own code
        program = torch.onnx.export(
            graph.eval(),  # type: ignore[attr-defined]
            graph.sample(),
            dynamo=True,
            opset_version=OPSET,
            input_names=graph.names[0],
            output_names=graph.names[1],
            dynamic_shapes=graph.axes(),
            verbose=False,
            optimize=False,  # it would fold the weights, which are not there yet
        )
    assert program is not None
    model = program.model
    passes.InlinePass()(model)
    names = {id(parameter): name for name, parameter in backbone.named_parameters()}
    for name, parameter in graph.named_parameters(remove_duplicate=False):  # type: ignore[attr-defined]
        if id(parameter) in names and name in model.graph.initializers:
            source = names[id(parameter)]
            tensor = WeightTensor(weights, source, parameter.dtype, parameter.shape, lambda tensor: tensor)
            model.graph.initializers[name].const_value = tensor
    _fold_layouts(model)
    optimizer.optimize_ir(model, inline=False)
    passes.ClearMetadataAndDocStringPass()(
        model
    )  # the exporter notes for each node where in whose folders its code lies
    return model


def store_narrow(model: ir.Model) -> None:
    """Stores each large float32 weight in the narrowest type that holds it exactly, behind a cast back."""
    for name, value in list(model.graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or tensor.dtype != ir.DataType.FLOAT or tensor.size < SMALL:
            continue
        if isinstance(tensor, WeightTensor):
            narrow = tensor.narrowest()
            stored: ir.TensorProtocol = tensor.stored_as(narrow)
        else:
            whole = torch.from_numpy(np.array(tensor.numpy()))
            narrow = narrowest(whole)
            stored = TorchTensor(whole.to(narrow))
        if narrow == torch.float32:
            continue
        held = ir.Value(name=f"{name}_stored", shape=value.shape, type=ir.TensorType(stored.dtype), const_value=stored)
        cast = ir.node("Cast", [held], {"to": ir.DataType.FLOAT})
        (wide,) = cast.outputs
        wide.shape, wide.type = value.shape, ir.TensorType(ir.DataType.FLOAT)
        model.graph.insert_before(model.graph[0], cast)
        ir.convenience.replace_all_uses_with(value, wide)
        del model.graph.initializers[name]
        model.graph.register_initializer(held)
        wide.name = name


def save(model: ir.Model, path: Path) -> None:
    """Writes the graph, and its weights beside it where they are large; holds one weight at a time then."""
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)
    ir.save(model, path, external_data=f"{path.name}.data" if size > MOST_INSIDE else None, max_workers=1)


def write_table(weights: Weights, name: str, path: Path, dtype: torch.dtype) -> int:
    """The token table as an array: float16 where that is `dtype` or loses nothing, else float32. Returns its rows."""
    rows = weights.read(name)
    half = dtype == torch.float16 or narrowest(rows) == torch.float16
    kind, shape = np.dtype(np.float16 if half else np.float32), (int(rows.shape[0]), int(rows.shape[1]))
    header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
    with path.open("wb") as file:  # a mapped array would stay in memory until all of it is written
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, shape[0], ROWS):
            file.write(rows[start : start + ROWS].float().numpy().astype(kind).tobytes())
    return shape[0]


def _fold_layouts(model: ir.Model) -> None:
    """Weights that the graph transposes or reshapes are stored so from the start."""
    graph = model.graph
    for node in list(graph):
        value = node.inputs[0] if node.inputs else None
        tensor = value.const_value if value is not None else None
        if not isinstance(tensor, WeightTensor):
            continue
        (out,) = node.outputs if len(node.outputs) == 1 else (None,)
        if out is None or out.is_graph_output():
            continue
        if node.op_type == "Transpose":
            order = tuple(node.attributes["perm"].as_ints())
            changed = tensor.then(lambda t, o=order: t.permute(o), [tensor.shape[axis] for axis in order])
        elif node.op_type == "Reshape" and out.shape is not None and out.shape.is_static():
            shape = tuple(side for side in out.shape if isinstance(side, int))
            changed = tensor.then(lambda t, s=shape: t.reshape(s), shape)
        else:
            continue
        folded = ir.Value(
            name=f"{out.name}_weight", shape=changed.shape, type=ir.TensorType(changed.dtype), const_value=changed
        )
        graph.register_initializer(folded)
        ir.convenience.replace_all_uses_with(out, folded)
        graph.remove(node, safe=True)
    passes.RemoveUnusedNodesPass()(model)
