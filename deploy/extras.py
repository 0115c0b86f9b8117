"""Prints what the named extras of pyproject.toml require, for pip: extras.py train, or extras.py serve,cuda.

pip itself installs an extra only together with the project, and the images install the project's dependencies before
they copy its code, so that a change of code doesn't install PyTorch again.
"""

import sys
import tomllib
from pathlib import Path

extras = tomllib.loads(Path("pyproject.toml").read_text())["project"]["optional-dependencies"]
for extra in sys.argv[1].split(","):
    print("\n".join(extras[extra]))
