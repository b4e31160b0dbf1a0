"""The formats that ``/ingest/{format}`` knows."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from gateway.ingest import overland, owntracks
from gateway.ingest.model import Parsed, Posted, Reply


class Format(NamedTuple):
    """One format: how it is read, and what a test of the connection (GET or HEAD) hears."""

    name: str
    parse: Callable[[Posted], Parsed]
    hello: Callable[[str], Reply]  # of the tenant's name
    posts_by_query: bool = False  # a GET with a query is a post


FORMATS: Mapping[str, Format] = {
    one.name: one
    for one in (
        Format("owntracks", owntracks.parse, lambda _: owntracks.NOTHING),
        Format("overland", overland.parse, overland.hello),
    )
}
