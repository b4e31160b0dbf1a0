"""Geofences in and out of files: GeoJSON, GeoJSON text sequences, CSV, KML.

Readers take pieces of a file as they come and give Features one by one, so a file of a million
geofences costs the memory of one.
"""
