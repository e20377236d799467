"""`kaggle datasets download` as a process of its own, with the reason where it fails.

The client lets nobody in without credentials but its own command line, and that prints only the text of an
error. Run as a program, this file is that command line; it also tells the HTTP status and how long Kaggle asks
to wait. Within one run the client goes on by itself where the connection breaks (five times, with pauses of 2
to 32 s and a Range request), and in the next run where it finds its partial file and a note of what that
belongs to. It does not try again where the first answer is an error (client 2.2.4).
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
    """What went wrong: `status` of HTTP, `wait` in seconds as Kaggle asks, `errno` of the system; None = none."""

    def __init__(self, text: str, status: int | None = None, wait: float | None = None, errno: int | None = None):
        super().__init__(text)
        self.status, self.wait, self.errno = status, wait, errno


def download(slug: str, folder: Path, seconds: float) -> tuple[Path, list[str]]:
    """Download a data set's archive into `folder`, going on with a partial one; its path and what was printed.

    Raises KaggleError where Kaggle refuses, the connection stays broken, the disk is full, or `seconds` pass.
    """
    command = [sys.executable, "-P", __file__, "datasets", "download", slug, "-p", str(folder), "--quiet"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise KaggleError(f"kaggle datasets download {slug} was not done in {seconds:.0f} s") from None
    said = [line for line in (done.stdout + "\n" + done.stderr).splitlines() if line.strip()]
    archives = sorted(folder.glob("*.zip"))
    if done.returncode == 0 and len(archives) == 1:
        return archives[0], said
    reasons = [json.loads(line.removeprefix(MARK)) for line in said if line.startswith(MARK)]
    if not reasons:
        shown = "\n  ".join(said[-6:]) or "no message"
        raise KaggleError(f"kaggle datasets download {slug} ended with code {done.returncode}:\n  {shown}")
    reason = reasons[0]
    text = f"{reason['kind']}: {reason['text']}"
    if reason["kind"] == "ValueError":
        # The client may have stored an error page in place of bytes, and would go on behind it the next time.
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
    """Seconds that a Retry-After header asks for, as a number or a date (RFC 9110, 10.2.3); None = no such wish."""
    text = (retry_after or "").strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - now).total_seconds())
    except (TypeError, ValueError):
        return None


def credentials() -> list[str]:
    """Variables and files from which the client takes credentials on this machine, in the order of its search."""
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
    if places := credentials():
        return (
            f"The credentials come from {' and '.join(places)}. A public set needs none: unset the variable or "
            "move the file away, or put right ones there, and run again"
        )
    return "No credentials were found and this set seems to need them: `kaggle auth login` makes some"


def _main() -> None:
    # The client reads its own name and command here, when it is imported, to see whether nobody may come in.
    sys.argv[0] = "kaggle"
    from kaggle import api, cli

    api.dataset_download_cli = _telling(api.dataset_download_cli)
    _telling(cli.main)()


def _telling(command: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(command)
    def told(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except (OSError, ValueError) as error:
            answer = getattr(error, "response", None)
            reason = {"kind": type(error).__name__, "text": str(error), "errno": getattr(error, "errno", None)}
            reason["status"] = None if answer is None else answer.status_code
            reason["retry_after"] = None if answer is None else answer.headers.get("Retry-After")
            print(MARK + json.dumps(reason), file=sys.stderr)
            raise

    return told


if __name__ == "__main__":
    _main()
