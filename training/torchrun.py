"""What torchrun, or a launcher that works like it, says of itself in a process's environment. (Imports no PyTorch.)"""

from __future__ import annotations

import os
from pathlib import Path


def is_launched() -> bool:
    """Whether torchrun, or what works like it, has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def local_world_size() -> int:
    """How many ranks this machine has; 1 for a process that torchrun didn't start."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def was_restarted() -> bool:
    """Whether torchrun started this process in place of one that failed."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0


def launch_name() -> str | None:
    """What tells one call of torchrun from all others, its restarts included; None for a process that it didn't start.

    That is its --rdzv-id, where it has one, else the process itself.
    """
    if not is_launched():
        return None
    name = os.environ["TORCHELASTIC_RUN_ID"]
    if name != "none":
        return name
    launcher = os.getppid()
    started = Path(f"/proc/{launcher}/stat").read_text().rpartition(")")[2].split()[19]  # field 22 of proc(5)
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}:{launcher}:{started}"
