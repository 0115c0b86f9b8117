"""Where ranks find each other's addresses, at every start anew."""

from __future__ import annotations

import time
import uuid

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous


def connect() -> None:
    """Joins the process group that the environment tells of (torchrun's RANK, WORLD_SIZE, MASTER_ADDR, …)."""
    store, rank, world_size = next(rendezvous("env://"))
    dist.init_process_group(
        # gloo for what is in the host's memory, NCCL for what is on GPUs.
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
        store=PrefixStore(_agree_on_name(store, rank, world_size), store),
        rank=rank,
        world_size=world_size,
    )


def _agree_on_name(store: Store, rank: int, world_size: int) -> str:
    """A name for this start of the ranks, the same on all of them and on no other start.

    torchrun keeps one store for all its restarts, in which gloo and NCCL would find the addresses of ranks that are
    gone (https://github.com/pytorch/pytorch/issues/135712). Its restart counts cannot tell the starts apart, since a
    machine that comes anew counts from 0. So each rank writes a word of its own, rank 0 proposes all the words that it
    reads, and the proposal is good as soon as every rank has found its own word in it and said so.
    """
    word = uuid.uuid4().hex
    words = [f"word of rank {number}" for number in range(world_size)]
    store.set(words[rank], word)
    store.wait(words)
    while True:
        if rank == 0:
            store.set("proposal", " ".join(found.decode() for found in store.multi_get(words)))
        store.wait(["proposal"])
        proposal: str = store.get("proposal").decode()
        if word in proposal.split():
            store.set(f"{proposal}: rank {rank} agrees", "")
            if rank == 0 and store.check([f"{proposal}: rank {number} agrees" for number in range(world_size)]):
                store.set(f"{proposal}: agreed", "")
            if store.check([f"{proposal}: agreed"]):
                return proposal
        time.sleep(0.02)
