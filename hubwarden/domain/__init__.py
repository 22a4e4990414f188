"""The pure core: what a hub is, what was seen, what it means and what policy says to do with it."""
