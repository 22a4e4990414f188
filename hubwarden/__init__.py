"""hubwarden keeps Azure IoT Hubs on their security baseline, unattended."""

__version__ = "0.1.0"
