"""The operator's command line: ``python -m hubwarden.cli``. docs/command-line.md describes it."""
