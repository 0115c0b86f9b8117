#!/bin/sh
# Makes .venv with the Python named by the first argument, or says in one sentence why it can't.
set -eu
python=$1

command -v "$python" >/dev/null || {
    echo "$python is not installed; on Debian and Ubuntu: apt install python3 python3-venv" >&2
    exit 2
}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "$("$python" --version) is too old, 3.11 or newer is needed; name another one: make run PYTHON=python3.12" >&2
    exit 2
}
"$python" -c 'import ensurepip, venv' 2>/dev/null || {
    echo "$python has no venv module; on Debian and Ubuntu: apt install $(basename "$python")-venv" >&2
    exit 2
}
exec "$python" -m venv .venv
