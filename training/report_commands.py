"""`report` and `compare`, and the report that `train` ends with."""

from __future__ import annotations

import argparse

import torch

from training import named_datasets
from training.dataset import Dataset
from training.device import choose_device, prepare
from training.run_directory import RunDirectory


def report(args: argparse.Namespace) -> None:
    run_dir = RunDirectory(args.run)
    dataset = named_datasets.fetch_and_load(run_dir.trained()["dataset"], args.data_dir)
    device = choose_device(args.device)
    prepare(device)
    write(run_dir, dataset, device)


def compare(args: argparse.Namespace) -> None:
    from training.report import comparison

    found = comparison.compare(args.runs)
    found.show()
    print(f"Written to {found.write(args.output)}.")


def write(run_dir: RunDirectory, dataset: Dataset, device: torch.device) -> None:
    # What draws the page takes two seconds to import, and no other command needs it.
    from training.report.run_report import write_report

    print(f"The report is {write_report(run_dir, dataset, device)}.", flush=True)
