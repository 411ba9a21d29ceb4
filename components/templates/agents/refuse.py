#!/usr/bin/python3 -I
"""Takes over the list of revoked certificates, and ends the live sessions of those who are on it. Runs as root.

refuse.py          the list is new: take it over, then end sessions
refuse.py prepare  a daemon is about to start: see that there is a list

Daemons read a checked copy on a tmpfs. OpenVPN 2.6 goes on with the list it has when the file is gone; but it does not
start without one, and takes nobody in with one that it cannot read. So a list that is damaged is passed over, aloud,
for the last good one. Where there is none either, no daemon starts: those who were refused must not come back in.
"""

import json
import os
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import time

INSTALLED = pathlib.Path("/etc/vcubev/crl")
LAST_GOOD = pathlib.Path("/var/lib/vcubev/crl")
USED = pathlib.Path("/run/vcubev-crl")
RUN = pathlib.Path("/run")
# One client at a time is served; whoever has the socket now goes soon.
MANAGEMENT_TRIES, MANAGEMENT_SECONDS = 5, 1
SAFE_NAME = re.compile(r"[A-Za-z0-9.-]+")


def say(text):
    print(text, file=sys.stderr, flush=True)


def checked(place):
    """Return a list as (PEM, what it says); an exception tells what is wrong with it."""
    pem, told = (place / "crl.pem").read_text(), json.loads((place / "crl.json").read_text())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=str(place / "crl.pem"))
    found = context.cert_store_stats()["crl"]
    if found != told["lists"]:
        raise ValueError(f"{found} lists instead of {told['lists']}")
    return pem, told


def write(path, content):
    """Put a file in its place at once; one that is right already keeps its time, by which OpenVPN knows it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Each unit that starts has this run, and some let nobody else read what they make: whichever comes first after a
    # boot must not shut the others out.
    path.parent.chmod(0o755)
    if path.exists() and path.read_text() == content:
        return
    descriptor, draft = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
            os.fchmod(descriptor, 0o644)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise


def take_over():
    """Give daemons the newest list that is whole; return what it says, None if there is none."""
    for place in (INSTALLED, LAST_GOOD):
        try:
            pem, told = checked(place)
        except (OSError, ValueError, KeyError, TypeError) as problem:
            say(f"the revocation list in {place} is of no use: {problem}")
            continue
        # First what client-connect reads: a session that it lets in now is found by whoever looks for it after this.
        write(USED / "refused", "".join(f"{who}\n" for who in [*told["serials"], *told["names"]]))
        write(USED / "crl.pem", pem)
        if place == INSTALLED:
            try:
                write(LAST_GOOD / "crl.pem", pem)
                write(LAST_GOOD / "crl.json", json.dumps(told))
            except OSError as problem:
                say(f"no copy of the revocation list could be kept: {problem}")
        if told["ends"]["revocation_list"] < time.time():
            say("THE REVOCATION LIST HAS ENDED, and with it the authority: nobody is let in. Run scripts/rotate ca.")
        return told
    return None


class Daemon:
    """The management socket of one daemon that takes hosts in."""

    def __init__(self, directory):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(MANAGEMENT_SECONDS)
        self.socket.connect(str(directory / "management.sock"))

    def ask(self, command, end):
        """Return its answer, up to the line that matches `end`."""
        self.socket.sendall(f"{command}\n".encode())
        answer = ""
        while not re.search(end, answer, re.MULTILINE):
            part = self.socket.recv(65536).decode(errors="replace")
            if not part:
                raise ConnectionError("it went")
            answer += part
        return answer

    def sessions(self):
        """Return (common name, address) of the hosts that have a session."""
        fields = [line.split("\t") for line in self.ask("status 3", r"^END\r?$").splitlines()]
        return [(line[1], line[3]) for line in fields if line[0] == "CLIENT_LIST"]

    def end(self, name):
        answer = self.ask(f"kill {name}", r"^(SUCCESS|ERROR): .*\n")
        return re.search(r"^(?:SUCCESS|ERROR): .*$", answer, re.MULTILINE)[0].strip()


def is_refused(directory, name, address, told):
    """Tell whether a session must end. A host that was revoked once may be here with a certificate that is good."""
    revoked = {one["name"] for one in told["serials"].values()}
    if name in told["names"] or name not in revoked:
        return name in told["names"]
    try:
        serial, owner = (directory / f"{address}.serial").read_text().split()
    except (OSError, ValueError):
        return True
    return owner != name or serial in told["serials"]


def end_sessions(directory, told):
    """End the sessions at one daemon that are up with a certificate that is revoked."""
    for left in reversed(range(MANAGEMENT_TRIES)):
        try:
            daemon = Daemon(directory)
            for name, address in daemon.sessions():
                if is_refused(directory, name, address, told) and SAFE_NAME.fullmatch(name):
                    print(f"{directory.name}: {daemon.end(name)}", flush=True)
            daemon.socket.close()
            return
        except OSError as problem:
            say(f"{directory.name}: {problem}")
        if left:
            time.sleep(0.1)


def end_links(told):
    """Let links shake hands anew whose peer's certificate is revoked."""
    for file in sorted(RUN.glob("vcubev-link*/serial")):
        serial = file.read_text().strip() if file.exists() else ""
        if told["serials"].get(serial, {}).get("hub"):
            # It comes back when the peer has another certificate.
            peer = file.parent.name.removeprefix("vcubev-link")
            subprocess.run(["systemctl", "try-restart", "--no-block", f"vcubev-link@{peer}.service"], check=False)
            print(f"link to hub {peer}: restarted", flush=True)


def main():
    told = take_over()
    if told is None:
        say("THERE IS NO REVOCATION LIST. Run `up`: it brings one.")
        return 1
    if sys.argv[1:] != ["prepare"]:
        for directory in sorted(RUN.glob("vcubev-hosts-*")):
            end_sessions(directory, told)
        end_links(told)
    return 0


if __name__ == "__main__":
    sys.exit(main())
