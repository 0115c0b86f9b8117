"""`report` and `compare`, and the report that `train` ends with."""

from __future__ import annotations

import argparse

import torch

from training import named_datasets
from training.dataset import Dataset
from training.device import choose_device, memory_to_evaluate, prepare
from training.heap import keep_freed_memory
from training.run_directory import RunDirectory


def report(args: argparse.Namespace) -> None:
    run_dir = RunDirectory(args.run)
    dataset = named_datasets.of_run(run_dir, args.data, args.data_dir)
    device = choose_device(args.device)
    prepare(device)
    keep_freed_memory()
    write(run_dir, dataset, device)


def compare(args: argparse.Namespace) -> None:
    from training.report.comparison import compare

    comparison = compare(args.runs)
    comparison.show()
    # matplotlib takes a second to import, which the table need not wait for.
    from training.report.comparison_page import write_comparison

    print(f"Written to {write_comparison(comparison, args.output)}.")


def write(run_dir: RunDirectory, dataset: Dataset, device: torch.device) -> None:
    # What draws the page takes two seconds to import, and no other command needs it.
    from training.report.run_report import write_report

    with memory_to_evaluate(device):
        print(f"The report is {write_report(run_dir, dataset, device)}.", flush=True)
