"""Geofences in KML: one Placemark each (OGC KML 2.3, without network links).

A Point, Polygon, LineString or MultiGeometry of Polygons; ``name``, ``description`` and
ExtendedData become properties. Document types and entities are refused, so that no file can expand
or reach out.
"""

import re
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element, ParseError, XMLPullParser

import msgspec

from gateway.transfer.feature import Entry, UnreadableFile, number

FORBIDDEN = re.compile(rb"<!\s*(DOCTYPE|ENTITY)", re.IGNORECASE)
TEXTS = frozenset({"name", "description", "external_id", "timezone"})


class KmlReader:
    """Feed pieces, get entries."""

    def __init__(self) -> None:
        self._parser: Any = XMLPullParser(["start", "end"])  # its events are an untyped union
        self._open: list[Element] = []
        self._index = 0
        self._tail = b""

    def feed(self, piece: bytes) -> Iterator[Entry]:
        """The entries that are complete with this piece."""
        if FORBIDDEN.search(self._tail + piece):
            raise UnreadableFile("A KML file with a document type or entities is not read.")
        self._tail = (self._tail + piece)[-16:]
        try:
            self._parser.feed(piece)
        except ParseError as error:
            raise self._broken(error) from None
        yield from self._entries()

    def finish(self) -> Iterator[Entry]:
        """The last entries."""
        try:
            self._parser.close()
        except ParseError as error:
            raise self._broken(error) from None
        yield from self._entries()

    def _entries(self) -> Iterator[Entry]:
        try:
            for event, element in self._parser.read_events():
                if event == "start":
                    self._open.append(element)
                    continue
                self._open.pop()
                if _tag(element) == "Placemark":
                    index, self._index = self._index, self._index + 1
                    yield _entry(index, element)
                    # What has been read is taken out of the tree, so that it stays small.
                    if self._open:
                        self._open[-1].remove(element)
        except ParseError as error:
            raise self._broken(error) from None

    def _broken(self, error: ParseError) -> UnreadableFile:
        return UnreadableFile(f"After {self._index} placemarks the file is not XML: {error}.")


def _entry(index: int, placemark: Element) -> Entry:
    properties = _properties(placemark)
    feature: dict[str, Any] = {"type": "Feature", "properties": properties}
    own_id = placemark.get("id") or properties.pop("id", None)
    if own_id is not None:
        feature["id"] = str(own_id)
    try:
        polygons: list[Any] = []
        for element in placemark.iter():
            if _tag(element) == "Point":
                feature["geometry"] = {"type": "Point", "coordinates": _line(element)[0]}
            elif _tag(element) == "LineString":
                feature["geometry"] = {"type": "LineString", "coordinates": _line(element)}
            elif _tag(element) == "Polygon":
                polygons.append(_polygon(element))
    except (ValueError, IndexError):
        return Entry(index, None, "has coordinates that are not lon,lat pairs")
    if len(polygons) == 1:
        feature["geometry"] = {"type": "Polygon", "coordinates": polygons[0]}
    elif polygons:
        feature["geometry"] = {"type": "MultiPolygon", "coordinates": polygons}
    if "geometry" not in feature:
        return Entry(index, None, "has no Point, LineString or Polygon")
    return Entry(index, feature)


def _properties(placemark: Element) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for element in placemark.iter():
        tag, text = _tag(element), (element.text or "").strip()
        if tag in ("name", "description") and text and element in list(placemark):
            properties[tag] = text
        elif tag == "Data":
            value = next((e.text or "" for e in element if _tag(e) == "value"), "")
            _set(properties, element.get("name", ""), value.strip())
        elif tag == "SimpleData":
            _set(properties, element.get("name", ""), text)
    return properties


def _set(properties: dict[str, Any], name: str, text: str) -> None:
    """Values are JSON where they can be, so that what was exported comes back as it was."""
    if not name:
        return
    value: Any = text
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        if name == "tags":
            value = [tag.strip() for tag in re.split(r"[;|,]", text) if tag.strip()]
    if name in TEXTS and not isinstance(value, str):
        value = text
    properties[name] = value


def _polygon(element: Element) -> list[Any]:
    rings = {"outerBoundaryIs": list[Any](), "innerBoundaryIs": list[Any]()}
    for boundary in element:
        if _tag(boundary) in rings:
            rings[_tag(boundary)] += [_line(ring) for ring in boundary]
    return rings["outerBoundaryIs"] + rings["innerBoundaryIs"]


def _line(element: Element) -> list[list[int | float]]:
    text = next((e.text or "" for e in element.iter() if _tag(e) == "coordinates"), "")
    return [[number(part) for part in position.split(",")[:2]] for position in text.split()]


def _tag(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]
