"""What happens at each entrance, before and around the use cases: one kind of entrance a file."""
