"""A real Chromium, spoken to by the DevTools protocol over a pipe; a gateway with a small town."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

GATEWAY = [sys.executable, "-m", "gateway"]
DEADLINE_S = 40.0
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu-sandbox", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--no-first-run", "--disable-extensions", "--mute-audio",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--no-default-browser-check", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip


def wait_for(is_done: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """The first true answer; fails after the deadline, saying what was waited for."""
    ends = time.monotonic() + deadline_s
    while time.monotonic() < ends:
        answer = is_done()
        if answer:
            return answer
        time.sleep(0.05)
    pytest.fail(f"waited {deadline_s:.0f} s for {what}")


class Chromium:
    """One browser process; ``call`` is one command of the protocol."""

    def __init__(self, program: str, profile: Path) -> None:
        read, write = os.pipe(), os.pipe()
        command = [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        plumbing = f'exec "$0" "$@" 3<&{read[0]} 4>&{write[1]}'
        self._process = subprocess.Popen(
            ["bash", "-c", plumbing, *command],
            pass_fds=(read[0], write[1]),
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(read[0])
        os.close(write[1])
        self._out, self._in = os.fdopen(read[1], "wb"), os.fdopen(write[0], "rb")
        self._number = 0
        self._answers: dict[int, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        self._out.write(json.dumps(message).encode() + b"\0")
        self._out.flush()
        with self._news:
            if not self._news.wait_for(lambda: number in self._answers, DEADLINE_S):
                pytest.fail(f"Chromium did not answer {method}")
            answer = self._answers.pop(number)
        assert "error" not in answer, answer["error"]
        result: dict[str, Any] = answer["result"]
        return result

    def close(self) -> None:
        """End the process and all its children."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(5)
        self._out.close()
        self._in.close()

    def _read(self) -> None:
        rest = b""
        while piece := os.read(self._in.fileno(), 1 << 20):
            *whole, rest = (rest + piece).split(b"\0")
            with self._news:
                for text in whole:
                    message = json.loads(text)
                    if "id" in message:
                        self._answers[message["id"]] = message
                    else:
                        self.events.append(message)
                self._news.notify_all()


class Page:
    """One tab of its own context (its own cookies)."""

    def __init__(self, browser: Chromium, origin: str) -> None:
        self._browser = browser
        self.origin = origin
        context = browser.call("Target.createBrowserContext")["browserContextId"]
        target = browser.call("Target.createTarget", url="about:blank", browserContextId=context)
        attached = browser.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.resize(1440, 900)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A command for this tab."""
        return self._browser.call(method, self._session, **params)

    def resize(self, width: int, height: int) -> None:
        """The viewport in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=width < 600)  # fmt: skip

    def scheme(self, name: str) -> None:
        """``light`` or ``dark``."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def open(self, path: str) -> None:
        """Go to an address of the gateway."""
        self.call("Page.navigate", url=self.origin + path)
        self.wait("document.readyState === 'complete'")

    def js(self, expression: str) -> Any:
        """The value of an expression, awaited."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression: str) -> Any:
        """The value of an expression once it is true."""
        return wait_for(lambda: self.js(expression), f"{expression} (page: {self.text()[:800]})")

    def text(self) -> str:
        """What is to be read on the page."""
        return str(self.js("document.body?.innerText ?? ''"))

    def wait_text(self, text: str) -> None:
        """Wait until the page shows a text."""
        self.wait(f"document.body.innerText.includes({json.dumps(text)})")

    def place(self, selector: str) -> tuple[float, float]:
        """The middle of an element, scrolled into view."""
        box = self.js(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
            " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        return box[0], box[1]

    def labelled(self, words: str) -> str:
        """A selector of the field under a label."""
        self.js(
            "for (const label of document.querySelectorAll('label.field')) {"
            " const input = label.querySelector('input, select, textarea');"
            " input.dataset.label = label.firstElementChild.innerText; }"
        )
        return f'[data-label="{words}"]'

    def click(self, selector: str) -> None:
        """Click an element with the mouse."""
        self.wait(f"!!document.querySelector({json.dumps(selector)})")
        self.click_at(*self.place(selector))

    def press(self, words: str) -> None:
        """Click the button or link with these words."""
        found = (
            "[...document.querySelectorAll('button, a')]"
            f".find(e => e.innerText.trim() === {json.dumps(words)})"
        )
        self.wait(f"!!{found}")
        self.js(f"{found}.click()")

    def click_at(self, x: float, y: float) -> None:
        """Click a place of the viewport."""
        self.mouse("mouseMoved", x, y)
        self.mouse("mousePressed", x, y)
        self.mouse("mouseReleased", x, y)

    def mouse(self, kind: str, x: float, y: float) -> None:
        """One mouse event."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left",
                  buttons=0 if kind == "mouseReleased" else 1, clickCount=1)  # fmt: skip

    def write(self, selector: str, text: str) -> None:
        """Put a text into a field, as a person would."""
        self.wait(f"!!document.querySelector({json.dumps(selector)})")
        self.js(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.focus();"
            f" e.value = {json.dumps(text)}; for (const kind of ['input', 'change'])"
            " e.dispatchEvent(new Event(kind, {bubbles: true})); })()"
        )

    def sign_in(self, key: str) -> None:
        """Open the console with a key."""
        self.open("/")
        self.write("input[name=key]", key)
        self.press("Sign in")
        self.wait("!!document.querySelector('nav a[aria-current=page]')")

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press, move in steps, release."""
        self.mouse("mouseMoved", *start)
        self.mouse("mousePressed", *start)
        for step in range(1, 9):
            part = step / 8
            x, y = (a + (b - a) * part for a, b in zip(start, end, strict=True))
            self.mouse("mouseMoved", x, y)
        self.mouse("mouseReleased", *end)

    def nameless(self) -> list[str]:
        """Controls and pictures that a screen reader would have no name for."""
        spoken = {"button", "link", "textbox", "combobox", "checkbox", "spinbutton", "image"}
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            str(node)
            for node in nodes
            if not node.get("ignored")
            and node.get("role", {}).get("value") in spoken
            and not node.get("name", {}).get("value")
        ]

    def shoot(self, path: Path) -> None:
        """A picture of the viewport."""
        data = self.call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))

    def requests(self) -> list[str]:
        """Every address that this tab asked for."""
        return [
            event["params"]["request"]["url"]
            for event in self._browser.events
            if event["method"] == "Network.requestWillBeSent"
            and event.get("sessionId") == self._session
        ]

    def faults(self) -> list[str]:
        """Exceptions and errors that the console of the browser shows."""
        found = []
        for event in self._browser.events:
            if event.get("sessionId") != self._session:
                continue
            if event["method"] == "Runtime.exceptionThrown":
                found.append(str(event["params"]["exceptionDetails"]))
            if event["method"] == "Log.entryAdded":
                entry = event["params"]["entry"]
                if entry["level"] == "error" and entry["source"] in ("security", "javascript"):
                    found.append(entry["text"])
        return found


class Town:
    """A running gateway with keys and a client that may do everything."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._folder = folder
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_")}
        self._environment = environment | {
            "GATEWAY_PORT": str(port), "GATEWAY_DATA_DIR": str(folder),
            "GATEWAY_LOG_LEVEL": "warning", "GATEWAY_DURABILITY": "everysec",
        }  # fmt: skip
        self._process = subprocess.Popen([*GATEWAY, "serve"], env=self._environment)
        self.client = httpx.Client(base_url=self.url, timeout=20, trust_env=False)
        wait_for(self._is_ready, "the gateway")
        self.key = self.make_key("manage,ingest,read")
        self.read_key = self.make_key("read")
        self.client.headers["Authorization"] = f"Bearer {self.key}"

    def make_key(self, scopes: str) -> str:
        """A new key."""
        command = [*GATEWAY, "keys", "create", "--tenant", "acme", "--scopes", scopes]
        made = subprocess.run(
            command, capture_output=True, text=True, check=True, env=self._environment
        )
        return made.stdout.strip()

    def put(self, path: str, document: dict[str, Any]) -> None:
        """PUT, and insist."""
        answer = self.client.put(path, json=document)
        assert answer.is_success, answer.text

    def ping(self, device: str, lat: float, lon: float, **more: Any) -> None:
        """One exact position, now."""
        at = int(time.time() * 1000)
        ping = {"device_id": device, "lat": lat, "lon": lon, "recorded_at": at, "accuracy_m": 5}
        answer = self.client.post("/v1/pings", json=ping | more)
        assert answer.status_code == 202, answer.text

    def close(self) -> None:
        """End it."""
        self.client.close()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)

    def _is_ready(self) -> bool:
        if self._process.poll() is not None:
            pytest.fail("the gateway ended by itself")
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.HTTPError:
            return False


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """The browser; its tests skip where there is none."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("Chromium is not here (apt-get install chromium)")
    browser = Chromium(program, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """A gateway of its own."""
    running = Town(tmp_path_factory.mktemp("town"))
    yield running
    running.close()


@pytest.fixture
def page(chromium: Chromium, town: Town) -> Page:
    """A fresh tab, nobody signed in."""
    return Page(chromium, town.url)
