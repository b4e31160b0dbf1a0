"""Geofences: GeoJSON Features (RFC 7946) whose known properties are checked and others kept.

Stored form: ``{"type": "Feature", "id", "geometry", "properties": {...}}``. A circle is a Point
with ``properties.radius_m``, a corridor a LineString with ``properties.buffer_m``; both may also be
posted beside ``geometry`` and are moved. Properties that the gateway does not know are the tenant's
own data.
"""

import difflib
from typing import Any, NamedTuple

import msgspec

from gateway.kinds.fields import (
    InvalidDocument,
    check_metadata,
    check_policy,
    check_same_id,
    check_tags,
    check_timezone,
    convert,
    without_read_only,
)
from geo.geojson import parse_geometry
from geo.model import Geometry, GeometryError
from triggers.model import Policy

MAX_PROPERTIES_BYTES = 65_536
RESERVED_IDS = frozenset({"import", "export"})
_MOVED = ("radius_m", "buffer_m")
_MEMBERS = frozenset({"type", "id", "geometry", "properties", "bbox", *_MOVED})


class Properties(msgspec.Struct, omit_defaults=True):
    """The properties that the gateway knows."""

    name: str | None = None
    tags: list[str] = []
    external_id: str | None = None
    radius_m: float | None = None
    buffer_m: float | None = None
    timezone: str | None = None
    policy: Policy | None = None
    detect_cross: bool = False
    metadata: dict[str, Any] = {}


class Geofence(NamedTuple):
    """A stored geofence, read: the geometry and what the gateway knows of it."""

    id: str
    geometry: Geometry
    known: Properties
    properties: dict[str, Any]


class Parsed(NamedTuple):
    """A valid geofence in its stored form, and what was repaired, in words."""

    document: dict[str, Any]
    repairs: tuple[str, ...]


class _Feature(msgspec.Struct):
    id: str
    geometry: dict[str, Any]
    properties: dict[str, Any] = {}


_FEATURES = msgspec.json.Decoder(_Feature)
_KNOWN = frozenset(field.name for field in msgspec.structs.fields(Properties))


def parse(geofence_id: str, document: dict[str, Any], *, repair: bool = False) -> Parsed:
    """The stored form of a posted Feature.

    Raises:
        InvalidDocument: the field that is wrong, and what to do.
    """
    document = without_read_only(document)
    check_same_id(document, geofence_id)
    if geofence_id in RESERVED_IDS:
        raise InvalidDocument("/id", f"{geofence_id!r} is the name of a route")
    _check_members(document)
    properties = _properties(document)
    known = _known(properties)
    geometry = document.get("geometry")
    if not isinstance(geometry, dict):
        raise InvalidDocument("/geometry", "is required: a GeoJSON geometry object")
    try:
        parsed = parse_geometry(
            geometry, radius_m=known.radius_m, buffer_m=known.buffer_m, repair=repair
        )
    except GeometryError as error:
        raise InvalidDocument(_in_feature(error.pointer), error.detail) from None
    if parsed.repairs:
        geometry = _repaired(parsed.geometry)
    return Parsed(
        {"type": "Feature", "id": geofence_id, "geometry": geometry, "properties": properties},
        tuple(parsed.repairs),
    )


def read(stored: bytes) -> Geofence:
    """A stored geofence, for the index and the rules."""
    feature = _FEATURES.decode(stored)
    known = msgspec.convert(feature.properties, Properties)
    parsed = parse_geometry(feature.geometry, radius_m=known.radius_m, buffer_m=known.buffer_m)
    return Geofence(feature.id, parsed.geometry, known, feature.properties)


def _check_members(document: dict[str, Any]) -> None:
    if document.get("type", "Feature") != "Feature":
        raise InvalidDocument(
            "/type", f"is {document['type']!r}; a geofence is a GeoJSON 'Feature'"
        )
    for name in document:
        if name not in _MEMBERS:
            raise InvalidDocument(f"/{name}", _unknown_member(name))


def _unknown_member(name: str) -> str:
    if name in _KNOWN:
        return f"belongs inside properties: {{'properties': {{'{name}': ...}}}}"
    near = difflib.get_close_matches(name, sorted(_MEMBERS | _KNOWN), 1)
    hint = f"did you mean {near[0]!r}?" if near else "own data belongs inside properties"
    return f"is not a member of a geofence; {hint}"


def _properties(document: dict[str, Any]) -> dict[str, Any]:
    properties = document.get("properties")
    if properties is None:
        properties = {}
    if not isinstance(properties, dict):
        raise InvalidDocument("/properties", "must be an object")
    properties = dict(properties)
    for name in _MOVED:
        if name in document:
            if properties.get(name, document[name]) != document[name]:
                raise InvalidDocument(f"/{name}", f"contradicts properties.{name}")
            properties[name] = document[name]
    for name in properties.keys() - _KNOWN:
        near = difflib.get_close_matches(name.lower(), _KNOWN - {"name", "tags"}, 1, 0.85)
        if near:
            raise InvalidDocument(
                f"/properties/{name}",
                f"did you mean {near[0]!r}? Own data with such a name belongs in metadata",
            )
    size = len(msgspec.json.encode(properties))
    if size > MAX_PROPERTIES_BYTES:
        raise InvalidDocument(
            "/properties", f"are {size} bytes of JSON; at most {MAX_PROPERTIES_BYTES}"
        )
    return properties


def _known(properties: dict[str, Any]) -> Properties:
    given = {name: value for name, value in properties.items() if value is not None}
    try:
        known = convert(given, Properties)
    except InvalidDocument as error:
        raise InvalidDocument("/properties" + error.pointer, error.detail) from None
    tags = check_tags(known.tags, "/properties/tags")
    if tags != known.tags:
        properties["tags"] = tags
    check_timezone(known.timezone, "/properties/timezone")
    check_policy(known.policy, "/properties/policy")
    check_metadata(known.metadata, "/properties/metadata")
    return known


def _in_feature(pointer: str) -> str:
    """Where in the Feature the geometry's error is; radius and buffer are properties."""
    if pointer.endswith(_MOVED):
        return "/properties/" + pointer.rpartition("/")[2]
    return pointer if pointer.startswith("/geometry") else "/geometry" + pointer


def _repaired(geometry: Geometry) -> dict[str, Any]:
    from geo.geojson import to_geojson

    return to_geojson(geometry)
