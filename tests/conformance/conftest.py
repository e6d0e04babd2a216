"""The examples stand as the contract has them; what a busy machine needs beside them is said here."""

from hypothesis import settings

# How long an example takes in real time says something about the machine, not about the agents.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
