"""What stops the host before it is ready."""


class StartupError(Exception):
    """The app cannot be hosted as it is; the message says what to change and where."""
