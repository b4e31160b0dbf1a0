"""The circle around a geometry: what a phone can watch of any shape."""

import h3
import numpy as np

from geo.measure import distance_m, unit_vectors
from geo.model import Cells, Circle, Corridor, Geometry

MARGIN = 1.01  # edges straight in lon/lat may lie a little outside their ends


def around(geometry: Geometry) -> Circle:
    """A circle that holds the geometry, about as small as its corners allow."""
    if isinstance(geometry, Circle):
        return geometry
    lat, lon = _corners(geometry)
    centre = unit_vectors(lat, lon).mean(axis=0)
    mid_lat = float(np.degrees(np.arctan2(centre[2], np.hypot(centre[0], centre[1]))))
    mid_lon = float(np.degrees(np.arctan2(centre[1], centre[0])))
    count = len(lat)
    reach = distance_m(np.full(count, mid_lat), np.full(count, mid_lon), lat, lon)
    buffer_m = geometry.buffer_m if isinstance(geometry, Corridor) else 0.0
    return Circle(mid_lat, mid_lon, float(reach.max()) * MARGIN + buffer_m)


def _corners(geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(geometry, Corridor):
        positions = list(geometry.line)
    elif isinstance(geometry, Cells):
        borders = [h3.cell_to_boundary(h3.int_to_str(cell)) for cell in geometry.cells]
        positions = [(lon, lat) for border in borders for lat, lon in border]
    elif isinstance(geometry, Circle):
        positions = [(geometry.lon, geometry.lat)]
    else:
        positions = [p for polygon in geometry.polygons for p in polygon[0]]
    array = np.array(positions, dtype=np.float64)
    return array[:, 1], array[:, 0]
