"""The trigger gateway: composition root of geo, triggers and senders."""

__version__ = "0.1.0"
