"""The further channel that a push takes when no receipt comes in time."""

FALLBACK = "fallback"


def fallback_id(push_id: str) -> str:
    """The id under which a push's fallback waits; a receipt cancels it."""
    return f"{push_id}/{FALLBACK}"
