"""`kaggle datasets download` as a process of its own, with the reason where it fails.

Without credentials the client works only as a command line, which prints no more than an error's text. Run as a
program, this file is that command line, and also reports the HTTP status and the wait that Kaggle asks for. The
client resumes a broken connection by itself (five times, after 2 to 32 s, with a Range request), and a later run
resumes its partial file. It does not retry where the first response is an error (client 2.2.4).
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

MARK = "osteo-kaggle-error: "


class KaggleError(RuntimeError):
    """A failed download: HTTP `status`, `wait` in seconds that Kaggle asks for, `errno` of the system; None = none."""

    def __init__(self, text: str, status: int | None = None, wait: float | None = None, errno: int | None = None):
        super().__init__(text)
        self.status, self.wait, self.errno = status, wait, errno


def download(slug: str, folder: Path, seconds: float) -> tuple[Path, list[str]]:
    """Download a data set's archive into `folder`, or resume a partial one; returns its path and the printed lines.

    Raises KaggleError where Kaggle refuses, the connection fails, the disk is full, or `seconds` pass.
    """
    command = [sys.executable, "-P", __file__, "datasets", "download", slug, "-p", str(folder), "--quiet"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise KaggleError(f"kaggle datasets download {slug} was not done in {seconds:.0f} s") from None
    output = [line for line in (done.stdout + "\n" + done.stderr).splitlines() if line.strip()]
    archives = sorted(folder.glob("*.zip"))
    if done.returncode == 0 and len(archives) == 1:
        return archives[0], output
    reasons = [json.loads(line.removeprefix(MARK)) for line in output if line.startswith(MARK)]
    if not reasons:
        shown = "\n  ".join(output[-6:]) or "no message"
        raise KaggleError(f"kaggle datasets download {slug} ended with code {done.returncode}:\n  {shown}")
    reason = reasons[0]
    text = f"{reason['kind']}: {reason['text']}"
    if reason["kind"] == "ValueError":
        # The client may have saved an error page as the archive, and would append to it next time.
        for path in (*archives, *folder.glob("*.kaggle-partial")):
            path.unlink()
    wait = seconds_to_wait(reason["retry_after"], datetime.now(UTC))
    if reason["status"] == 401:
        text = f"Kaggle answers 401, not authorised ({text}). {_about_credentials()}"
    elif reason["status"] == 429:
        text = f"Kaggle is busy (429, {text}); run again {'later' if wait is None else f'in {wait:.0f} s'}"
    elif reason["status"]:
        text = f"Kaggle answers {reason['status']} ({text})"
    elif reason["errno"] is None and reason["kind"] != "ValueError":
        text = f"the connection to Kaggle failed ({text})"
    raise KaggleError(text, reason["status"], wait, reason["errno"])


def seconds_to_wait(retry_after: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header (a number or a date, RFC 9110, 10.2.3) asks for; None without one."""
    text = (retry_after or "").strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - now).total_seconds())
    except (TypeError, ValueError):
        return None


def credentials() -> list[str]:
    """Variables and files on this machine from which the client takes credentials, in its order of search."""
    home = Path.home() / ".kaggle"
    other = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "kaggle"
    own = Path(os.environ.get("KAGGLE_CONFIG_DIR") or (home if home.exists() else other))
    places: list[str | Path] = ["KAGGLE_API_TOKEN", home / "access_token", home / "access_token.txt"]
    places += ["KAGGLE_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", own / "kaggle.json", home / "kaggle.json"]
    return [
        str(place) if isinstance(place, Path) else f"the variable {place}"
        for place in dict.fromkeys([*places, home / "credentials.json"])
        if (place.is_file() if isinstance(place, Path) else os.environ.get(place))
    ]


def _about_credentials() -> str:
    if places := " and ".join(credentials()):
        return f"The credentials come from {places}. A public set needs none: remove or correct them, and run again"
    return "No credentials were found and this set seems to need them: `kaggle auth login` makes some"


def _main() -> None:
    # On import the client reads its name and command from here, to decide whether it needs credentials.
    sys.argv[0] = "kaggle"
    from kaggle import api, cli

    api.dataset_download_cli = _reporting(api.dataset_download_cli)
    _reporting(cli.main)()


def _reporting(command: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(command)
    def reported(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except (OSError, ValueError) as error:
            answer = getattr(error, "response", None)
            reason = {"kind": type(error).__name__, "text": str(error), "errno": getattr(error, "errno", None)}
            reason["status"] = None if answer is None else answer.status_code
            reason["retry_after"] = None if answer is None else answer.headers.get("Retry-After")
            print(MARK + json.dumps(reason), file=sys.stderr)
            raise

    return reported


if __name__ == "__main__":
    _main()
