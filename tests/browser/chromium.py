"""A headless Chromium, driven from Python over its DevTools protocol, and a server for the book.

No more than the page checks and ``shoot.py`` need; the websocket is tornado's, which Jupyter
brings.
"""

import asyncio
import base64
import contextlib
import functools
import http.server
import json
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

HTML = Path(__file__).resolve().parents[2] / "_build" / "html"
FLAGS = ("--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars "
         "--disable-background-networking --disable-component-update --disable-sync "
         "--disable-dev-shm-usage --remote-debugging-port=0").split()
SETTLED = """(async () => {
  if (window.MathJax?.startup?.promise) await MathJax.startup.promise;
  await document.fonts.ready;
  await new Promise(done => setTimeout(done, 100));
})()"""


def program() -> str | None:
    """The Chromium there is, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextlib.contextmanager
def served(folder=HTML):
    """Serve ``folder`` on loopback: gives the address, such as http://127.0.0.1:40001/."""
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


class Chromium:
    """One browser with one page. ``events`` holds what it told since the last ``open``."""

    def __init__(self, width: int = 1280, height: int = 900):
        self.loop, self.events, self.count, self.session = asyncio.new_event_loop(), [], 0, None
        self.home = tempfile.TemporaryDirectory(prefix="vaenb-", ignore_cleanup_errors=True)
        self.process = subprocess.Popen(
            [program(), *FLAGS, f"--user-data-dir={self.home.name}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.socket = self.loop.run_until_complete(self._connect())
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.size(width, height)

    async def _connect(self):
        from tornado.websocket import websocket_connect

        told, end = Path(self.home.name, "DevToolsActivePort"), time.monotonic() + 60
        while not (told.exists() and told.read_text().count("\n")):
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("Chromium does not start")
            await asyncio.sleep(0.05)
        port, path = told.read_text().split()
        return await websocket_connect(f"ws://127.0.0.1:{port}{path}", max_message_size=2**30)

    async def _message(self, seconds: float) -> dict:
        text = await asyncio.wait_for(self.socket.read_message(), seconds)
        if text is None:
            raise RuntimeError("Chromium has gone")
        return json.loads(text)

    async def _hang_up(self):  # inside the loop: outside, tornado would make another and leave it
        self.socket.close()
        await asyncio.sleep(0)

    def call(self, method: str, seconds: float = 60, **params) -> dict:
        """Send a command and return its result; events that come meanwhile are kept."""
        async def one():
            self.count += 1
            where = {"sessionId": self.session} if self.session else {}
            await self.socket.write_message(
                json.dumps({"id": self.count, "method": method, "params": params, **where}))
            while True:
                message = await self._message(seconds)
                if message.get("id") == self.count:
                    return message
                self.events.append(message)

        answer = self.loop.run_until_complete(one())
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def said(self, method: str) -> list[dict]:
        """The parameters of all events of that name since the page was opened."""
        return [e["params"] for e in self.events if e.get("method") == method]

    def open(self, url: str, seconds: float = 60) -> None:
        """Go to a page and wait until it is loaded and its mathematics is set."""
        async def loaded():
            while not self.said("Page.loadEventFired"):
                self.events.append(await self._message(seconds))

        self.call("Page.navigate", url="about:blank")
        self.js("0")
        self.events.clear()
        self.call("Page.navigate", url=url)
        self.loop.run_until_complete(loaded())
        self.js(SETTLED)

    def js(self, expression: str):
        """The value of an expression in the page, awaited where it is a promise."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True,
                           returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"in the page: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def size(self, width: int, height: int) -> None:
        """Set the size of the window, in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)

    def mode(self, mode: str) -> None:
        """Prefer "light" or "dark", as a reader's system would, and let the page follow."""
        self.call("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": mode}])
        self.js(SETTLED)

    def png(self, selector: str = "", whole: bool = False) -> bytes:
        """The window as a PNG; with ``whole`` all of the page, with ``selector`` one element."""
        clip = {}
        if selector or whole:
            box = self.js(f"""(() => {{
              const e = document.querySelector({json.dumps(selector or "html")});
              if (!e) return null;
              e.scrollIntoView();
              const b = e.getBoundingClientRect();
              return {{x: b.x + scrollX, y: b.y + scrollY, width: b.width, height: b.height}};
            }})()""")
            if not box:
                raise RuntimeError(f"the page has no {selector}")
            clip = {"clip": box | {"scale": 1}, "captureBeyondViewport": True}
        return base64.b64decode(self.call("Page.captureScreenshot", format="png", **clip)["data"])

    def close(self) -> None:
        self.session = None
        with contextlib.suppress(Exception):
            self.call("Browser.close", seconds=5)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self.process.kill()
        self.process.wait()
        self.loop.run_until_complete(self._hang_up())
        self.loop.close()
        self.home.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
