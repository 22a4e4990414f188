"""Channels, one a file: how people are told."""
