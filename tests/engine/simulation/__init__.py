"""A deterministic simulation: the real engine and mapping in worlds of memory, with faults at every point of I/O."""
