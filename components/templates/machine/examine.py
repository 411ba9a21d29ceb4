"""Tells how this machine is, for `vcubev doctor` to judge. Changes nothing; runs as root, comes by stdin.

Prints facts as JSON, no opinion and no secret. What cannot be told is left out.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import socket
import struct
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

PLACES = ("/", "/etc", "/var", "/var/lib", "/var/lib/vcubev", "/var/log", "/tmp", "/var/tmp", "/run")
PUBLIC_PEM = {
    "certificate": "/etc/vcubev/pki/certificate.pem",
    "authority": "/etc/vcubev/pki/ca.pem",
    "revocation list": "/etc/vcubev/crl/crl.pem",
    "revocation list in force": "/run/vcubev-crl/crl.pem",
}
STATES = ("/run/vcubev-hub/state.json", "/run/vcubev-paths/state.json")
PACKAGES = ("openvpn", "bird2", "nftables", "python3")
CODE = "/usr/local/lib/vcubev"
BUNDLES = pathlib.Path("/var/lib/vcubev/bundles")
HEADERS_BYTES, SMALL_BYTES = 28, 84  # IPv4 and ICMP; what ping sends
TRIES, ECHO_SECONDS = 3, 0.5
# linux/in.h; Python's socket has no names for them.
IP_MTU_DISCOVER, IP_PMTUDISC_PROBE = 10, 3
# Tried where a full packet does not pass: what PPPoE, tunnels and the internet's least leave.
SIZES = (1440, 1420, 1400, 1380, 1350, 1320, 1280, 1200, 1000, 576)
NAME = "deb.debian.org"
ANSWER_SECONDS = 3
RCODES = {2: "answers that it cannot (SERVFAIL)", 5: "refuses to answer (REFUSED)"}
# State, since when (as bird.conf has it: a date and a time of day), what more there is to say.
PROTOCOL = re.compile(r"^link(\d+)\s+BGP\s+\S+\s+(\S+)\s+[\d-]+ [\d:.]+ *(.*)$", re.MULTILINE)


def printed(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def read(path):
    try:
        return pathlib.Path(path).read_text()
    except (OSError, ValueError):
        return None


def pem():
    """Return what is in public files; a copy that is like its original is left out."""
    found = {}
    for what, file in PUBLIC_PEM.items():
        if (text := read(file)) and text not in found.values():
            found[what] = text
    return found


def disks():
    found = {}
    for place in PLACES:
        try:
            disk, known = os.statvfs(place), os.stat(place)
        except OSError:
            continue
        found.setdefault(
            known.st_dev,
            {
                "place": place,
                "free_bytes": disk.f_bavail * disk.f_frsize,
                "size_bytes": disk.f_blocks * disk.f_frsize,
                "free_inodes": disk.f_favail,
                "inodes": disk.f_files,
                "read_only": bool(disk.f_flag & os.ST_RDONLY),
            },
        )
    return list(found.values())


def routes():
    """Return routes of both families and all tables, those of the machine's own addresses left out."""
    found = []
    for family in ("-4", "-6"):
        for route in json.loads(printed("ip", family, "-j", "route", "show", "table", "all") or "[]"):
            if route.get("type", "unicast") == "unicast" and route.get("dev") != "lo":
                found.append({key: str(route.get(key, "")) for key in ("dst", "dev", "gateway", "protocol", "table")})
    return found


def addresses():
    """Return "10.0.0.1/24" with its device, for each address."""
    found = []
    for device in json.loads(printed("ip", "-j", "address", "show") or "[]"):
        for one in device.get("addr_info", ()):
            if "local" in one:
                found.append({"dev": device["ifname"], "address": f"{one['local']}/{one['prefixlen']}"})
    return found


def echoes(target, sizes):
    """Return which of these sizes of packets, in bytes, a target answers, with no router cutting them up.

    Not by ping: Debian 12's goes by what the kernel has learned of the path in the last ten minutes.
    """
    came, own = set(), os.getpid() & 0xFFFF
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
        raw.connect((target, 0))
        for _ in range(TRIES):
            for size in set(sizes) - came:
                with contextlib.suppress(OSError):  # too long for the machine's own device
                    raw.send(echo_request(own, size))
            until = time.monotonic() + ECHO_SECONDS
            while came != set(sizes) and (left := until - time.monotonic()) > 0:
                raw.settimeout(left)
                with contextlib.suppress(OSError, struct.error, IndexError):
                    came |= answered(raw.recv(65535), own, sizes)
    return came


def answered(packet, own, sizes):
    """Return the sizes of echo requests that a packet answers.

    A hub that drains or is not fit answers that it is "administratively prohibited", and not each time: it is there,
    and no more can be said.
    """
    kind, code, _, whose, size = struct.unpack_from("!BBHHH", packet, (packet[0] & 15) * 4)
    if (kind, code) == (3, 13):
        return set(sizes)
    return {size} if (kind, whose) == (0, own) else set()


def echo_request(own, total_bytes):
    """Return an ICMP echo request, which carries its packet's size as its sequence number."""
    rest = bytes(total_bytes - HEADERS_BYTES)
    total = 0x0800 + own + total_bytes
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!BBHHH", 8, 0, ~total & 0xFFFF, own, total_bytes) + rest


def path(target, full_bytes):
    """Return whether a target answers, and how large a packet it gets: up to `full_bytes`."""
    try:
        came = echoes(target, (SMALL_BYTES, full_bytes))
        if came == {SMALL_BYTES}:
            came |= echoes(target, [size for size in SIZES if size < full_bytes])
    except OSError:  # no route
        came = set()
    return {"answers": bool(came), "mtu_bytes": max(came, default=None)}


def paths(question):
    """Look at the way to each of the hubs."""
    with ThreadPoolExecutor(32) as pool:
        tries = {name: pool.submit(path, to, question["full_bytes"]) for name, to in question["hubs"].items()}
        return {name: tried.result() for name, tried in tries.items()}


def resolvers():
    """Return each configured name server with "" if it answers, else what it does instead."""
    text = read("/etc/resolv.conf") or ""
    servers = [line.split()[1] for line in text.splitlines() if line.startswith("nameserver") and len(line.split()) > 1]
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(servers, pool.map(resolver, servers), strict=True))


def resolver(server):
    words = b"".join(bytes([len(part)]) + part.encode() for part in NAME.split("."))
    asked = struct.pack("!HHHHHH", os.getpid() & 0xFFFF, 0x0100, 1, 0, 0, 0) + words + b"\0" + struct.pack("!HH", 1, 1)
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            sender.settimeout(ANSWER_SECONDS)
            sender.connect((server.partition("%")[0], 53))
            sender.send(asked)
            answer = sender.recv(4096)
    except TimeoutError:
        return "does not answer"
    except ConnectionRefusedError:
        return "is not there: nothing listens"
    except OSError as problem:
        return f"cannot be asked: {problem.strerror}"
    return RCODES.get(answer[3] & 15, "") if len(answer) > 3 else "answers nonsense"


def versions():
    shown = printed("dpkg-query", "-W", "-f", "${Package} ${Version} ${db:Status-Status}\n", *PACKAGES)
    return {line.split()[0]: line.split()[1] for line in shown.splitlines() if line.endswith(" installed")}


def code():
    """Return file name -> hash of what the stack has brought to run."""
    files = sorted(file for file in pathlib.Path(CODE).glob("*") if file.is_file())
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def bundles():
    """Return bundle -> since when its installation is broken off; None where it is whole."""
    found = {file.stem: None for file in BUNDLES.glob("*.json")}
    return found | {file.stem: file.stat().st_mtime for file in BUNDLES.glob("*.unfinished")}


def doors():
    """Return systemd's word for each OpenVPN process that takes hosts in: "running" if it does."""
    shown = printed("systemctl", "show", "--all", "--property=Id,SubState", "vcubev-hosts@*")
    units = (dict(line.split("=", 1) for line in unit.splitlines()) for unit in shown.strip().split("\n\n") if unit)
    return {unit["Id"].removesuffix(".service"): unit["SubState"] for unit in units}


def by_tcp_since():
    """Return when the host's agent last took to TCP, as it logged it."""
    lines = printed("journalctl", "-u", "vcubev-paths", "-o", "short-unix", "-n", "400", "--no-pager").splitlines()
    moments = [line.split()[0] for line in lines if line.endswith(" by tcp")]
    return float(moments[-1]) if moments else None


def main(question):
    states = [json.loads(text) for text in map(read, STATES) if text]
    facts = {
        "disks": disks(),
        "pem": pem(),
        "routes": routes(),
        "addresses": addresses(),
        "agent": states[0] if states else None,
        "sessions": {
            number: [state, more.strip()]
            for number, state, more in PROTOCOL.findall(printed("birdc", "show", "protocols"))
        },
        "paths": paths(question),
        "resolvers": resolvers(),
        "versions": versions(),
        "code": code(),
        "bundles": bundles(),
        "by_tcp_since": by_tcp_since(),
        "doors": doors(),
    }
    facts["time"] = time.time()  # last: it is on its way at once
    print(json.dumps(facts), flush=True)
