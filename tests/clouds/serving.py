"""An emulated cloud as a process: its HTTP server, what tests order of it, and how they start it."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from tests.clouds.bridge import Bridge
from tests.clouds.faults import Fault, Faults

ROOT = Path(__file__).parents[2]
# The machines of a cloud that ends are taken away one by one.
END_SECONDS = 120


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        if os.environ.get("VCUBEV_CLOUD_LOG"):
            super().log_request(code, size)


def serve(make: Callable[[tuple[str, str] | None], Any]) -> None:
    """Serve one cloud until the process that started it lets go of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--stack", help="PROJECT.STACK of the lab in which machines boot")
    asked = parser.parse_args().stack
    cloud = make(tuple(asked.split(".", 1)) if asked else None)
    server = make_server("127.0.0.1", 0, cloud, threaded=True, request_handler=Quiet)
    if cloud.bridge:
        cloud.bridge.start()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"url": f"http://127.0.0.1:{server.server_port}"}), flush=True)
    sys.stdin.read()
    server.shutdown()
    if cloud.bridge:
        cloud.bridge.stop()


class Cloud(Protocol):
    """What an emulated cloud's application has, beside being one."""

    faults: Faults
    bridge: Bridge | None

    def things(self) -> dict[str, list[str]]: ...


def control(request: Request, cloud: Cloud) -> Response:
    """Answer what only tests ask."""
    if request.path == "/_cloud/faults" and request.method == "POST":
        cloud.faults.order(Fault(**json.loads(request.get_data())))
        return Response("{}", content_type="application/json")
    if request.path == "/_cloud/faults" and request.method == "DELETE":
        cloud.faults.clear()
        if cloud.bridge:
            cloud.bridge.held_back.clear()
        return Response("{}", content_type="application/json")
    known = {"/_cloud/things": cloud.things, "/_cloud/calls": lambda: cloud.faults.calls}
    if answer := known.get(request.path):
        return Response(json.dumps(answer()), content_type="application/json")
    return Response("{}", 404, content_type="application/json")


class CloudProcess:
    """One emulated cloud in a process of its own."""

    def __init__(self, module: str, stack: str | None, log: Path) -> None:
        command = [sys.executable, "-m", module, *(["--stack", stack] if stack else [])]
        with log.open("a") as errors:
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        started = time.monotonic()
        line = self._process.stdout.readline()
        assert line, f"{module} did not start in {time.monotonic() - started:.0f} s: {log.read_text()[-2000:]}"
        self.url = json.loads(line)["url"]

    def order(self, fault: Fault) -> None:
        self._call("/_cloud/faults", "POST", asdict(fault))

    def forget_faults(self) -> None:
        """Take all orders back; machines that were to boot later do so now."""
        self._call("/_cloud/faults", "DELETE")

    def things(self) -> dict[str, list[str]]:
        return self._call("/_cloud/things")

    def calls(self) -> dict[str, int]:
        return self._call("/_cloud/calls")

    def stop(self) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise

    def _call(self, path: str, method: str = "GET", body: Any = None) -> Any:
        content = json.dumps(body).encode() if body is not None else None
        with urllib.request.urlopen(urllib.request.Request(self.url + path, content, method=method), timeout=30) as got:
            return json.loads(got.read())
