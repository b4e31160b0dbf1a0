"""The console in a real Chromium: draw, configure, try, understand."""

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway import console_setup

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not console_setup.is_current(), reason="the console is not set up (npm)"),
]

LAT, LON = 52.52, 13.40
VIEWS = ["/", "/triggers", "/triggers?id=welcome", "/explain?device=visitor", "/deliveries", "/try"]
HOSTILE = '"><img src=x onerror="window.pwned=1"><script>window.pwned=1</script>{{ x }}'


@pytest.fixture(scope="module", autouse=True)
def places(town: Any) -> None:
    """A store, a trigger, a person who has been there."""
    store = {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [LON, LAT]},
        "properties": {"name": "Store", "radius_m": 100, "tags": ["store"]},
    }
    town.put("/v1/geofences/store", store)
    message = {"title": "Hello {{ user.first_name }}", "body": "Welcome to {{ zone.name }}"}
    town.put(
        "/v1/triggers/welcome",
        {
            "on": {"event": "enter", "zones": {"tags": ["store"]}},
            "variants": [{"message": message}],
        },
    )
    town.put("/v1/devices/visitor", {"consents": {"push": True, "location": "precise"}})
    town.ping("visitor", LAT, LON)


def ready_map(page: Any) -> None:
    """Wait until the map shows what is in view."""
    page.wait("document.querySelector('.strip')?.innerText.includes('in view')")
    page.wait("!!document.querySelector('.maplibregl-canvas')")
    time.sleep(0.4)  # the map's own frame


def middle(page: Any) -> tuple[float, float]:
    """The middle of the map."""
    return tuple(page.place(".map-canvas"))  # type: ignore[return-value]


def test_a_key_becomes_a_session(page: Any, town: Any) -> None:
    """A wrong key is told; a right one makes a cookie that no script reads, until sign-out."""
    page.open("/")
    page.write("input[name=key]", "gw_wrong")
    page.press("Sign in")
    page.wait_text("not known")
    page.sign_in(town.key)
    cookies = page.call("Network.getCookies")["cookies"]
    assert [("gateway_session", True, "Strict")] == [
        (one["name"], one["httpOnly"], one["sameSite"]) for one in cookies
    ]
    assert "" == page.js("document.cookie")
    assert town.key not in json.dumps(cookies)
    page.open("/")
    page.wait("!!document.querySelector('nav')")
    page.press("Sign out")
    page.wait("!!document.querySelector('input[name=key]')")
    assert [] == page.call("Network.getCookies")["cookies"]


def test_a_session_cannot_be_ridden(town: Any) -> None:
    """Another site's page changes nothing with the cookie, and reads nothing."""
    ours = {"X-Gateway-Console": "1", "Sec-Fetch-Site": "same-origin"}
    with httpx.Client(base_url=town.url, trust_env=False) as browser:
        assert 403 == browser.post("/v1/session", json={"key": town.key}).status_code
        signed = browser.post("/v1/session", json={"key": town.key}, headers=ours)
        assert 200 == signed.status_code
        for part in ("HttpOnly", "SameSite=Strict", "Path=/"):
            assert part in signed.headers["set-cookie"]
        assert "acme" == browser.get("/v1/session", headers=ours).json()["tenant"]
        foreign: list[dict[str, str]] = [
            {"X-Gateway-Console": "1", "Sec-Fetch-Site": "cross-site"},
            {"X-Gateway-Console": "1", "Sec-Fetch-Site": "same-site"},
            {"X-Gateway-Console": "1", "Origin": "https://evil.example"},
            {"Sec-Fetch-Site": "same-origin"},
            {},
        ]
        for headers in foreign:
            answer = browser.delete("/v1/triggers/welcome", headers=headers)
            assert 401 == answer.status_code, headers
        for headers in foreign[:3]:
            assert 401 == browser.get("/v1/triggers", headers=headers).status_code, headers
        assert 200 == browser.get("/v1/triggers/welcome", headers=ours).status_code
        browser.cookies.set("gateway_session", "AAAA")
        assert 401 == browser.get("/v1/triggers", headers=ours).status_code


def test_a_reading_key_sees_no_edit(page: Any, town: Any) -> None:
    """What the key may not do is not offered, and refused all the same."""
    page.sign_in(town.read_key)
    ready_map(page)
    assert "Circle" not in page.text()
    page.open("/triggers?id=welcome")
    page.wait_text("read only")
    assert "Save" not in page.text()
    page.open("/try")
    page.wait_text("cannot simulate")
    status = page.js(
        "fetch('/v1/triggers/welcome', {method: 'DELETE', headers: {'X-Gateway-Console': '1'}})"
        ".then(a => a.status)"
    )
    assert 403 == status


def test_draw_change_and_delete_a_geofence(page: Any, town: Any) -> None:
    """A circle drawn with the mouse is a geofence; deleting it can be undone."""
    page.sign_in(town.key)
    ready_map(page)
    x, y = middle(page)
    page.press("○ Circle")
    page.click_at(x + 200, y - 150)
    page.mouse("mouseMoved", x + 230, y - 150)
    page.click_at(x + 240, y - 150)
    page.wait_text("New geofence")
    page.write(page.labelled("Name"), "Drawn")
    page.write(page.labelled("Id"), "drawn")
    page.write(page.labelled("Tags"), "store, drawn")
    page.press("Create")
    page.wait_text("Saved")
    made = town.client.get("/v1/geofences/drawn").json()
    assert "Point" == made["geometry"]["type"]
    assert ["store", "drawn"] == made["properties"]["tags"]
    assert 20 < made["properties"]["radius_m"] < 500
    time.sleep(0.5)
    page.click_at(x + 200, y - 150)
    page.wait_text("Edit shape")
    page.press("Delete")
    page.wait_text("Deleted")
    assert 404 == town.client.get("/v1/geofences/drawn").status_code
    page.press("Undo")
    page.wait("fetch('/v1/geofences/drawn').then(a => a.ok)")
    town.client.delete("/v1/geofences/drawn")


def test_split_a_polygon(page: Any, town: Any) -> None:
    """A line across a polygon makes two of it."""
    d = 0.002
    ring = [[LON - d, LAT - d], [LON + d, LAT - d], [LON + d, LAT + d], [LON - d, LAT + d]]
    mall = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
    town.put("/v1/geofences/mall", {"type": "Feature", "geometry": mall, "properties": {}})
    page.sign_in(town.key)
    ready_map(page)
    x, y = middle(page)
    page.click_at(x, y - 220)  # in the mall, above the store
    page.wait("document.querySelector('.side h2').innerText === 'mall'")
    page.press("Split")
    page.click_at(x - 300, y + 40)
    page.mouse("mouseMoved", x + 200, y + 40)
    page.click_at(x + 300, y + 40)
    page.click_at(x + 300, y + 40)
    page.wait("fetch('/v1/geofences/mall-2').then(a => a.ok)")
    page.wait_text("other half")
    for one in ("mall", "mall-2"):
        town.client.delete(f"/v1/geofences/{one}")


def test_import_a_file(page: Any, town: Any, tmp_path: Path) -> None:
    """A CSV file becomes geofences, and what is wrong in it is told."""
    file = tmp_path / "shops.csv"
    file.write_text("id,name,lat,lon,radius_m\ncsv-1,One,52.53,13.41,80\ncsv-2,Two,99,13.41,80\n")
    page.sign_in(town.key)
    ready_map(page)
    root = page.call("DOM.getDocument")["root"]["nodeId"]
    node = page.call("DOM.querySelector", nodeId=root, selector="input[type=file]")["nodeId"]
    page.call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])
    page.wait_text("1 created")
    page.wait_text("1 refused")
    assert "One" == town.client.get("/v1/geofences/csv-1").json()["properties"]["name"]
    town.client.delete("/v1/geofences/csv-1")


def test_events_are_live(page: Any, town: Any) -> None:
    """What a phone does is on the map's list at once."""
    page.sign_in(town.key)
    ready_map(page)
    page.wait("document.querySelector('.side .badge')?.innerText === 'live'")
    town.ping("live-phone", LAT, LON)
    page.wait_text("live-phone")


def test_make_a_trigger_and_drag_a_phone_in(page: Any, town: Any) -> None:
    """The whole story: a form, a drag, a push on the phone, and why."""
    page.sign_in(town.key)
    page.press("Triggers")
    page.press("New trigger")
    page.wait_text("As it arrives")
    page.write(page.labelled("Name"), "Free coffee")
    page.write(page.labelled("Id"), "coffee")
    page.write(page.labelled("Title"), "Coffee, {{ user.first_name }}?")
    page.write(page.labelled("Text"), "On us at {{ zone.name }}.")
    page.write(page.labelled("Button"), "Yes please")
    page.wait_text("Coffee, Kim?")
    document = json.loads(page.js("document.querySelector('textarea.json').value"))
    assert "Coffee, {{ user.first_name }}?" == document["variants"][0]["message"]["title"]
    page.press("Create")
    page.wait_text("Version")
    stored = town.client.get("/v1/triggers/coffee").json()
    assert "Yes please" == stored["variants"][0]["message"]["actions"][0]["title"]

    page.press("Try it")
    page.wait("!!document.querySelector('.marker')")
    time.sleep(1)
    x, y = middle(page)
    marker = page.place(".marker")
    page.drag(marker, (x, y + 20))
    page.wait("document.querySelector('.side .push')?.innerText.includes('Kim')")
    page.wait_text("Coffee, Kim?")
    page.wait("[...document.querySelectorAll('.items .badge')].some(b => b.innerText === 'sent')")
    page.press("Yes please")
    page.wait_text("the gateway knows")

    page.click(".side a.button")
    page.wait_text("decisions")
    page.wait_text("coffee")
    assert "/explain" == page.js("location.pathname")
    page.wait(
        "[...document.querySelectorAll('.check-list li')].some(e => /consent/.test(e.innerText))"
    )
    page.press("Show the push")
    page.wait("document.querySelector('.decision .phone.ios .push')?.innerText.includes('Kim')")
    page.press("Numbers")
    page.wait_text("From event to answer")
    town.client.delete("/v1/triggers/coffee")


def test_a_mistake_is_told_in_place(page: Any, town: Any) -> None:
    """What the gateway refuses is shown beside the form, and nothing is lost."""
    page.sign_in(town.key)
    page.open("/triggers?new")
    page.wait_text("As it arrives")
    page.write(page.labelled("Title"), "Hi {{ user.first_name")
    page.press("Create")
    page.wait("document.querySelector('.wrong')?.innerText.length > 10")
    assert "Hi {{ user.first_name" == page.js(
        f"document.querySelector('{page.labelled('Title')}').value"
    )
    page.write("textarea.json", "{ not json")
    page.wait("document.querySelector('textarea.json').getAttribute('aria-invalid') === 'true'")


def test_pause_and_resume(page: Any, town: Any) -> None:
    """A paused trigger is off for the API, too."""
    page.sign_in(town.key)
    page.open("/triggers")
    page.press("Pause")
    page.wait_text("paused")
    assert town.client.get("/v1/triggers/welcome").json()["enabled"] is False
    page.press("Resume")
    page.wait("fetch('/v1/triggers/welcome').then(a => a.json()).then(t => t.enabled !== false)")


def test_backtest_a_file(page: Any, town: Any, tmp_path: Path) -> None:
    """A track tells how many pushes the trigger would have sent, and nothing is sent."""
    rows = [f"{LAT + 0.01 - 0.001 * i:.6f},{LON},{1_796_000_000 + 20 * i},5" for i in range(21)]
    file = tmp_path / "walk.csv"
    file.write_text("lat,lon,recorded_at,accuracy_m\n" + "\n".join(rows) + "\n")
    page.sign_in(town.key)
    page.open("/triggers?id=welcome")
    page.wait_text("What would it have done?")
    root = page.call("DOM.getDocument")["root"]["nodeId"]
    node = page.call("DOM.querySelector", nodeId=root, selector="input[type=file]")["nodeId"]
    page.call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])
    page.wait_text("occasions")
    assert "1 pushes to 1 people" in page.text()


def test_hostile_texts_stay_texts(page: Any, town: Any) -> None:
    """No name, message or attribute that somebody stored becomes markup."""
    fence = {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [LON + 0.002, LAT]},
        "properties": {
            "name": HOSTILE,
            "radius_m": 60,
            "tags": ["<b>bold</b>"],
            "metadata": {"a": HOSTILE},
        },
    }
    town.put("/v1/geofences/hostile", fence)
    said = {
        "title": "<img src=x onerror='window.pwned=1'>",
        "body": "<script>window.pwned=1</script>",
    }
    name = HOSTILE.removesuffix("{{ x }}")
    town.put(
        "/v1/triggers/hostile",
        {
            "name": name,
            "description": name,
            "on": {"event": "enter"},
            "variants": [{"message": said}],
        },
    )
    town.put(
        "/v1/users/hostile", {"attributes": {"first_name": HOSTILE}, "consents": {"push": True}}
    )
    town.ping("hostile-phone", LAT, LON + 0.002, user_id="hostile")
    page.sign_in(town.key)
    views = ["/", "/triggers", "/triggers?id=hostile", "/deliveries", "/try"]
    views += [f"/explain?{one}" for one in ("device=hostile-phone", "user=hostile", "zone=hostile")]
    for path in views:
        page.open(path)
        page.wait("!!document.querySelector('nav a[aria-current=page]')")
        time.sleep(0.8)
        assert page.js("window.pwned") is None, path
        assert 0 == page.js("document.querySelectorAll('main script, main img').length"), path
    for kind in ("geofences", "triggers"):
        town.client.delete(f"/v1/{kind}/hostile")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_view_fits_and_is_named(page: Any, town: Any, scheme: str) -> None:
    """No sideways scrolling, a name for each control, no fault, no request to a stranger."""
    page.scheme(scheme)
    page.sign_in(town.key)
    for width, height in ((390, 844), (1440, 900)):
        page.resize(width, height)
        for path in VIEWS:
            page.open(path)
            page.wait("!!document.querySelector('main .view')?.firstElementChild")
            time.sleep(0.5)
            assert page.js("document.documentElement.scrollWidth <= innerWidth"), (path, width)
            assert [] == page.nameless(), (path, width)
    assert [] == page.faults()
    strangers = [
        one for one in page.requests() if not one.startswith((page.origin, "data:", "blob:"))
    ]
    assert [] == strangers


def test_the_page_forbids_strangers(town: Any) -> None:
    """The policy names this origin alone; libraries are served compressed and cached by tag."""
    with httpx.Client(base_url=town.url, trust_env=False) as browser:
        answer = browser.get("/")
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        library = browser.get("/console/vendor/maplibre-gl.js")
        assert "gzip" == library.headers["content-encoding"]
        again = browser.get(
            "/console/vendor/maplibre-gl.js", headers={"If-None-Match": library.headers["etag"]}
        )
        assert 304 == again.status_code
        for path in ("package.json/..", "../auth.py", "js/../../auth.py", "%2e%2e/auth.py", "x.py"):
            assert browser.get(f"/console/{path}").status_code in (400, 404), path
