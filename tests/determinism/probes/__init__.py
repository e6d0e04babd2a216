"""Probes for the sources of nondeterminism in asyncio programs: ``python -m tests.determinism.probes`` prints the table."""
