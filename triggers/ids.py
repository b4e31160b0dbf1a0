"""Deterministic ids: the same input gives the same id, in every process, for ever.

That is what makes re-sent batches, retried commits and a timer racing a late ping harmless: both
sides compute one id, and whoever comes second finds it taken. Ids are BLAKE2b digests (RFC 7693) of
length-prefixed parts, so that no choice of names can make two different inputs alike.

Ids that leave the gateway are UUIDs of version 8 (RFC 9562, section 5.8), because APNs takes
nothing else as a notification id.
"""

from hashlib import blake2b

MASK_64 = 0xFFFF_FFFF_FFFF_FFFF

# Odd multipliers with well spread bits; the array twin of `fingerprint` must use the same.
MIX_AT = 0x9E37_79B9_7F4A_7C15
MIX_LAT = 0xC2B2_AE3D_27D4_EB4F
MIX_LON = 0x1656_67B1_9E37_79F9
MIX_FINAL = 0xD6E8_FEB8_6659_FD93


def zone_key(tenant: str, zone_type: str, zone_id: str) -> int:
    """The stable 64-bit key of a zone: 1 .. 2**64 - 1."""
    return int.from_bytes(_digest("zone", (tenant, zone_type, zone_id), 8), "big") or 1


def visit_id(tenant: str, device_id: str, zone_type: str, zone_id: str, entered_at: int) -> str:
    """The id of one stay of a device in a zone, as a UUID string."""
    return _uuid("visit", (tenant, device_id, zone_type, zone_id, str(entered_at)))


def event_id(visit: str, kind: str, detail: int = 0) -> str:
    """The id of what happened in a visit, as a UUID string.

    Args:
        visit: the visit's id.
        kind: enter, dwell, exit, cross or approach.
        detail: what tells apart events of one kind in one visit: a dwell's threshold in seconds, an
            approach's ring in metres.
    """
    return _uuid("event", (visit, kind, str(detail)))


def push_id(trigger_id: str, event: str) -> str:
    """The id of the one push that a trigger may send for an event, as a UUID string."""
    return _uuid("push", (trigger_id, event))


def part_id(push: str, target: str) -> str:
    """The id of the part of a push that goes to one address of several, as a UUID string."""
    return _uuid("part", (push, target))


def fingerprint(at: int, lat_e7: int, lon_e7: int) -> int:
    """32 bits that recognise a ping sent again; never 0 (the mark of an empty slot).

    All arithmetic is on unsigned 64-bit words with wrap-around, negative inputs as two's
    complement, so arrays of uint64 give the very same value: first
    ``x = at*MIX_AT ^ lat*MIX_LAT ^ lon*MIX_LON``, then ``x ^= x >> 32; x *= MIX_FINAL``, and of
    that the upper 32 bits (1 instead of 0).

    Args:
        at: event time, epoch ms.
        lat_e7: latitude in 1e-7 degrees, rounded half to even.
        lon_e7: longitude in 1e-7 degrees, rounded half to even.
    """
    x = (at * MIX_AT ^ lat_e7 * MIX_LAT ^ lon_e7 * MIX_LON) & MASK_64
    x ^= x >> 32
    return ((x * MIX_FINAL & MASK_64) >> 32) or 1


def fingerprint_of_id(ping_id: str) -> int:
    """32 bits of the id that a sender gave its ping; never 0."""
    return int.from_bytes(blake2b(ping_id.encode(), digest_size=4).digest(), "big") or 1


def _uuid(domain: str, parts: tuple[str, ...]) -> str:
    bits = int.from_bytes(_digest(domain, parts, 16), "big")
    bits = bits & ~(0xF << 76) | 0x8 << 76  # version
    bits = bits & ~(0x3 << 62) | 0x2 << 62  # variant
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _digest(domain: str, parts: tuple[str, ...], size: int) -> bytes:
    framed = "".join([f"{len(part)}:{part}" for part in parts])
    return blake2b(framed.encode(), digest_size=size, person=domain.encode()).digest()
