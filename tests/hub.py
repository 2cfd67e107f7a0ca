"""A Hugging Face hub on loopback: it answers what `huggingface_hub` asks of one repository's files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def serving(files: Mapping[str, bytes], asked: list[str] | None = None) -> Iterator[str]:
    """The hub's address.

    Args:
        files: by `OWNER/NAME/FILE`; any other is not found.
        asked: notes each request, such as `GET OWNER/NAME/FILE`.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(sends=False)

        def do_GET(self) -> None:
            self._answer(sends=True)

        def _answer(self, sends: bool) -> None:
            name = self.path.lstrip("/").replace(f"/resolve/{COMMIT}/", "/").replace("/resolve/main/", "/")
            if asked is not None:
                asked.append(f"{self.command} {name}")
            content = files.get(name)
            self.send_response(404 if content is None else 200)
            if content is None:
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("Content-Length", "0")
            else:
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if sends and content is not None:
                self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
