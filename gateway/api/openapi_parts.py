"""What OpenAPI says of bodies that the routes decode themselves."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from litestar.openapi.spec import (
    Example,
    OpenAPIMediaType,
    OpenAPIType,
    Operation,
    RequestBody,
    Schema,
)


def body_of(
    example: Any,
    *,
    schema: Mapping[str, Any] | None = None,
    media_types: tuple[str, ...] = ("application/json",),
) -> type[Operation]:
    """An operation whose body is documented by an example (and a schema, an object by default)."""
    content = OpenAPIMediaType(
        schema=Schema(**schema) if schema else Schema(type=OpenAPIType.OBJECT),
        examples={"example": Example(value=example)},
    )
    described = RequestBody(content=dict.fromkeys(media_types, content), required=True)

    @dataclass
    class Documented(Operation):
        def __post_init__(self) -> None:
            self.request_body = described

    return Documented
