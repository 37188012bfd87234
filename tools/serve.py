"""A static server for the site and for the test pages: right MIME types, byte ranges, and the
headers that isolate a page, so that it may have threads. Standard library only.

    python tools/serve.py [--port 8000] [--not-isolated] [FOLDER]
"""

from __future__ import annotations

import argparse
import mimetypes
import re
import shutil
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from project import SITE, Failure, main

# The system's own table may miss or misname these, and a browser refuses a module or a
# streamed WebAssembly file of the wrong type.
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".py": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".wgsl": "text/plain; charset=utf-8",
    ".whl": "application/zip",
}
ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


# In an isolated page JupyterLite's kernel forgets cells that are run before it is up.
NEVER_ISOLATED = "/lite/"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"  # keep-alive: a page load is some thirty requests

    def do_GET(self) -> None:
        url = unquote(urlsplit(self.path).path)
        if url in self.server.pages:
            return self.answer(url, self.server.pages[url])
        path = self.server.find(url)
        if path is None:
            return self.answer(".txt", b"not found\n", HTTPStatus.NOT_FOUND)
        self.send_file(path)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.on_post is None:
            return self.answer(".txt", b"", HTTPStatus.METHOD_NOT_ALLOWED)
        self.server.on_post(body)
        self.answer(".txt", b"")

    def answer(self, name: str, body: bytes, status: int = HTTPStatus.OK) -> None:
        self.begin(status, name, len(body))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def begin(self, status: int, name: str, length: int) -> None:
        suffix = Path(name).suffix
        kind = TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.send_header("Cache-Control", "no-cache")
        if not self.path.startswith(NEVER_ISOLATED):
            for header, value in self.server.headers.items():
                self.send_header(header, value)

    def send_file(self, path: Path) -> None:
        size = path.stat().st_size
        start, stop = 0, size
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, stop = int(wanted[1]), min(int(wanted[2] or size) + 1, size)
            if start >= size:
                return self.answer(".txt", b"", HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
        self.begin(HTTPStatus.PARTIAL_CONTENT if wanted else HTTPStatus.OK, path.name, stop - start)
        self.send_header("Accept-Ranges", "bytes")
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.end_headers()
        if self.command == "HEAD":
            return
        with path.open("rb") as file:
            file.seek(start)
            if wanted:
                self.wfile.write(file.read(stop - start))
            else:
                shutil.copyfileobj(file, self.wfile, 1 << 20)

    def log_message(self, format: str, *args: object) -> None:
        if self.server.verbose:
            super().log_message(format, *args)


class Server(ThreadingHTTPServer):
    """Serves ``folders`` (URL prefix → folder, longest prefix first) and ``pages`` (URL → bytes);
    ``on_post`` gets the body of every POST."""

    daemon_threads = True

    def __init__(
        self,
        folders: Mapping[str, Path],
        pages: Mapping[str, bytes] | None = None,
        on_post: Callable[[bytes], None] | None = None,
        isolated: bool = False,
        port: int = 0,
        verbose: bool = False,
    ) -> None:
        self.folders = sorted(folders.items(), key=lambda item: -len(item[0]))
        self.pages = dict(pages or {})
        self.on_post = on_post
        self.headers = ISOLATION if isolated else {}
        self.verbose = verbose
        super().__init__(("127.0.0.1", port), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def find(self, url: str) -> Path | None:
        for prefix, folder in self.folders:
            if url.startswith(prefix):
                path = (folder / url[len(prefix) :].lstrip("/")).resolve()
                path = path / "index.html" if path.is_dir() else path
                if path.is_file() and path.is_relative_to(folder.resolve()):
                    return path
        return None

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a browser that closes a connection early is no event

    def __enter__(self) -> Server:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.shutdown()
        self.server_close()


def serve() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=SITE)
    parser.add_argument("--port", type=int, default=8000, help="0 takes any free port")
    parser.add_argument("--not-isolated", action="store_true", help="no COOP and COEP headers")
    parser.add_argument("--quiet", action="store_true", help="do not log requests")
    options = parser.parse_args()
    if not options.folder.is_dir():
        raise Failure(f"no folder {options.folder}; `make site` builds the site")
    server = Server(
        {"/": options.folder},
        isolated=not options.not_isolated,
        port=options.port,
        verbose=not options.quiet,
    )
    print(f"serving {options.folder} at {server.url}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(serve)
