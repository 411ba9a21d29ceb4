"""Nearest servers in the engine's eyes: a service, a client or a server more only adds."""

from tests.components.declared import declare, lab_values

COMMAND = "command:remote:Command"
LDAP = {"on": "db", "ports": ["389/tcp"], "from": ["web"], "anycast": True}


def values_with(**services):
    values = lab_values()
    values.pop("tests", None)
    values["services"] = services
    return values


def differs(before, after):
    return {
        name
        for (kind, name), args in after.made.items()
        if "vcubev" not in kind and ((kind, name) not in before.made or before.made[kind, name].inputs != args.inputs)
    }


def test_only_clients_have_the_agent_and_each_service_is_a_bundle_of_its_own():
    made = {name for name in declare(values_with(ldap=LDAP)).of_type(COMMAND) if "-nearest" in name}
    assert made == {f"m-{host}-nearest{part}" for host in ("web-1", "web-2") for part in ("", "-ldap")}
    assert not [
        name for name in declare(values_with(ldap={**LDAP, "anycast": False})).of_type(COMMAND) if "nearest" in name
    ]


def test_a_shared_address_for_a_service_and_a_second_such_service_only_add():
    plain = declare(values_with(ldap={**LDAP, "anycast": False}))
    one = declare(values_with(ldap=LDAP))
    assert differs(plain, one) == {f"m-{host}-nearest{part}" for host in ("web-1", "web-2") for part in ("", "-ldap")}
    both = declare(values_with(ldap=LDAP, time={**LDAP, "ports": ["123/udp"]}))
    assert {name for name in differs(one, both) if "nearest" in name} == {
        "m-web-1-nearest-time",
        "m-web-2-nearest-time",
    }
    assert all("time" in name for name in differs(one, both))


def test_a_client_more_or_a_server_more_touches_nobody_else():
    for role in ("web", "db"):
        values = values_with(ldap=LDAP)
        before = declare(values)
        values["sites"]["paris"]["hosts"]["new"] = {"role": role, "id": 99}
        assert all("new" in name for name in differs(before, declare(values)))


def test_a_laptop_has_no_agent():
    values = values_with(ldap=LDAP)
    values["sites"]["paris"]["hosts"]["laptop"] = {"role": "web", "id": 9, "unmanaged": True}
    assert not [name for _, name in declare(values).made if "laptop-nearest" in name]
