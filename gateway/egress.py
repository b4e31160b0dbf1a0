"""Where senders may connect to, by the settings."""

from ipaddress import ip_network

from gateway.config import Settings
from senders.network import NetworkPolicy


def network_policy(settings: Settings) -> NetworkPolicy:
    """Public https only, plus what ``allowed_private_hosts`` names: hosts, addresses, networks."""
    names: list[str] = []
    networks: list[str] = []
    for entry in settings.allowed_private_hosts:
        (networks if _is_network(entry) else names).append(entry)
    return NetworkPolicy(allow_hosts=frozenset(names), allow_networks=tuple(networks))


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True
