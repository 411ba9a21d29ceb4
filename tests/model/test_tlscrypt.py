"""Keys of the control channel. That real daemons take them is seen in tests/daemons and tests/lab."""

import base64
import hmac
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from components.model import tlscrypt


def body(pem):
    return base64.b64decode("".join(pem.splitlines()[1:-1]))


def test_the_same_secrets_give_the_same_keys_so_a_rebuilt_hub_takes_up_its_hosts():
    assert tlscrypt.v2_server_key("mesh") == tlscrypt.v2_server_key("mesh")
    assert tlscrypt.v2_client_key("mesh", "host") == tlscrypt.v2_client_key("mesh", "host")
    assert tlscrypt.static_key("mesh", "links") == tlscrypt.static_key("mesh", "links")


def test_no_two_purposes_or_hosts_share_a_byte_of_key():
    mesh = [tlscrypt.static_key("mesh", purpose) for purpose in ("links", "other")]
    assert mesh[0] != mesh[1]
    hosts = [body(tlscrypt.v2_client_key("mesh", host))[: tlscrypt.STATIC_KEY_BYTES] for host in ("one", "two")]
    assert hosts[0] != hosts[1]
    assert body(tlscrypt.v2_server_key("mesh")) not in body(tlscrypt.v2_client_key("mesh", "one"))


def test_a_hub_can_unwrap_a_hosts_key_as_the_protocol_says():
    """OpenVPN doc/tls-crypt-v2.txt: T = HMAC(Ka, len || Kc || m); WKc = T || AES-256-CTR(Ke, T, Kc || m) || len."""
    server = body(tlscrypt.v2_server_key("mesh"))
    whole = body(tlscrypt.v2_client_key("mesh", "host"))
    client, wrapped = whole[: tlscrypt.STATIC_KEY_BYTES], whole[tlscrypt.STATIC_KEY_BYTES :]
    assert struct.unpack("!H", wrapped[-2:])[0] == len(wrapped)
    tag, sealed = wrapped[:32], wrapped[32:-2]
    opened = Cipher(algorithms.AES(server[:32]), modes.CTR(tag[:16])).decryptor().update(sealed)
    assert opened == client + tlscrypt.METADATA
    assert hmac.digest(server[64:96], wrapped[-2:] + opened, "sha256") == tag


def test_a_stacks_keys_never_change_with_the_program():
    assert tlscrypt.static_key("mesh", "links").splitlines()[1] == "553df3f4e89e1cf2a9e18dc9fef5ca40"
    assert (
        tlscrypt.v2_server_key("mesh").splitlines()[1]
        == "jQmoMblpNcSHphOWc2HA5fljjTC7YZCrUVtzyr4r94sWupbRV4qCnOHYBN91gB+K"
    )
