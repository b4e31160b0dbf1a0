"""Geofences into files, one by one; what is written can be imported again and gives the same."""

import csv
import io
from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import msgspec

from gateway.transfer.formats import Format

CSV_COLUMNS = ("id", "name", "lat", "lon", "radius_m", "tags", "geometry", "properties")
_KML_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<kml xmlns="http://www.opengis.net/kml/2.2"><Document><name>geofences</name>\n'
)


def written(name: Format, features: Iterator[dict[str, Any]], *, is_first: bool) -> bytes:
    """Some features as they stand in a file of this format."""
    if name == "geojson":
        parts = [msgspec.json.encode(feature) for feature in features]
        return b"" if not parts else (b"" if is_first else b",\n") + b",\n".join(parts)
    if name == "geojsonseq":
        return b"".join(b"\x1e" + msgspec.json.encode(feature) + b"\n" for feature in features)
    if name == "csv":
        return _csv_lines(features)
    return "".join(map(_placemark, features)).encode()


def head(name: Format) -> bytes:
    """How a file of this format begins."""
    if name == "geojson":
        return b'{"type":"FeatureCollection","features":[\n'
    if name == "csv":
        return (",".join(CSV_COLUMNS) + "\r\n").encode()
    return _KML_HEAD.encode() if name == "kml" else b""


def tail(name: Format) -> bytes:
    """How it ends."""
    if name == "geojson":
        return b"\n]}\n"
    return b"</Document></kml>\n" if name == "kml" else b""


def _csv_lines(features: Iterator[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    for feature in features:
        properties, geometry = dict(feature["properties"]), feature["geometry"]
        is_circle = geometry["type"] == "Point" and "radius_m" in properties
        lon, lat = geometry["coordinates"][:2] if is_circle else ("", "")
        writer.writerow(
            [
                feature["id"],
                properties.pop("name", None) or "",
                lat,
                lon,
                properties.pop("radius_m", "") if is_circle else "",
                ";".join(properties.pop("tags", None) or []),
                "" if is_circle else msgspec.json.encode(geometry).decode(),
                msgspec.json.encode(properties).decode() if properties else "",
            ]
        )
    return text.getvalue().encode()


def _placemark(feature: dict[str, Any]) -> str:
    properties = dict(feature["properties"])
    name = properties.pop("name", None)
    data = "".join(
        f"<Data name={quoteattr(key)}><value>{escape(msgspec.json.encode(value).decode())}"
        "</value></Data>"
        for key, value in properties.items()
    )
    title = f"<name>{escape(name)}</name>" if name else ""
    more = f"<ExtendedData>{data}</ExtendedData>" if data else ""
    shape = _shape(feature["geometry"])
    return f"<Placemark id={quoteattr(feature['id'])}>{title}{more}{shape}</Placemark>\n"


def _shape(geometry: dict[str, Any]) -> str:
    kind: str = geometry["type"]
    coordinates: Any = geometry.get("coordinates")
    if kind == "Point":
        return f"<Point>{_positions([coordinates])}</Point>"
    if kind == "LineString":
        return f"<LineString>{_positions(coordinates)}</LineString>"
    polygons = [coordinates] if kind == "Polygon" else coordinates
    shapes = "".join(map(_polygon, polygons or []))
    return shapes if len(polygons or []) == 1 else f"<MultiGeometry>{shapes}</MultiGeometry>"


def _polygon(rings: list[Any]) -> str:
    names = ["outerBoundaryIs"] + ["innerBoundaryIs"] * (len(rings) - 1)
    inside = "".join(
        f"<{name}><LinearRing>{_positions(ring)}</LinearRing></{name}>"
        for name, ring in zip(names, rings, strict=True)
    )
    return f"<Polygon>{inside}</Polygon>"


def _positions(positions: list[list[float]]) -> str:
    text = " ".join(f"{position[0]!r},{position[1]!r}" for position in positions)
    return f"<coordinates>{text}</coordinates>"
