"""Names in the engine's eyes: they are in certificates, so that no machine but the host's own is touched for them."""

from tests.components.declared import declare, lab_values

REQUEST = "tls:index/certRequest:CertRequest"
COMMAND = "command:remote:Command"
KEYS = ("tls:index/privateKey:PrivateKey",)


def changed(before, after):
    """Return the names of what is not as it was, components left out."""
    made = {key: args.inputs for key, args in before.made.items()}
    return {key for key, args in after.made.items() if made.get(key) != args.inputs and "vcubev" not in key[0]}


def test_a_hosts_certificate_carries_its_names_and_a_hubs_none():
    requests = declare(lab_values()).of_type(REQUEST)
    domain = "vcubev.internal"
    assert requests["m-web-1-request"]["dnsNames"] == [f"web-1.oregon.{domain}", f"web-1.{domain}", f"web.{domain}"]
    assert "dnsNames" not in requests["m-oregon-a-request"]


def test_an_unmanaged_host_has_names_too():
    values = lab_values()
    values["sites"]["paris"]["hosts"]["laptop"] = {"role": "web", "id": 9, "unmanaged": True}
    assert declare(values).of_type(REQUEST)["m-laptop-request"]["dnsNames"][0] == "laptop.paris.vcubev.internal"


def test_a_role_and_its_first_host_only_add():
    values = lab_values()
    before = declare(values)
    values["roles"]["mail"] = {"id": 9}
    values["sites"]["paris"]["hosts"]["mail-1"] = {"role": "mail", "id": 1}
    assert all("mail-1" in name for _, name in changed(before, declare(values)))


def test_a_host_that_moves_has_another_name_and_keeps_key_and_address():
    values = lab_values()
    before = declare(values)
    sites = values["sites"]
    sites["paris"]["hosts"]["web-1"] = sites["oregon"]["hosts"].pop("web-1")
    after = declare(values)
    assert after.of_type(REQUEST)["m-web-1-request"]["dnsNames"][0] == "web-1.paris.vcubev.internal"
    assert all("web-1" in name for _, name in changed(before, after)), "no other machine has anything of it"
    for recorder in (before, after):
        request = recorder.of_type(REQUEST)["m-web-1-request"]
        assert request["subject"]["serialNumber"] == "10.100.1.1"
    assert before.of_type(*KEYS)["m-web-1-key"] == after.of_type(*KEYS)["m-web-1-key"]


def test_another_domain_is_on_every_machine():
    values = lab_values()
    before = declare(values)
    values["domain"] = "net.example.org"
    found = {name for kind, name in changed(before, declare(values)) if kind == COMMAND}
    assert found >= {f"m-{name}-install" for name in ("oregon-a", "paris-a", "web-1", "web-2", "db-1", "db-2")}
