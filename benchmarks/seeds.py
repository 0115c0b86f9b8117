"""Trainings of several programs over several seeds, in turns: what the machine does otherwise meets all of them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.flags import add_data_dir, positive
from benchmarks.kept_outcomes import KeptOutcomes
from benchmarks.outcome import Outcome
from training import choices, cifar10, named_datasets
from training.dataset import Dataset
from training.device import choose_device, choose_precision, device_name
from training.flag_values import whole_number
from training.recipe import RECIPES


@dataclass(frozen=True)
class Program:
    train: Callable[[int], Outcome]
    """One training, with this seed."""
    identity: str
    """What is trained, by what, where: outcomes of the same may be put together."""


@dataclass(frozen=True)
class Conditions:
    """What all programs of a measurement share."""

    device: torch.device
    precision: str  # "fp32" or "bf16", of ours
    pictures: Dataset
    pictures_flags: tuple[str, ...]  # for `python -m training train`

    def identity(self, **what: object) -> str:
        """Of a program under these conditions, to which `what` adds plain values."""
        mine = {
            "device": device_name(self.device),
            "precision": self.precision,
            "pictures": self.pictures.train.sha256(),
        }
        return json.dumps(mine | what, sort_keys=True)

    def facts(self) -> str:
        """For the list below a table."""
        training, test = self.pictures.train, self.pictures.test
        return (
            f"- pictures: {self.pictures.name}, {len(training):,} to train and {len(test):,} to test, SHA-256 of the "
            f"training split {training.sha256()[:16]}…"
        )


def add_flags(described: argparse.ArgumentParser, seeds: int) -> None:
    """`seeds` is the default of how many."""
    add = described.add_argument
    add("--recipe", choices=sorted(RECIPES), required=True, help="which of ours")
    add("--seeds", type=positive, default=seeds, help="trainings of each, in turns (default: %(default)s)")
    add("--first-seed", type=whole_number(0), default=0, help="of the first, from which they count up (default: 0)")
    add("--steps", type=positive, help="updates a training (default: what each takes)")
    add("--data", choices=choices.DATASETS, default=choices.DEFAULT_DATASET, help="(default: %(default)s)")
    add_data_dir(described)
    add("--precision", choices=choices.PRECISIONS, default=choices.DEFAULT_PRECISION, help="(default: %(default)s)")
    help = "a file that every outcome is added to, and from which a measurement that was broken off goes on"
    add("--keep", type=Path, metavar="FILE", help=help)


def conditions(args: argparse.Namespace) -> Conditions:
    """Those that the flags ask for. Raises UserError where CIFAR-10 is missing; nothing is downloaded."""
    device = choose_device("auto")
    flags = (f"--data={args.data}", f"--data-dir={cifar10.directory(args.data_dir).absolute()}")
    pictures = named_datasets.load(args.data, args.data_dir)
    return Conditions(device, choose_precision(args.precision, device), pictures, flags)


def in_turns(programs: Mapping[str, Program], args: argparse.Namespace) -> dict[str, list[Outcome]]:
    """The outcomes of each, seed by seed, by its name; told of on stderr as they come."""
    kept = KeptOutcomes(args.keep)
    outcomes: dict[str, list[Outcome]] = {name: [] for name in programs}
    for seed in seeds(args):
        for name, program in programs.items():
            outcome = kept.find(program.identity, seed)
            if outcome is None:
                outcome = program.train(seed)
                kept.add(program.identity, seed, outcome)
            outcomes[name].append(outcome)
            print(f"seed {seed}, {name}: {outcome.sentence()}", file=sys.stderr, flush=True)
    return outcomes


def seeds(args: argparse.Namespace) -> range:
    return range(args.first_seed, args.first_seed + args.seeds)


def length(args: argparse.Namespace) -> str:
    """For the list below a table."""
    return f"- seeds: {seeds(args)[0]} to {seeds(args)[-1]}; steps: {args.steps or 'as many as each takes'}"
