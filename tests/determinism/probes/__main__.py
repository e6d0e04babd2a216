"""Print what each probe sees in 3 runs × 4 processes × 3 hash seeds: the same, a refusal, or different things."""

import argparse
import json
import sys

from tests.determinism.probes.catalogue import PROBES
from tests.determinism.probes.running import line, look_everywhere, look_here


def main() -> None:
    """Print the table, or, in one of the processes, what its probes saw."""
    parser = argparse.ArgumentParser(prog="python -m tests.determinism.probes", description=__doc__)
    parser.add_argument("--past", type=int, help="run the probes in this process alone and print JSON")
    parser.add_argument(
        "only", nargs="?", default="", help="with --past: a part of the names of the probes to run"
    )
    given = parser.parse_args()
    if given.past is not None:
        json.dump(look_here(given.past, given.only), sys.stdout)
        return
    sights = look_everywhere()
    lines = ["| source | verdict |", "|---|---|", *(line(name, sights) for name in PROBES)]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
