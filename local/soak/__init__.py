"""The soak: random drifts, faults and kills on many hubs with a fixed seed, and what must hold at the end."""
