"""Distances, areas and scales on the mean sphere.

The sphere of radius 6,371,008.8 m (IUGG mean) differs from WGS 84 distances by at most 0.56 %,
whatever the distance; on the sphere itself the formulas are exact to rounding.
"""

import math

import numpy as np

from geo.model import F64, Circle, Corridor, Geometry
from geo.outline import Outline, outline

EARTH_RADIUS_M = 6_371_008.8
HALF_WAY_ROUND_M = math.pi * EARTH_RADIUS_M


def unit_vectors(lat: F64, lon: F64) -> F64:
    """Points on the unit sphere, shape (n, 3)."""
    phi, lam = np.radians(lat), np.radians(lon)
    out = np.empty((len(phi), 3))
    cos_phi = np.cos(phi)
    np.multiply(cos_phi, np.cos(lam), out=out[:, 0])
    np.multiply(cos_phi, np.sin(lam), out=out[:, 1])
    np.sin(phi, out=out[:, 2])
    return out


def arc_m(chord_squared: F64) -> F64:
    """Great-circle metres from squared chords of the unit sphere."""
    out: F64 = np.sqrt(chord_squared)
    out *= 0.5
    np.minimum(out, 1.0, out=out)
    np.arcsin(out, out=out)
    out *= 2 * EARTH_RADIUS_M
    return out


def chord_squared(distance_m: F64) -> F64:
    """Squared chord of the unit sphere that spans ``distance_m`` (at most half way round)."""
    half = np.minimum(np.asarray(distance_m) / EARTH_RADIUS_M, math.pi) / 2
    out: F64 = 4 * np.sin(half) ** 2
    return out


def distance_m(lat0: F64, lon0: F64, lat1: F64, lon1: F64) -> F64:
    """Great-circle metres between pairs of points (haversine; broadcasts)."""
    phi0, phi1 = np.radians(lat0), np.radians(lat1)
    half_lat = np.sin((phi1 - phi0) / 2)
    half_lon = np.sin(np.radians(np.subtract(lon1, lon0)) / 2)
    squared = half_lat * half_lat + np.cos(phi0) * np.cos(phi1) * half_lon * half_lon
    out: F64 = 2 * EARTH_RADIUS_M * np.arcsin(np.sqrt(np.clip(squared, 0.0, 1.0)))
    return out


def wrap_deg(lon: F64) -> F64:
    """Longitudes or differences of them, moved into [-180, 180]."""
    out: F64 = lon - 360.0 * np.rint(np.asarray(lon) / 360.0)
    return out


def area_m2(geometry: Geometry) -> float:
    """Area on the sphere; overlaps of a corridor with itself count twice."""
    if isinstance(geometry, Circle):
        angle = geometry.radius_m / EARTH_RADIUS_M
        return 2 * math.pi * EARTH_RADIUS_M**2 * (1 - math.cos(angle))
    shape = outline(geometry)
    if isinstance(geometry, Corridor):
        return 2 * geometry.buffer_m * _length_m(shape) + math.pi * geometry.buffer_m**2
    return abs(_enclosed_m2(shape))


def perimeter_m(geometry: Geometry) -> float:
    """Length of the edge on the sphere, holes included."""
    if isinstance(geometry, Circle):
        return 2 * math.pi * EARTH_RADIUS_M * math.sin(geometry.radius_m / EARTH_RADIUS_M)
    length_m = _length_m(outline(geometry))
    if isinstance(geometry, Corridor):
        return 2 * length_m + 2 * math.pi * geometry.buffer_m
    return length_m


def scale_m(geometry: Geometry) -> float:
    """How big a zone feels: the radius of a circle, else ``2 * area / perimeter``."""
    if isinstance(geometry, Circle):
        return geometry.radius_m
    return 2 * area_m2(geometry) / max(perimeter_m(geometry), 1e-9)


def _enclosed_m2(shape: Outline) -> float:
    """Exact for edges straight in lon/lat: the integral of sin(lat) d(lon) along each edge."""
    lat0, lat1 = np.radians(shape.lat), np.radians(shape.lat + shape.dlat)
    dlat = lat1 - lat0
    flat = np.abs(dlat) < 1e-9
    mean_sine = np.where(
        flat,
        np.sin((lat0 + lat1) / 2),
        (np.cos(lat0) - np.cos(lat1)) / np.where(flat, 1.0, dlat),
    )
    return float(-(EARTH_RADIUS_M**2) * (mean_sine * np.radians(shape.dlon)).sum())


def _length_m(shape: Outline) -> float:
    """Outlines are cut finely enough that chords of edges are lengths within 0.1 %."""
    lengths = distance_m(shape.lat, shape.lon, shape.lat + shape.dlat, shape.lon + shape.dlon)
    return float(lengths[shape.is_edge].sum())
