import hashlib
import http.server
import threading

import pytest

from t2i_spatial.errors import InputError, T2ISpatialError
from t2i_spatial.prompts import fetch

CONTENT = b"a cat on the left of a dog\n"


@pytest.fixture
def server(monkeypatch, tmp_path):
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http_server:
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        monkeypatch.setenv("T2I_SPATIAL_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        http_server.asked = asked
        yield http_server
        http_server.shutdown()


def publish(monkeypatch, url, content=CONTENT):
    sha256 = hashlib.sha256(content).hexdigest()
    entry = fetch.PublicFile("https://example.org", "MIT", url, sha256)
    monkeypatch.setitem(fetch.PUBLIC, "set", entry)


def test_a_file_is_fetched_once_and_kept(server, monkeypatch, tmp_path):
    publish(monkeypatch, f"http://127.0.0.1:{server.server_port}/set.txt")
    path = fetch.fetch_prompts("set")
    assert path == tmp_path / "cache" / "prompts" / "set.txt"
    assert path.read_bytes() == CONTENT
    fetch.fetch_prompts("set")
    assert server.asked == ["/set.txt"]
    path.write_bytes(b"damaged")
    assert fetch.fetch_prompts("set").read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_other_bytes_are_not_kept(server, monkeypatch, tmp_path):
    publish(monkeypatch, f"http://127.0.0.1:{server.server_port}/set.txt", b"what was expected")
    with pytest.raises(T2ISpatialError, match="is not the file that was expected"):
        fetch.fetch_prompts("set")
    assert not (tmp_path / "cache").exists()


def test_the_proxy_of_the_environment_is_used(server, monkeypatch):
    publish(monkeypatch, "http://prompts.invalid/set.txt")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    assert fetch.fetch_prompts("set").read_bytes() == CONTENT
    assert server.asked == ["http://prompts.invalid/set.txt"]


def test_without_a_network_it_says_how_to_get_the_file(monkeypatch, tmp_path):
    monkeypatch.setenv("T2I_SPATIAL_CACHE", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    publish(monkeypatch, "http://127.0.0.1:9/set.txt")
    with pytest.raises(T2ISpatialError, match=r"cannot download set: .* on another machine"):
        fetch.fetch_prompts("set")


def test_files_without_a_free_licence_are_not_fetched():
    with pytest.raises(InputError, match=r"CC BY-NC.*get it from https"):
        fetch.fetch_prompts("geneval2")
    with pytest.raises(InputError, match="did you mean 'geneval'"):
        fetch.fetch_prompts("genevl")


def test_every_fetched_file_is_pinned():
    for entry in fetch.PUBLIC.values():
        assert (entry.url is None) == (entry.sha256 is None)
        assert entry.url is None or entry.url.startswith("https://")
