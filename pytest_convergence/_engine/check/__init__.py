"""Properties and the checkers that judge them: one property, one small module; a checker reads the trace, not agents."""
