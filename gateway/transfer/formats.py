"""Which reader and writer belong to a format, and how a file says which it is."""

from collections.abc import Iterator
from typing import Literal, Protocol, get_args

from gateway.transfer.csv_reader import CsvReader
from gateway.transfer.feature import Entry
from gateway.transfer.json_reader import JsonReader
from gateway.transfer.kml_reader import KmlReader

Format = Literal["geojson", "geojsonseq", "csv", "kml"]
FORMATS: tuple[Format, ...] = get_args(Format)
MEDIA_TYPES: dict[Format, str] = {
    "geojson": "application/geo+json",
    "geojsonseq": "application/geo+json-seq",
    "csv": "text/csv; charset=utf-8",
    "kml": "application/vnd.google-earth.kml+xml",
}
_BY_MEDIA_TYPE: dict[str, Format] = {
    **{media_type.partition(";")[0]: name for name, media_type in MEDIA_TYPES.items()},
    "application/json": "geojson",
    "application/x-ndjson": "geojsonseq",
    "application/csv": "csv",
    "application/xml": "kml",
    "text/xml": "kml",
}


class Reader(Protocol):
    """Turns pieces of a file into entries."""

    def feed(self, piece: bytes) -> Iterator[Entry]:
        """The entries that are complete with this piece."""
        ...

    def finish(self) -> Iterator[Entry]:
        """The last entries."""
        ...


def format_of(asked: str | None, media_type: str, start: bytes) -> Format:
    """The format: what was asked for, else what the media type says, else what it looks like.

    Raises:
        ValueError: there is no such format.
    """
    if asked:
        if asked not in FORMATS:
            raise ValueError(f"{asked!r} is not one of {', '.join(FORMATS)}")
        return asked
    named = _BY_MEDIA_TYPE.get(media_type.partition(";")[0].strip().lower())
    if named is not None:
        return named
    first = start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if first in (b"{", b"[", b"\x1e"):
        return "geojson"
    return "kml" if first == b"<" else "csv"


def reader_of(name: Format) -> Reader:
    """A fresh reader."""
    if name == "csv":
        return CsvReader()
    return KmlReader() if name == "kml" else JsonReader()
