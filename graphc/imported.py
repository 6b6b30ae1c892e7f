"""When graphc's sources began to be read in this process: imported before all others."""

import time

IMPORTED_NS = time.time_ns()
