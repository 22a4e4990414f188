"""How fast, with how many calls, in how much memory: ``python -m local.bench``. See docs/benchmark.md."""
