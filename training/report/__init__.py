"""Pages about finished runs: `report` explains one run, `compare` puts several side by side.

A page is one HTML file that needs nothing else: no network, no script, no other file. Nothing here is needed to train.
"""

import logging

# It tells of a font cache that it builds, or can't keep: nobody who trains can do anything about it.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
