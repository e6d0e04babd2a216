"""Benchmarks: ``python -m benchmarks`` prints the table."""
