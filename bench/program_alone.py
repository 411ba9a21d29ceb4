"""Runs the program alone, against the recording engine of the tests: seconds and memory of a stack of some size.

python3 -m bench.program_alone HOSTS [--profile] [--as-it-comes]
"""

from __future__ import annotations

import cProfile
import json
import pstats
import resource
import sys
import time

from bench.generated import stack_values
from components import lean
from tests.components.declared import declare


def main() -> None:
    if "--as-it-comes" not in sys.argv:
        lean.begin()
    values = stack_values(int(sys.argv[1]))
    profile = cProfile.Profile() if "--profile" in sys.argv else None
    started = time.process_time()
    if profile:
        profile.enable()
    declared = declare(values)
    seconds = time.process_time() - started
    if profile:
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(40)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"resources": len(declared.made), "cpu_seconds": seconds, "megabytes": kilobytes / 1024}))


if __name__ == "__main__":
    main()
