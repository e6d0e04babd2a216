"""Ground floor: virtual instants, clocks, choices, messages, effects and the trace. No I/O, no randomness, no asyncio."""
