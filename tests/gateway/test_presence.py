"""Which beacon zones a sighting speaks for."""

from gateway.presence import Hearing, Presence

UUID = "ibeacon:eb6d4696-24be-4663-b152-30d46b0e9cc9"


def test_a_beacon_is_found_by_its_key_and_by_its_prefixes() -> None:
    """A zone may name one beacon, a major, or a whole UUID."""
    presence = Presence()
    presence.put_zone(1, [f"{UUID}:13:42"], [])
    presence.put_zone(2, [f"{UUID}:13"], [])
    presence.put_zone(3, [UUID], [])
    assert [1, 2, 3] == presence.zones_of_beacon(f"{UUID}:13:42")
    assert [2, 3] == presence.zones_of_beacon(f"{UUID}:13:7")
    assert [3] == presence.zones_of_beacon(f"{UUID}:1:7")
    assert [] == presence.zones_of_beacon("mac:aa:bb:cc:dd:ee:ff")


def test_a_replaced_or_removed_zone_is_not_found_by_its_old_beacons() -> None:
    """Edits leave nothing behind."""
    presence = Presence()
    presence.put_zone(1, [f"{UUID}:1:2"], ["till"])
    presence.put_zone(1, ["mac:aa:bb:cc:dd:ee:ff"], [])
    assert ([], [1]) == (
        presence.zones_of_beacon(f"{UUID}:1:2"),
        presence.zones_of_beacon("mac:aa:bb:cc:dd:ee:ff"),
    )
    presence.remove_zone(1)
    assert ([], []) == (
        presence.zones_of_beacon("mac:aa:bb:cc:dd:ee:ff"),
        presence.zones_of_receiver("till"),
    )


def test_a_receiver_speaks_for_the_zones_that_list_it_and_for_its_own() -> None:
    """Both ways of saying it work, and its readings are corrected."""
    presence = Presence()
    presence.put_zone(1, [], ["till"])
    presence.put_receiver("till", 2, -4.0, 20.0)
    assert [Hearing(1, -4.0), Hearing(2, -4.0)] == presence.zones_of_receiver("till")
    assert (20.0, 20.0) == (presence.longest_interval_s(1), presence.longest_interval_s(2))
    presence.remove_receiver("till")
    assert [Hearing(1, 0.0)] == presence.zones_of_receiver("till")
    assert presence.knows_receiver("till")
    assert not presence.knows_receiver("door")
