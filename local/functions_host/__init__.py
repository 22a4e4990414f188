"""A local host for the Function App where Azure Functions Core Tools cannot be installed."""
