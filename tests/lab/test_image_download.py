"""The lab's image is made of packages that Debian has signed, whoever serves them. All lab tests build on it."""

import http.server
import os
import threading
import urllib.request

import pytest

from lab import image
from lab.system import LabError

pytestmark = pytest.mark.lab
RELEASE = "http://deb.debian.org/debian/dists/bookworm/InRelease"


@pytest.fixture(scope="module")
def release():
    """Debian's own list of what belongs to the release, signed by Debian."""
    if os.geteuid() != 0:
        pytest.skip("builds an image: needs root")
    try:
        with urllib.request.urlopen(RELEASE, timeout=10) as answer:
            return answer.read()
    except OSError as problem:
        pytest.skip(f"no Debian mirror: {problem}")


@pytest.fixture
def between(monkeypatch, tmp_path):
    """Somebody who answers for every mirror: end of a path -> what it serves there."""
    served = {}

    class Proxy(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # the library's name
            found = next((data for end, data in served.items() if self.path.endswith(end)), None)
            self.send_response(200 if found is not None else 404)
            self.send_header("Content-Length", str(len(found or b"")))
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, *words):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        yield served
        server.shutdown()


def test_a_list_of_packages_that_debian_has_not_signed_so_builds_no_image(release, between):
    digest = release.index(b"SHA256:")
    between["/InRelease"] = release[:digest] + release[digest:].replace(b"a", b"b", 1)
    with pytest.raises(LabError, match="BADSIG"):
        image.ensure("debian-12")
    assert not image.path("debian-12").exists()


def test_packages_that_are_not_on_the_signed_list_build_no_image(release, between):
    between["/bookworm/InRelease"] = release
    between["/Packages.xz"] = between["/Packages.gz"] = between["/Packages"] = b"Package: tampered\n"
    with pytest.raises(LabError, match=r"Hash Sum mismatch|unexpected size"):
        image.ensure("debian-12")
    assert not image.path("debian-12").exists()
