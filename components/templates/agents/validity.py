"""When a certificate ends: the one field of it that an agent needs, for Python brings no reader of certificates."""

import base64
import datetime
import pathlib

INTEGER, SEQUENCE, UTC_TIME, GENERALIZED_TIME, VERSION = 0x02, 0x30, 0x17, 0x18, 0xA0
PKI = pathlib.Path("/etc/vcubev/pki")
FILES = {"certificate": "certificate.pem", "authority": "ca.pem"}


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Return (tag, where its content begins, where it ends). X.690 section 8.1."""
    tag, length, at = der[at], der[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length, at = int.from_bytes(der[at : at + size], "big"), at + size
    return tag, at, at + length


def end_of(pem: str) -> int:
    """Return when the first certificate of a PEM file ends, in epoch seconds. RFC 5280 section 4.1.

    Raises:
        ValueError: There is none.
    """
    try:
        body = pem.split("-----BEGIN CERTIFICATE-----")[1].split("-----END CERTIFICATE-----")[0]
        der = base64.b64decode("".join(body.split()), validate=True)
        _, at, _ = _element(der, 0)
        _, at, _ = _element(der, at)  # what is signed
        tag, _, end = _element(der, at)
        # version, serial number, signature's kind, issuer
        for _ in range(3 + (tag == VERSION)):
            _, _, at = _element(der, at)
        tag, at, _ = _element(der, at)
        if tag != SEQUENCE:
            raise ValueError("no validity")
        _, _, at = _element(der, at)
        tag, begin, end = _element(der, at)
        text = der[begin:end].decode("ascii")
        # RFC 5280 section 4.1.2.5.1: two digits from 50 on are of the last century; Python says 69.
        if tag == UTC_TIME:
            text = f"{'19' if text >= '5' else '20'}{text}"
        elif tag != GENERALIZED_TIME:
            raise ValueError("no time")
        moment = datetime.datetime.strptime(text, "%Y%m%d%H%M%SZ")
        return int(moment.replace(tzinfo=datetime.UTC).timestamp())
    except (IndexError, UnicodeDecodeError) as problem:
        raise ValueError(f"no certificate: {problem}") from None


def ends(directory: pathlib.Path | None = None) -> dict[str, int]:
    """Return what this machine's certificate and authority end at; what cannot be read is left out."""
    found = {}
    for what, name in FILES.items():
        try:
            found[what] = end_of(((directory or PKI) / name).read_text())
        except (OSError, ValueError):
            continue
    return found
