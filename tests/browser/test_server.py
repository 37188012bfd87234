"""The server sends what browsers insist on."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import pytest
from serve import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder = tmp_path_factory.mktemp("files")
    for name in ("a.wasm", "b.mjs", "c.html", "weights.safetensors"):
        (folder / name).write_bytes(bytes(range(100)))
    with Server({"/": folder, "/lite/": folder}, isolated=True) as server:
        yield server


def get(server: Server, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    request = urllib.request.Request(server.url + path, headers=headers)
    with urllib.request.urlopen(request) as answer:
        return answer.status, dict(answer.headers), answer.read()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.wasm", "application/wasm"),
        ("b.mjs", "text/javascript; charset=utf-8"),
        ("c.html", "text/html; charset=utf-8"),
        ("weights.safetensors", "application/octet-stream"),
    ],
)
def test_types(server: Server, name: str, kind: str) -> None:
    assert get(server, name)[1]["Content-Type"] == kind


def test_isolation_headers(server: Server) -> None:
    headers = get(server, "c.html")[1]
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert "Cross-Origin-Embedder-Policy" not in get(server, "lite/c.html")[1]


@pytest.mark.parametrize(
    ("wanted", "got", "described"),
    [
        ("bytes=10-19", bytes(range(10, 20)), "bytes 10-19/100"),
        ("bytes=90-", bytes(range(90, 100)), "bytes 90-99/100"),
        ("bytes=90-200", bytes(range(90, 100)), "bytes 90-99/100"),
    ],
)
def test_ranges(server: Server, wanted: str, got: bytes, described: str) -> None:
    status, headers, body = get(server, "weights.safetensors", Range=wanted)
    assert (status, body, headers["Content-Range"]) == (206, got, described)


@pytest.mark.parametrize(
    ("path", "range_", "status"),
    [("missing", "", 404), ("../conftest.py", "", 404), ("a.wasm", "bytes=100-", 416)],
)
def test_refusals(server: Server, path: str, range_: str, status: int) -> None:
    with pytest.raises(urllib.error.HTTPError) as error:
        get(server, path, **({"Range": range_} if range_ else {}))
    with error.value as answer:
        assert answer.code == status


def test_files_outside_are_not_served(server: Server, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    folder = next(folder for _, folder in server.folders)
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(urllib.error.HTTPError) as error:
        get(server, "link.txt")
    error.value.close()
