"""The simulated world: virtual time beneath CPython's own event loop, a faulty network, crashes, durable storage."""
