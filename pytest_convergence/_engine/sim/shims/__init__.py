"""Everything in a Python program that would leak the real world into a simulated run, and how it is closed.

:func:`install` puts the replacements in place, once for each process, when the first run begins. They stay, because
modules may have captured them, and outside a run they only delegate. :class:`InsideRun` is what a run enters and leaves.
:data:`coverage` lists what is covered, from the rows that really are installed.
"""

from __future__ import annotations

from pytest_convergence._engine.sim.shims.asking import outside_world, prompts_outside_world
from pytest_convergence._engine.sim.shims.collection import Collection
from pytest_convergence._engine.sim.shims.installation import InsideRun, install
from pytest_convergence._engine.sim.shims.table import CoverageRow, coverage

__all__ = [
    "Collection",
    "CoverageRow",
    "InsideRun",
    "coverage",
    "install",
    "outside_world",
    "prompts_outside_world",
]
