"""Adapters: what stock apps and receivers send, turned into pings and sightings."""
