"""`raddraft` in processes that hold shards of the weights (FSDP2) on a CPU, started by torchrun.

accelerate shards on accelerators only. Nothing else of it needs one: the processes say here that they are several
graphics processors, while their device stays the CPU and gloo carries what they exchange.
"""

from __future__ import annotations

from typing import Any

from accelerate import PartialState
from accelerate.utils import DistributedType

from raddraft import main

_begin = PartialState.__init__


def _as_accelerators(state: PartialState, *told: Any, **named: Any) -> None:
    """Trainers let accelerate begin anew, so it is said each time."""
    _begin(state, *told, **named)
    if state.distributed_type is DistributedType.MULTI_CPU:
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU


if __name__ == "__main__":
    PartialState.__init__ = _as_accelerators
    PartialState(cpu=True)
    main()
