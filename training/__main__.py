"""python -m training: parses, calls, and turns errors into one sentence and an exit status."""

from __future__ import annotations

import io
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from training.command_line import PROGRAM, parser
from training.errors import OtherRankFailed, Stopped, UserError
from training.torchrun import is_launched


def main(arguments: Sequence[str]) -> int:
    args = parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a class may be called anything, also where output is not UTF-8
            stream.reconfigure(errors="backslashreplace")
    try:
        # PyTorch takes seconds to import, which whoever asks for help, or mistypes, need not wait for.
        from training import commands

        commands.COMMANDS[args.command](args)
        sys.stdout.flush()  # here, where it may be too late to write, and not at the interpreter's end
    except UserError as error:
        print(error, file=sys.stderr)
        return error.status
    except OtherRankFailed as failed:
        return failed.status
    except Stopped as stopped:
        print(f"{stopped} To go on: {_resuming(arguments)}", file=sys.stderr)
        return stopped.status
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:  # whoever read the output, `head` for example, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return 0


def _resuming(arguments: Sequence[str]) -> str:
    """The command that goes on with a training, from the one that began it."""
    again = [argument for argument in arguments if argument not in ("--resume", "--overwrite")]
    by_torchrun = is_launched() and not any(word.startswith("--gpus") for word in again)
    program = "torchrun … -m training" if by_torchrun else PROGRAM
    return f"{program} {shlex.join([*again, '--resume'])}"


def _end(status: int) -> NoReturn:
    if is_launched():
        # Now and then gloo's threads still hold tensors, whose end takes an interpreter. Without one the process is
        # aborted after all is done (https://github.com/pytorch/pytorch/pull/179291); so the interpreter is not ended.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    _end(main(sys.argv[1:]))
