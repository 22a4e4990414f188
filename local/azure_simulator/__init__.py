"""Azure Resource Manager for IoT Hubs, Entra ID and Event Grid, in memory, over TLS on loopback.

Start with README.md. `AzureSimulator` is the whole public surface for Python; `SimulatorClient` speaks to one in
another process.
"""

from local.azure_simulator.client import SimulatorClient
from local.azure_simulator.config import SimulatorConfig
from local.azure_simulator.keys import CANARY, CANARY_BASE64
from local.azure_simulator.simulator import AzureSimulator


__all__ = ["CANARY", "CANARY_BASE64", "AzureSimulator", "SimulatorClient", "SimulatorConfig"]
