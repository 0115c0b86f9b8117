"""Answers a second and their latency, beside the servers that one would take instead: same bundle, same picture.

Aimed at: twice the answers of the best of them from one process, with half of its p99; RESULTS.md says how far that
is. n: 3 rounds, in which the servers are asked in turns, for 3 s after one that does not count, by wrk on the same
machine: a 32x32 PNG a request, over 1, 16 and 64 connections. Whoever is not asked is halted. Before that every server
must give onnxruntime's own answer.

    python -m benchmarks.serving --ceiling --peer litserve=PYTHON --peer bentoml=PYTHON --peer mlserver=PYTHON

from the repository's root prints Markdown tables. It needs wrk (Debian's package of that name); a peer that is not
installed is left out, with a sentence on how to get it. --processes 2 gives each server two. The peers compute on the
CPU: where there is a GPU, compare with CUDA_VISIBLE_DEVICES= before the command, and use --only ours --ceiling without.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import machine, serving_ceiling, serving_table
from benchmarks.flags import positive, run, some_of
from benchmarks.serving_asked import Asked, check, start
from benchmarks.serving_ceiling import Ceiling
from benchmarks.serving_load import check_installed
from benchmarks.serving_peers import OURS, PEERS, pythons, servers, variables, versions
from benchmarks.serving_requests import batch, make_picture
from training.errors import UserError

SERVERS = (OURS, *PEERS)
CONNECTIONS = (1, 16, 64)
BASELINE = "ours, raw body"
BATCH, BATCH_CONNECTIONS = 64, 4  # pictures in one request, beside the ceiling


def parser() -> argparse.ArgumentParser:
    described = argparse.ArgumentParser("python -m benchmarks.serving", description=__doc__.split("\n")[0])
    add = described.add_argument
    add("--rounds", type=positive, default=3, help="how often each is asked, in turns (default: %(default)s)")
    add("--seconds", type=positive, default=3, help="how long (default: %(default)s)")
    add("--processes", type=positive, default=1, help="of each server (default: %(default)s)")
    shown = ",".join(map(str, CONNECTIONS))
    add("--connections", type=_numbers, default=CONNECTIONS, metavar="N,…", help=f"(default: {shown})")
    some = f"some of {','.join(SERVERS)} (default: all)"
    add("--only", type=some_of(SERVERS), default=SERVERS, metavar="NAME,…", help=some)
    add("--peer", action="append", default=[], metavar="NAME=PYTHON", help="the Python that has this server")
    threads = "onnxruntime's threads in each of a peer's processes (default: their share of the cores)"
    add("--peer-threads", type=positive, metavar="COUNT", help=threads)
    add("--ceiling", action="store_true", help="also what onnxruntime computes without a server")
    return described


def measure(args: argparse.Namespace) -> None:
    check_installed()
    found = pythons(args.peer)
    described = [
        machine.describe(),
        f"- rounds: {args.rounds} of {args.seconds} s; processes a server: {args.processes}",
    ]
    with ExitStack() as until_the_end:
        folder = Path(until_the_end.enter_context(TemporaryDirectory(prefix="serving-")))
        asked: list[Asked] = []
        for peer in args.only:
            try:
                described += [] if peer == OURS else [f"- {peer}: {versions(peer, found[peer])}"]
                asked += _start(peer, found[peer], args, folder, until_the_end)
            except UserError as error:
                print(f"{peer} is not measured: {error}", file=sys.stderr)
                described.append(f"- {peer} is not measured: {error}")
        if not asked:
            raise UserError("None of the servers can be measured.")
        limits = _limits(asked) if args.ceiling else None
        for number in range(args.rounds):
            _run_round(number + 1, asked, limits, args)
    print("\n".join(["", *_tables(asked, limits, args.connections), "", *described]))


Limits = tuple[Ceiling, Asked | None]  # the second: ours, asked for many pictures at once


def _start(peer: str, python: str, args: argparse.Namespace, folder: Path, until_the_end: ExitStack) -> list[Asked]:
    asked = []
    given = variables(args.processes, args.peer_threads)
    for number, server in enumerate(servers(peer, args.processes, make_picture())):
        asked += start(server, python, given, folder / f"{peer}-{number}.log", until_the_end)
    return asked


def _limits(asked: Sequence[Asked]) -> Limits:
    ours = next((each for each in asked if each.name == BASELINE), None)
    if ours is None:
        return Ceiling(), None
    many = Asked(f"ours, {BATCH} pictures a request", ours.process, batch("/predict/batch", make_picture(), BATCH))
    many.process.resume()
    check(many)
    many.process.halt()
    return Ceiling(), many


def _run_round(number: int, asked: Sequence[Asked], limits: Limits | None, args: argparse.Namespace) -> None:
    for connections in args.connections:
        for each in asked:
            load = each.ask(connections, args.seconds)
            said = f"{each.name}, {connections} connections: {load.rate:,.0f}/s, p99 {load.p99:.1f} ms"
            print(f"round {number}, {said}", file=sys.stderr)
    if limits:
        limits[0].measure()
        if limits[1]:
            limits[1].ask(BATCH_CONNECTIONS, args.seconds)


def _tables(asked: Sequence[Asked], limits: Limits | None, connections: Sequence[int]) -> list[str]:
    loads = {each.name: each.loads for each in asked}
    tables = [serving_table.rates(loads, connections, BASELINE), "", serving_table.latencies(loads, connections)]
    if limits:
        ceiling, many = limits
        ours = {}
        if many:
            most = max(connections)
            ours[f"{BASELINE}, {most} connections"] = [load.rate for load in loads[BASELINE][most]]
            ours[many.name] = [BATCH * load.rate for load in many.loads[BATCH_CONNECTIONS]]
        tables += ["", serving_ceiling.table(ceiling.rates, ours), "", f"- provider: {ceiling.provider}"]
    failed = serving_table.failures(loads)
    return [*tables, "", *failed] if failed else tables


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(positive(each) for each in text.split(","))


if __name__ == "__main__":
    sys.exit(run(measure, parser(), sys.argv[1:]))
