"""A page in a real browser, without a package for it: Chromium's own protocol over a pipe."""

import base64
import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

AXE = "axe-core-4.14.1"
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# Chromium is slow to start where other work takes the cores.
PATIENCE = 120
LAPTOP, PHONE = (1440, 900), (390, 844)


def missing(what: str) -> None:
    """Skip, or fail where tests in a browser are required."""
    if os.environ.get("OSTEO_BROWSER_TESTS") == "required":
        pytest.fail(f"OSTEO_BROWSER_TESTS=required, but {what}")
    pytest.skip(f"no test in a browser: {what}")


def executable() -> str:
    """Chromium or Chrome, or a skip."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    return found or missing(f"none of {', '.join(NAMES)} is installed")


def axe() -> str:
    """The source of axe-core, from the npm registry or from an earlier test's copy; or a skip."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "osteo-tests"
    kept = cache / f"{AXE}.min.js"
    if not kept.is_file():
        if not shutil.which("npm"):
            missing(f"{kept} is not there, and npm, which fetches it, is not installed")
        cache.mkdir(parents=True, exist_ok=True)
        name, _, version = AXE.rpartition("-")
        command = ["npm", "pack", "--silent", f"{name}@{version}"]
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            fetched = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)
            if fetched.returncode:
                missing(f"npm could not fetch {AXE}: {fetched.stderr.strip()[-300:]}")
            shutil.unpack_archive(Path(folder) / f"{AXE}.tgz", folder, filter="data")
            (Path(folder) / "package" / "axe.min.js").replace(kept)
    source = kept.read_bytes()
    found = hashlib.sha256(source).hexdigest()
    assert found == AXE_SHA256, f"{kept}: SHA-256 {found}, expected {AXE_SHA256}; delete it"
    return source.decode()


class Browser:
    """One Chromium with one page; what the page requests and logs is kept in `requests` and `messages`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.number, self.rest, self.session, self.deadline = folder, 0, b"", None, 0.0
        self.requests: list[str] = []
        self.messages: list[str] = []
        self.loaded = False

    def __enter__(self) -> "Browser":
        found = executable()
        to_read, self.to_browser = os.pipe()
        self.from_browser, to_write = os.pipe()
        # Chromium reads from descriptor 3 and writes to 4.
        words = [found, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        words += ["--remote-debugging-pipe", f"--user-data-dir={self.folder / 'profile'}", "about:blank"]
        log = (self.folder / "chromium.log").open("wb")
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{to_read} 4>&{to_write}', "bash", *words],
            pass_fds=(to_read, to_write), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        log.close()
        os.close(to_read)
        os.close(to_write)
        try:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Network", "Runtime", "Log"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Its own group: renderers go with it, and nothing else.
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.to_browser)
        os.close(self.from_browser)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask the browser and wait for its answer; AssertionError where it does not answer in time."""
        self.number, self.deadline = self.number + 1, time.monotonic() + PATIENCE
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.to_browser, data) :]
        while True:
            answer = self._next(method)
            if answer.get("id") == self.number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _next(self, waiting: str) -> dict[str, Any]:
        while b"\0" not in self.rest:
            left = self.deadline - time.monotonic()
            ready = left > 0 and select.select([self.from_browser], [], [], left)[0]
            data = os.read(self.from_browser, 1 << 20) if ready else b""
            log = (self.folder / "chromium.log").read_text("utf-8", "replace")[-1500:]
            assert ready, f"the browser did not answer {waiting} within {PATIENCE} s\n{log}"
            assert data, f"the browser ended during {waiting}\n{log}"
            self.rest += data
        first, _, self.rest = self.rest.partition(b"\0")
        message = json.loads(first)
        self._keep(message.get("method"), message.get("params", {}))
        return message

    def _keep(self, method: str | None, told: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning"):
            self.messages.append(" ".join(str(one.get("value", one.get("description"))) for one in told["args"]))
        elif method == "Runtime.exceptionThrown":
            self.messages.append(str(told["exceptionDetails"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.messages.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        elif method == "Page.loadEventFired":
            self.loaded = True

    def open(self, page: Path, size: tuple[int, int] = LAPTOP, dark: bool = False, script: bool = True) -> None:
        """Load a file in a window of `size` CSS pixels; returns when all of it is there."""
        width, height = size
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=size == PHONE
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setScriptExecutionDisabled", value=not script)
        self.loaded = False
        self.call("Page.navigate", url=page.resolve().as_uri())
        while not self.loaded:
            self._next("the loading of the page")

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page; waits for a promise."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def violations(self) -> list[dict[str, Any]]:
        """What axe-core finds against WCAG 2.1 A and AA that is serious or critical: rule, help and where."""
        self.run(axe())
        tags = "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']"
        found = self.run(
            f"axe.run(document, {{runOnly: {tags}, resultTypes: ['violations']}}).then(all => all.violations.map(one => "
            "({id: one.id, impact: one.impact, help: one.help, where: one.nodes.slice(0, 3).map(node => node.html.slice(0, 200))})))"
        )
        return [one for one in found if one["impact"] in ("serious", "critical")]

    def picture(self, path: Path, whole: bool = False) -> None:
        """Save what the window shows, or the whole page, as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]))
