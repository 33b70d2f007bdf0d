"""Data-parallel training on CPU processes: one gradient average per step over gloo."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import spawn


def average_gradients(parameters: list[nn.Parameter]) -> None:
    """Replace every gradient by its mean over all processes, in one flat all-reduce."""
    if not distributed.is_initialized():
        return
    gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    pieces: tuple[Tensor, ...] = torch.split(flat, [g.numel() for g in gradients])
    for parameter, piece in zip(parameters, pieces, strict=True):
        parameter.grad = piece.view_as(parameter)


def agreed(value: float) -> float:
    """The first process's value, the same in all (clocks differ)."""
    if not distributed.is_initialized():
        return value
    shared = torch.tensor([value], dtype=torch.float64)
    distributed.broadcast(shared, 0)
    return float(shared.item())


def run_parallel(work: Callable[..., None], processes: int, *arguments: Any) -> None:
    """Run `work(rank, processes, *arguments)` in each process, one thread each."""
    if processes == 1:
        work(0, 1, *arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        meeting = str(Path(folder) / "meeting")
        spawn(_enter, (processes, meeting, work, arguments), nprocs=processes)


def _enter(
    rank: int, processes: int, meeting: str, work: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=processes)
    try:
        work(rank, processes, *arguments)
    finally:
        distributed.destroy_process_group()
