"""A server on loopback that answers as Kaggle does: metadata, a redirect to storage, ranges, refusals."""

import http.server
import json
import threading

OK = {
    "GetDatasetMetadata": {"info": {"licenses": [{"name": "CC0-1.0"}]}},
    "IntrospectToken": {"active": True, "username": "somebody"},
}


class KaggleStandIn(http.server.ThreadingHTTPServer):
    """Serves `archive`; `refusals` (status, Retry-After) are used up one a request, `cuts` (bytes) one a transfer.

    `storage_refusals` (status) meet the transfers after the first. The last refusal and the last cut stay when
    `stubborn`. `asked` lists each request as (name, Authorization or None, Range or None).
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Answer)
        self.archive, self.refusals, self.cuts, self.stubborn = b"", [], [], False
        self.storage_refusals: list[int] = []
        self.asked: list[tuple[str, str | None, str | None]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.asked]

    @property
    def ranges(self) -> list[str | None]:
        return [wanted for name, _, wanted in self.asked if name == "archive.zip"]

    def next_of(self, plan: list):
        if not plan:
            return None
        return plan[0] if self.stubborn and len(plan) == 1 else plan.pop(0)


class _Answer(http.server.BaseHTTPRequestHandler):
    server: KaggleStandIn

    def _note(self) -> str:
        name = self.path.rsplit("/", 1)[1]
        self.server.asked.append((name, self.headers.get("Authorization"), self.headers.get("Range")))
        return name

    def _send(self, status: int, body: bytes = b"", sent: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:sent])

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        name = self._note()
        if refusal := self.server.next_of(self.server.refusals):
            status, wait = refusal
            body = json.dumps({"code": status, "message": "refused by the stand-in"}).encode()
            wishes = {"Retry_After": wait} if wait else {}
            self._send(status, body, Content_Type="application/json", **wishes)
        elif name == "DownloadDataset":
            self._send(302, Location=f"{self.server.address}/storage/archive.zip", Content_Type="text/plain")
        else:
            self._send(200, json.dumps(OK[name]).encode(), Content_Type="application/json")

    def do_GET(self):
        self._note()
        if len(self.server.ranges) > 1 and (status := self.server.next_of(self.server.storage_refusals)):
            self._send(status, b"<html>come back later</html>", Content_Type="text/html")
            return
        whole, tag = self.server.archive, f'"{hash(self.server.archive)}"'
        start, wanted = 0, self.headers.get("Range")
        if wanted and self.headers.get("If-Range", tag) == tag:
            start = int(wanted.removeprefix("bytes=").split("-")[0])
        part = {"Content_Range": f"bytes {start}-{len(whole) - 1}/{len(whole)}"} if start else {}
        self._send(
            206 if start else 200, whole[start:], self.server.next_of(self.server.cuts), ETag=tag,
            Accept_Ranges="bytes", Content_Type="application/zip",
            Last_Modified="Tue, 21 May 2024 10:00:00 GMT", **part,
        )  # fmt: skip

    def log_message(self, *_):
        pass
