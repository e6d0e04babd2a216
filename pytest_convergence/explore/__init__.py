"""Search for schedules that break a property, their reduction to what matters, and their explanation."""
