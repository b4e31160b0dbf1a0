"""Geofences in CSV: one line each, with a header that says which column is what.

Known columns: ``id``, ``name``, ``lat``, ``lon``, ``radius_m``, ``tags`` (separated by ``;`` or
``|``), ``external_id``, ``timezone``, ``geometry`` (GeoJSON) or ``wkt``, and ``properties`` (JSON).
Other columns become ``metadata``. Comma, semicolon and tab separate columns.
"""

import codecs
import csv
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import shapely

from gateway.transfer.feature import Entry, UnreadableFile, number

ALIASES = {
    "latitude": "lat",
    "y": "lat",
    "lng": "lon",
    "long": "lon",
    "longitude": "lon",
    "x": "lon",
    "radius": "radius_m",
    "radius_meters": "radius_m",
    "store_id": "external_id",
    "title": "name",
    "label": "name",
    "tag": "tags",
    "tz": "timezone",
    "the_geom": "wkt",
}
TEXTS = ("name", "external_id", "timezone")
MAX_LINE_CHARS = 8 * 1024 * 1024


class CsvReader:
    """Feed pieces, get entries."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self._rest = ""
        self._columns: list[str] = []
        self._delimiter = ","
        self._index = 0

    def feed(self, piece: bytes) -> Iterator[Entry]:
        """The entries that are complete with this piece."""
        try:
            text = self._rest + self._decode.decode(piece)
        except UnicodeDecodeError:
            raise UnreadableFile("The file is not UTF-8.") from None
        lines = text.splitlines(keepends=True)
        # The last line may go on, and so may a quoted field that runs over lines.
        kept = quotes = 0
        for count, line in enumerate(lines[:-1], 1):
            quotes += line.count('"')
            if quotes % 2 == 0:
                kept = count
        self._rest = "".join(lines[kept:])
        if len(self._rest) > MAX_LINE_CHARS:
            raise UnreadableFile(f"Line {self._index + 2} is too long, or a quote is not closed.")
        yield from self._rows(lines[:kept])

    def finish(self) -> Iterator[Entry]:
        """The last entries."""
        rest, self._rest = self._rest, ""
        yield from self._rows(rest.splitlines(keepends=True))
        if not self._columns:
            raise UnreadableFile("The file is empty; its first line must name the columns.")

    def _rows(self, lines: list[str]) -> Iterator[Entry]:
        if not self._columns:
            while lines and not lines[0].strip():
                lines = lines[1:]
            if not lines:
                return
            self._read_header(lines[0])
            lines = lines[1:]
        try:
            for row in csv.reader(lines, delimiter=self._delimiter):
                if any(cell.strip() for cell in row):
                    index, self._index = self._index, self._index + 1
                    yield self._entry(index, row)
        except csv.Error as error:
            raise UnreadableFile(f"After {self._index} lines: {error}.") from None

    def _read_header(self, line: str) -> None:
        self._delimiter = max(",;\t", key=line.count)
        names = next(csv.reader([line], delimiter=self._delimiter))
        plain = [re.sub(r"\W+", "_", name.strip().lower()).strip("_") for name in names]
        self._columns = [ALIASES.get(name, name) for name in plain]
        has_place = {"lat", "lon"} <= set(self._columns)
        if not has_place and not {"geometry", "wkt"} & set(self._columns):
            raise UnreadableFile(
                "The first line must name the columns: lat and lon, or geometry, or wkt; "
                f"it names {', '.join(self._columns)[:300]}."
            )

    def _entry(self, index: int, row: list[str]) -> Entry:
        if len(row) > len(self._columns):
            return Entry(
                index, None, f"has {len(row)} cells but the header names {len(self._columns)}"
            )
        cells = {
            name: cell.strip()
            for name, cell in zip(self._columns, row, strict=False)
            if cell.strip()
        }
        try:
            return Entry(index, _feature(cells))
        except (ValueError, shapely.errors.GEOSException) as error:
            return Entry(index, None, str(error))


def _feature(cells: dict[str, str]) -> dict[str, Any]:
    properties: dict[str, Any] = _json(cells, "properties", {})
    for name in TEXTS:
        if name in cells:
            properties[name] = cells.pop(name)
    if "tags" in cells:
        tags = re.split(r"[;|]", cells.pop("tags"))
        properties["tags"] = [tag.strip() for tag in tags if tag.strip()]
    for name in ("radius_m", "buffer_m"):
        if name in cells:
            properties[name] = _number(cells, name)
    feature: dict[str, Any] = {"type": "Feature", "geometry": _geometry(cells)}
    if "id" in cells:
        feature["id"] = cells.pop("id")
    if cells:
        properties["metadata"] = {**cells, **properties.get("metadata", {})}
    return {**feature, "properties": properties}


def _geometry(cells: dict[str, str]) -> Any:
    if "geometry" in cells:
        cells.pop("lat", None)
        cells.pop("lon", None)
        return _json(cells, "geometry", None)
    if "wkt" in cells:
        shape = shapely.from_wkt(cells.pop("wkt"))
        return msgspec.json.decode(shapely.to_geojson(shape))
    if "lat" not in cells or "lon" not in cells:
        raise ValueError("lat and lon are needed")
    return {"type": "Point", "coordinates": [_number(cells, "lon"), _number(cells, "lat")]}


def _number(cells: dict[str, str], name: str) -> int | float:
    text = cells.pop(name)
    try:
        return number(text.replace(",", ".") if text.count(",") == 1 else text)
    except ValueError:
        raise ValueError(f"{name} is {text!r}, not a number") from None


def _json(cells: dict[str, str], name: str, default: Any) -> Any:
    if name not in cells:
        return default
    try:
        return msgspec.json.decode(cells.pop(name))
    except msgspec.DecodeError as error:
        raise ValueError(f"{name} is not JSON: {error}") from None
