"""Asks a DNS server, and reads what it answers (RFC 1035); runs by itself on a machine, too: SERVER NAME KIND [tcp]."""

import json
import socket
import struct
import sys

KINDS = {"A": 1, "AAAA": 28, "PTR": 12, "TXT": 16}
TRUNCATED, AUTHORITATIVE, ANSWER_CODE, WANTED = 0x200, 0x400, 0xF, 0x100
REFUSED, NO_SUCH_NAME = 5, 3


def question(name, kind):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">6H", 7, WANTED, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", KINDS[kind], 1)


def name_at(answer, at):
    """Return (name, where the next thing begins)."""
    labels, end = [], None
    while length := answer[at]:
        if length & 0xC0:
            end = end or at + 2
            at = (length & 0x3F) << 8 | answer[at + 1]
            continue
        labels.append(answer[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(labels), end or at + 1


def read(answer):
    """Return (code, truncated, [(name, ttl, value)])."""
    _, flags, questions, records, _, _ = struct.unpack_from(">6H", answer)
    at, found = 12, []
    for _ in range(questions):
        at = name_at(answer, at)[1] + 4
    for _ in range(records):
        name, at = name_at(answer, at)
        kind, _, ttl, length = struct.unpack_from(">HHIH", answer, at)
        at += 10
        value = answer[at : at + length]
        if kind in (KINDS["A"], KINDS["AAAA"]):
            value = socket.inet_ntop(socket.AF_INET if kind == KINDS["A"] else socket.AF_INET6, value)
        elif kind == KINDS["PTR"]:
            value = name_at(answer, at)[0]
        found.append((name, ttl, value))
        at += length
    return flags & ANSWER_CODE, bool(flags & TRUNCATED), found


def ask(server, name, kind="A", by_tcp=False, seconds=2.0):
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if by_tcp else socket.SOCK_DGRAM) as talk:
        talk.settimeout(seconds)
        talk.connect((server, 53))
        text = question(name, kind)
        if not by_tcp:
            talk.send(text)
            return read(talk.recv(65535))
        talk.sendall(struct.pack(">H", len(text)) + text)
        with talk.makefile("rb") as stream:
            return read(stream.read(struct.unpack(">H", stream.read(2))[0]))


if __name__ == "__main__":
    print(json.dumps(ask(*sys.argv[1:4], by_tcp="tcp" in sys.argv[4:])))
