"""Several processes, on one machine or many, that train one model together. Knows no model and no loss.

    machines = Machines("cuda")               under `accelerate launch` one of many, otherwise alone
    runner = machines.wrap(stage)             call it in place of the stage
    loss = total(part) / total(count)         as if one process had seen the whole batch

Every loss is computed from sums over all processes, so that it does not depend on how many share a batch. What accelerate reads
from its launcher says how weights are held: whole in every process (DDP) or in pieces (FSDP). Pieces are cut by torch's own
`fully_shard`, which runs on CPUs too; accelerate's wrapping of it does not.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from tvau_runtime.errors import ConfigError

__all__ = ["Machines", "Stop", "place_like", "pooled", "total", "unsynchronised", "whole"]


class Machines:
    """This process among its peers. device: cpu or cuda. Raises `ConfigError` where the device is not there."""

    def __init__(self, device: str) -> None:
        self.count, self.index = 1, 0
        self.device: torch.device = torch.device(device)
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise ConfigError("--device cuda: torch finds no GPU here")
        if "LOCAL_RANK" in os.environ:  # accelerate's and torch's launchers set it
            from accelerate import PartialState

            state = PartialState(cpu=self.device.type == "cpu")
            self.count, self.index = state.num_processes, state.process_index
            if self.device.type != "cpu":
                self.device = torch.device(state.device or device)  # its own GPU
        self.sharded = self.count > 1 and os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"

    @property
    def main(self) -> bool:
        """Whether this is the one that shows progress, logs and saves."""
        return self.index == 0

    def wrap(self, stage: nn.Module, units: list[nn.Module], apart: list[nn.Module]) -> nn.Module:
        """The stage on its device, ready to be called by all processes alike.

        units: modules whose forward pass is called as a whole, each a piece that FSDP gathers on its own. apart: those of
        them whose parameters can be reached from the stage in more than one way.
        """
        if self.count == 1:
            return stage.to(self.device)
        if not self.sharded:
            return nn.parallel.DistributedDataParallel(stage.to(self.device), forward_sync_buffers=False)
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        # Nothing here changes an output in place.
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
        mesh = init_device_mesh(self.device.type, (self.count,))
        for unit in units:
            fully_shard(unit, mesh=mesh)
        fully_shard(stage, mesh=mesh, ignored_params={p for unit in apart for p in unit.parameters()})
        return stage

    def agree(self, *wishes: bool) -> tuple[bool, ...]:
        """For each wish, whether any process has it: all take the same turn at the same step."""
        if self.count == 1:
            return wishes
        flags = torch.tensor(wishes, dtype=torch.int32, device=self.device)
        dist.all_reduce(flags, op=dist.ReduceOp.MAX)
        return tuple(flags.bool().tolist())

    def least(self, value: int) -> int:
        """The smallest that any process has."""
        if self.count == 1:
            return value
        smallest = torch.tensor(value, device=self.device)
        dist.all_reduce(smallest, op=dist.ReduceOp.MIN)
        return int(smallest)

    def wait(self) -> None:
        """Returns once all processes are here."""
        if self.count > 1:
            dist.barrier()

    def close(self) -> None:
        """Leaves the group."""
        if self.count > 1 and dist.is_initialized():
            dist.destroy_process_group()


class Stop:
    """Ctrl-C and SIGTERM as a wish that is looked at between steps: in the middle of one, weights would be half updated.

    A launcher passes on what the terminal has already sent, so the same signal often comes twice; the second changes nothing.
    """

    def __init__(self, say: bool) -> None:
        self.asked, self._say = False, say

    def __enter__(self) -> Stop:
        self._former: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            self._former = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _ask(self, *_: object) -> None:
        if self._say and not self.asked:
            os.write(2, b"\nstopping after this step\n")  # print may not be called from a signal's handler
        self.asked = True


def total(value: Tensor) -> Tensor:
    """The sum over all processes, the value itself where there is one. Its gradient is such that, averaged over the processes as
    DDP and FSDP do, it is that of the whole."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return value
    everywhere = value.detach().clone()
    dist.all_reduce(everywhere)
    # The second term is 0 and carries the gradient.
    return everywhere + dist.get_world_size() * (value - value.detach()) if value.requires_grad else everywhere


def pooled(mean: Tensor, weight: Tensor | float = 1.0) -> Tensor:
    """The mean over what all processes have, from this one's mean and the weight of what it is of (which may be 0)."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return mean
    weight = torch.as_tensor(weight, dtype=mean.dtype, device=mean.device)
    return total(torch.where(weight > 0, mean, torch.zeros_like(mean)) * weight) / total(weight)


def whole(value: Any) -> Any:
    """A tensor that may lie in pieces, put together: every process must call it, for the same tensors in the same order."""
    return value.full_tensor() if isinstance(value, DTensor) else value.detach() if isinstance(value, Tensor) else value


def place_like(value: Tensor, pattern: Tensor) -> Tensor:
    """A whole tensor, cut into pieces and moved as the pattern is."""
    value = value.to(pattern.device)
    return distribute_tensor(value, pattern.device_mesh, pattern.placements) if isinstance(pattern, DTensor) else value


@contextlib.contextmanager
def unsynchronised(runner: nn.Module) -> Iterator[None]:
    """Within it, DDP leaves gradients as they are: more pieces of the same step are to come."""
    with runner.no_sync() if isinstance(runner, nn.parallel.DistributedDataParallel) else contextlib.nullcontext():
        yield
