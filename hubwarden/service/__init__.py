"""The use cases, each over ports: route an event, sweep, evaluate, remediate, verify, bury what is poisoned."""
