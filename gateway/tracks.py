"""Recorded tracks as positions: GPX, CSV, GeoJSON and OwnTracks ``.rec`` files.

Every reader gives points in the order of the file; rows that cannot be used are counted with their
line, never dropped in silence.

Sources: GPX 1.1 schema; RFC 4180; RFC 7946; the OwnTracks recorder's storage format.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, NamedTuple
from xml.parsers import expat

KMH_PER_MPS = 3.6

# Names that loggers give to the same thing; compared in lower case without blanks, '-' and '_'.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "lat": ("lat", "latitude", "latdeg", "y", "locationlat"),
    "lon": ("lon", "lng", "long", "longitude", "londeg", "x", "locationlong", "locationlng"),
    "time": (
        "recordedat", "time", "timestamp", "datetime", "tst", "date", "utc", "utctime", "gpstime",
        "eventtime", "createdat",
    ),
    "accuracy_m": ("accuracym", "accuracy", "acc", "hacc", "horizontalaccuracy", "hdopm"),
    "altitude_m": ("altitudem", "altitude", "alt", "ele", "elevation"),
    "speed_mps": ("speedmps", "speed", "velocity"),
    "speed_kmh": ("speedkmh", "speedkph", "vel"),
    "heading_deg": ("headingdeg", "heading", "bearing", "course", "cog", "track"),
}  # fmt: skip


class TrackError(ValueError):
    """A file that is no track we can read: why, and what would be."""


class Point(NamedTuple):
    """One position of a track; ``recorded_at`` is epoch milliseconds."""

    recorded_at: int
    lat: float
    lon: float
    accuracy_m: float | None = None
    altitude_m: float | None = None
    speed_mps: float | None = None
    heading_deg: float | None = None
    device: str = ""  # from the device column, if one was named


class Track(NamedTuple):
    """The points in the order of time, and the rows that could not be used."""

    points: list[Point]
    rejected: list[str]


Row = Point | str  # a point, or why there is none


def read_track(path: Path, zone: tzinfo = UTC, device_column: str | None = None) -> Track:
    """Read a track; the ending of the name says the format.

    Args:
        path: ``.gpx``, ``.csv``, ``.geojson``, ``.json``, ``.geojsonl`` or ``.rec``.
        zone: of times that name none.
        device_column: of a CSV file with several devices.

    Raises:
        TrackError: unknown format, unreadable, or without a single point.
    """
    readers: dict[str, Callable[[], Iterable[Row]]] = {
        ".gpx": lambda: _gpx(path, zone),
        ".csv": lambda: _csv(path, zone, device_column),
        ".geojson": lambda: _geojson(path, zone),
        ".json": lambda: _geojson(path, zone),
        ".geojsonl": lambda: _geojson(path, zone),
        ".rec": lambda: _rec(path, zone),
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise TrackError(f"{path.name}: use a .gpx, .csv, .geojson, .geojsonl or .rec file")
    try:
        rows = list(reader())
    except (OSError, UnicodeDecodeError, csv.Error, json.JSONDecodeError) as error:
        raise TrackError(f"{path.name} cannot be read: {error}") from None
    points = sorted(
        (row for row in rows if isinstance(row, Point)), key=lambda point: point.recorded_at
    )
    rejected = [row for row in rows if isinstance(row, str)]
    if not points:
        why = f" ({rejected[0]})" if rejected else ""
        raise TrackError(f"{path.name} has no position with a time{why}")
    return Track(points, rejected)


def parse_time(value: object, zone: tzinfo) -> int:
    """Epoch ms of what loggers write: RFC 3339 or its looser forms, Unix seconds, or milliseconds.

    Raises:
        ValueError: it is none of these.
    """
    text = str(value).strip()
    try:
        number = float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=zone)
        return round(moment.timestamp() * 1000)
    if not 0 < number < 1e14:
        raise ValueError(f"{text!r} is no time")
    return round(number) if number > 1e11 else round(number * 1000)


def _point(fields: Mapping[str, Any], zone: tzinfo, where: str, device: str = "") -> Row:
    """A point of fields named as in ``COLUMNS``; else what is wrong with them."""
    try:
        lat, lon = float(fields["lat"]), float(fields["lon"])
        at = parse_time(fields["time"], zone)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        return f"{where}: {error}"
    if not (-90 <= lat <= 90 and -180 <= lon <= 180):
        return f"{where}: {lat}, {lon} is no position"
    speed_mps = _number(fields.get("speed_mps"))
    if speed_mps is None and (speed_kmh := _number(fields.get("speed_kmh"))) is not None:
        speed_mps = speed_kmh / KMH_PER_MPS
    return Point(
        at,
        lat,
        lon,
        _number(fields.get("accuracy_m")),
        _number(fields.get("altitude_m")),
        speed_mps,
        _number(fields.get("heading_deg")),
        device,
    )


def _number(value: object) -> float | None:
    """The number, or None for what is empty or none."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if abs(number) < 1e9 else None


def _csv(path: Path, zone: tzinfo, device_column: str | None) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        sample = file.read(8192)
        file.seek(0)
        try:
            dialect: Any = csv.Sniffer().sniff(sample.partition("\n")[0], ",;\t|")
        except csv.Error:
            dialect = csv.excel
        rows = csv.DictReader(file, dialect=dialect)
        columns = _columns(rows.fieldnames or [], path.name, device_column)
        for row in rows:
            fields = {ours: row[theirs] for ours, theirs in columns.items()}
            device = str(row[device_column]) if device_column else ""
            yield _point(fields, zone, f"line {rows.line_num}", device)


def _columns(header: Iterable[str], name: str, device_column: str | None) -> dict[str, str]:
    """Which of our names each needed column of the file is.

    Raises:
        TrackError: a needed column is not there.
    """
    plain = {
        "".join(c for c in column.lower() if c not in " -_"): column
        for column in reversed(list(header))
    }
    found = {
        ours: plain[alias]
        for ours, aliases in COLUMNS.items()
        for alias in reversed(aliases)
        if alias in plain
    }
    for needed in ("lat", "lon", "time"):
        if needed not in found:
            raise TrackError(
                f"{name} has no column for {needed}. Its columns are {', '.join(header)}; name "
                f"one {' or '.join(COLUMNS[needed][:4])}"
            )
    if device_column and device_column not in plain.values():
        raise TrackError(f"{name} has no column {device_column!r}: it has {', '.join(header)}")
    return found


class _GpxHandler:
    """Collects the track points of a GPX file; other times in it (metadata) are passed over."""

    TEXTS: Mapping[str, str] = {"time": "time", "ele": "altitude_m", "speed": "speed_mps",
                                "course": "heading_deg", "accuracy": "accuracy_m"}  # fmt: skip

    def __init__(self, parser: expat.XMLParserType, zone: tzinfo) -> None:
        self.rows: list[Row] = []
        self._parser = parser
        self._zone = zone
        self._fields: dict[str, str] | None = None
        self._text: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._text = []
        if _local(name) in ("trkpt", "rtept", "wpt"):
            self._fields = dict(attributes)

    def text(self, text: str) -> None:
        self._text.append(text)

    def end(self, name: str) -> None:
        local = _local(name)
        if self._fields is None:
            return
        if local in self.TEXTS:
            self._fields[self.TEXTS[local]] = "".join(self._text)
        elif local in ("trkpt", "rtept", "wpt"):
            line = f"line {self._parser.CurrentLineNumber}"
            self.rows.append(_point(self._fields, self._zone, line))
            self._fields = None


def _gpx(path: Path, zone: tzinfo) -> list[Row]:
    parser = expat.ParserCreate()
    handler = _GpxHandler(parser, zone)

    def refuse(*_: object) -> None:
        raise TrackError(f"{path.name} declares a document type; remove the DOCTYPE")

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = handler.start
    parser.CharacterDataHandler = handler.text
    parser.EndElementHandler = handler.end
    try:
        with path.open("rb") as file:
            parser.ParseFile(file)
    except expat.ExpatError as error:
        raise TrackError(f"{path.name} is not well-formed XML: {error}") from None
    return handler.rows


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def _geojson(path: Path, zone: tzinfo) -> Iterator[Row]:
    text = path.read_text("utf-8-sig")
    try:
        features = [json.loads(text)]
    except json.JSONDecodeError:
        features = [json.loads(line.strip("\x1e ")) for line in text.splitlines() if line.strip()]
    for index, feature in enumerate(_features(features)):
        yield from _feature(feature, zone, f"feature {index}")


def _features(documents: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for document in documents:
        if not isinstance(document, dict):
            raise TrackError("a GeoJSON file holds objects")
        yield from document.get("features", [document])


def _feature(feature: Mapping[str, Any], zone: tzinfo, where: str) -> Iterator[Row]:
    geometry = feature.get("geometry") or {}
    properties = feature.get("properties") or {}
    coordinates = geometry.get("coordinates") or []
    if geometry.get("type") == "Point":
        fields = _named(properties)
        fields.update(zip(("lon", "lat"), coordinates, strict=False))
        yield _point(fields, zone, where)
    elif geometry.get("type") == "LineString":
        times = properties.get("coordTimes") or properties.get("times") or []
        if len(times) != len(coordinates):
            yield f"{where}: a LineString needs `coordTimes` with a time for each position"
            return
        for index, (place, time) in enumerate(zip(coordinates, times, strict=True)):
            fields = dict(zip(("lon", "lat", "altitude_m"), place, strict=False))
            yield _point({**fields, "time": time}, zone, f"{where}, position {index}")
    else:
        yield f"{where}: {geometry.get('type')} is neither Point nor LineString"


def _named(properties: Mapping[str, Any]) -> dict[str, Any]:
    plain = {"".join(c for c in k.lower() if c not in " -_"): v for k, v in properties.items()}
    return {
        ours: plain[alias]
        for ours, aliases in COLUMNS.items()
        for alias in reversed(aliases)
        if alias in plain
    }


def _rec(path: Path, zone: tzinfo) -> Iterator[Row]:
    """``<ISO time> TAB <topic or *> TAB <JSON>``; only locations are positions."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            payload = line.rstrip("\n").split("\t")[-1].strip()
            if not payload.startswith("{"):
                continue
            record = json.loads(payload)
            if record.get("_type") == "location":
                yield _point(_named(record), zone, f"line {number}")
