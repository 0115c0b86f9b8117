"""``python -m serving``: serves, or with ``predict`` classifies files; a person's mistake ends in one sentence."""

import sys
from collections.abc import Sequence

from serving.api_keys import read_keys
from serving.settings import UsageError, parse_settings


def main(arguments: Sequence[str]) -> int:
    """Run the server, or the command ``predict``.

    Returns 0 after a graceful stop, 2 after a mistake that a person can mend, 130 after an early Ctrl-C; else
    what the command returns.
    """
    try:
        if arguments[:1] == ["predict"]:
            from serving.predict_command import predict

            return predict(arguments[1:])
        settings = parse_settings(arguments)
        keys = read_keys(settings)
        # FastAPI takes a while to import, which whoever has no need of it need not wait for.
        if settings.workers > 1:
            from serving.workers import supervise

            supervise(settings, keys)
        else:
            from serving.server import serve

            serve(settings, keys)
    except UsageError as error:
        print(f"serving: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
