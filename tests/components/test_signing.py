"""Who can have a certificate: whom the program makes a key for. No machine can ask for one."""

from tests.components import certificates
from tests.components.declared import declare, digest_of, lab_values

SIGNED = "tls:index/locallySignedCert:LocallySignedCert"
REQUEST = "tls:index/certRequest:CertRequest"
KEY = "tls:index/privateKey:PrivateKey"
COMMAND = "command:remote:Command"


def test_the_authority_signs_requests_of_the_programs_own_keys_only():
    """pulumi-tls copies subject and addresses of a request as they stand and checks no signature of it."""
    made = declare(lab_values())
    keys = {certificates.key(name, digest_of(KEY, name))["privateKeyPem"] for name in made.of_type(KEY)}
    requests = made.of_type(REQUEST)
    assert {request["privateKeyPem"] for request in requests.values()} <= keys
    own = {certificates.request(request)["certRequestPem"] for request in requests.values()}
    signed = made.of_type(SIGNED)
    assert len(signed) == 6, "two hubs and four hosts"
    assert {certificate["certRequestPem"] for certificate in signed.values()} <= own


def test_nothing_that_a_machine_says_is_in_what_is_signed_or_in_another_machines_files():
    """What a machine prints is its new SSH host key, which goes into connections to it, and nowhere else."""
    made = declare(lab_values())
    said = {name: digest_of(COMMAND, name) for name in made.of_type(COMMAND)}
    first = {name: text for name, text in said.items() if name.endswith("-first-contact")}
    assert len(first) == 6
    met = 0
    for (kind, name), args in made.made.items():
        for machine, text in first.items():
            if text not in str({key: value for key, value in args.inputs.items() if key != "connection"}):
                met += text in str(args.inputs)
                continue
            # Only what tells people: a component's or the stack's own outputs.
            assert not kind.startswith(("tls:", "command:", "lab:")), f"{name} holds what {machine} printed"
    assert met >= 6, "the search would find nothing"
