"""What connects the engine with pytest: options, marker, running tests under schedules, reporting."""
