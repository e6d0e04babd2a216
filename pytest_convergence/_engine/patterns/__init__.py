"""The patterns: one module per protocol, each a state machine without I/O (events in, effects out)."""
