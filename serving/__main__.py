"""``python -m serving``: reads the settings and serves; a person's mistake ends in one sentence."""

import sys

from serving.server import serve
from serving.settings import UsageError, parse_settings


def main() -> int:
    """Run the server.

    Returns 0 after a graceful stop, 2 after a mistake that a person can mend, 130 after an early Ctrl-C.
    """
    try:
        serve(parse_settings(sys.argv[1:]))
    except UsageError as error:
        print(f"serving: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
