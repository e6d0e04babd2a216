"""The planted bugs, as users would write them: see ``python -m tests.quality.planted --help``."""
