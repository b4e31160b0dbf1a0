"""Strong entity tags from document versions, and what ``If-Match``/``If-None-Match`` ask for.

Source: RFC 9110, sections 8.8.3 and 13.1.
"""

from gateway.document import Expected


class PreconditionFailed(Exception):
    """What the client expects is not what is stored; ``version`` is the stored one, 0 for none."""

    def __init__(self, version: int) -> None:
        super().__init__(f"stored version {version}")
        self.version = version


def etag(version: int) -> str:
    """The strong tag of a version."""
    return f'"{version}"'


def is_unchanged(if_none_match: str | None, version: int) -> bool:
    """Whether a GET may be answered with 304."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or etag(version) in _tags(if_none_match)


def expected_version(if_match: str | None, if_none_match: str | None, version: int) -> Expected:
    """What a write must find, given the version that is stored now (0: nothing).

    Weak tags never match, as strong comparison demands.

    Raises:
        PreconditionFailed: the headers do not hold already.
    """
    if if_none_match is not None:
        if if_none_match.strip() == "*":
            if version:
                raise PreconditionFailed(version)
            return "absent"
        if etag(version) in _tags(if_none_match):
            raise PreconditionFailed(version)
    if if_match is None:
        return None
    if if_match.strip() == "*":
        if not version:
            raise PreconditionFailed(version)
        return "present"
    if not version or etag(version) not in [tag.strip() for tag in if_match.split(",")]:
        raise PreconditionFailed(version)
    return version


def _tags(header: str) -> list[str]:
    """The tags of a list, for weak comparison."""
    return [tag.strip().removeprefix("W/") for tag in header.split(",")]
