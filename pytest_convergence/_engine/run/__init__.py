"""Sessions: a scenario and a schedule go in, an outcome comes out."""
