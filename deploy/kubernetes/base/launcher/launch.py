"""torchrun in a pod. Takes torchrun's arguments, and ends with the exit status of the rank that failed first.

torchrun itself ends with 1, whatever happened. A Job's podFailurePolicy needs to know better: what a person must mend
has status 2, a signal 128 and its number, and for neither tries are to be counted.
"""

import os
import signal
import sys

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous import RendezvousError
from torch.distributed.run import main

# Machines may have to be started first, and a large image fetched.
JOIN_SECONDS = 1800  # that all pods have to come together, each time
ANSWER_SECONDS = 600  # that pod 0 has to answer


def rendezvous() -> list[str]:
    """Say that pod 0 of an Indexed Job opens the rendezvous, and the others wait for it.

    torchrun would ask the DNS whether the endpoint is its own address, and a pod is often quicker than its DNS record.
    """
    index = os.environ.get("JOB_COMPLETION_INDEX")
    host = [] if index is None else [f"is_host={index == '0'}"]
    conf = [*host, f"join_timeout={JOIN_SECONDS}", f"read_timeout={ANSWER_SECONDS}"]
    return [f"--rdzv-conf={','.join(conf)}"]


def launch(arguments: list[str]) -> int:
    """Run torchrun to its end; return the status to end with."""
    try:
        main([*rendezvous(), *arguments])
    except ChildFailedError as failed:
        _, failure = failed.get_first_failure()
        return failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode
    except SignalException as stopped:
        return 128 + signal.Signals(stopped.sigval)
    except RendezvousError as error:
        print(f"The pods did not come together ({error}); this one is to be started again.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(launch(sys.argv[1:]))
