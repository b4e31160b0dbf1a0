"""What all receivers' adapters share: one packet that was heard, and when by whose clock."""

from collections.abc import Iterable

from gateway.ingest.model import BadRecord
from gateway.ingest.values import instant, make_sighting, number
from gateway.wire import CLOCK_STEP_MS, EARLIEST_AT, Sighting
from geo.advertisement import parse_advertisement
from geo.beacons import is_rssi

MAX_ADVERTISEMENT_BYTES = 512


def heard(
    receiver_id: str,
    rssi: object,
    seen_at: int,
    *,
    address: object = None,
    is_random: bool = False,
    advertisement: bytes | None = None,
    beacon: object = None,
    power_dbm: object = None,
) -> Iterable[Sighting]:
    """The sighting; nothing where there was no measurement, or the sender names itself in no way.

    The transmitter is the ``beacon``, else what the advertisement names, else its address unless
    that ``is_random`` (phones change theirs every few minutes, so it names nobody).

    Raises:
        BadRecord: the packet cannot be read, and why.
    """
    rssi_dbm = number(rssi)
    if rssi_dbm is not None and not is_rssi(rssi_dbm):
        return ()
    if not (beacon or advertisement or address or is_random):
        raise BadRecord("nothing names the transmitter: no address, no beacon, no advertisement")
    if not beacon and advertisement:
        for one in parse_advertisement(advertisement).beacons[:1]:
            beacon, power_dbm = one.key, one.power_dbm
    is_named = isinstance(address, str) and address and not is_random
    if not beacon and not is_named:
        return ()
    sighting = make_sighting(
        rssi,
        receiver_id=receiver_id,
        seen_at=seen_at,
        beacon=beacon or None,
        address=address if is_named else None,
        measured_power_dbm=_power(power_dbm),
    )
    return (sighting,)


def clock_offset_ms(sent: object, received_at: int) -> int:
    """How far the receiver's clock is behind ours, in whole minutes, from when it says it sent.

    Receivers do not queue, so what they send is of this moment, whatever their clock says. Whole
    minutes, so that a post that is sent again gets the same times.
    """
    sent_at = instant(sent)
    if sent_at is None:
        return 0
    return round((received_at - sent_at) / CLOCK_STEP_MS) * CLOCK_STEP_MS


def seen_time(value: object, offset_ms: int, received_at: int) -> int:
    """When a packet was heard; without a clock, when we heard of it. Never in the future."""
    at = instant(value)
    if at is None or at + offset_ms < EARLIEST_AT:
        return received_at
    return min(at + offset_ms, received_at)


def octets(value: object) -> bytes | None:
    """Bytes of a packet, from hexadecimal or an array of numbers; None where there are none.

    Raises:
        BadRecord: they cannot be read, or are more than an advertisement can have.
    """
    if value is None or value in ("", []):
        return None
    try:
        if isinstance(value, str):
            found = bytes.fromhex(value.removeprefix("0x").replace(":", ""))
        else:
            found = bytes(value) if isinstance(value, list) else b""
    except (ValueError, TypeError):
        found = b""
    if not found:
        raise BadRecord("the advertisement is neither hexadecimal nor an array of numbers")
    if len(found) > MAX_ADVERTISEMENT_BYTES:
        raise BadRecord(f"an advertisement has at most {MAX_ADVERTISEMENT_BYTES} bytes")
    return found


def _power(value: object) -> float | None:
    found = number(value)
    return found if found is not None and -127 <= found <= 20 else None
