"""`raddraft` in processes that hold shards of the weights (FSDP2) on a CPU, started by torchrun.

accelerate shards on accelerators only. Nothing else of it needs one: the processes say here that they are several
graphics processors, while their device stays the CPU and gloo carries what they exchange.
"""

from __future__ import annotations

from accelerate import PartialState
from accelerate.utils import DistributedType

from raddraft import main

if __name__ == "__main__":
    PartialState(cpu=True)
    PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
    main()
