"""The stack file's word for direct tunnels."""

import pytest

from components.model.errors import StackErrors
from components.model.stackfile import load
from components.model.topology import DIRECT_PORTS, DIRECT_TALK_PORT, LINK_PORTS, OWN_UDP_PORTS
from tests.model.policy_stack import BASE


@pytest.mark.parametrize("word, meant", [(True, True), (False, False), ("true", True), ("false", False)])
def test_the_engine_may_have_written_it_as_text(word, meant):
    assert load({**BASE, "direct": word}, ("lab",)).direct is meant
    assert not load(BASE, ("lab",)).direct, "nobody asked for it"


@pytest.mark.parametrize("word", ["yes", 1, None, [], {"on": True}, "True "])
def test_another_word_is_one_error_at_its_place(word):
    with pytest.raises(StackErrors) as told:
        load({**BASE, "direct": word}, ("lab",))
    (error,) = str(told.value).strip().splitlines()[1:] or [str(told.value)]
    assert "vcubev:direct" in error


def test_its_ports_are_nobody_elses():
    assert not {*DIRECT_PORTS} & {*LINK_PORTS, *OWN_UDP_PORTS}
    assert DIRECT_TALK_PORT not in OWN_UDP_PORTS


def test_no_service_has_the_port_by_which_tunnels_are_arranged():
    services = {**BASE["services"], "odd": {"on": "ldap", "ports": [f"{DIRECT_TALK_PORT}/udp"], "from": ["web"]}}
    load({**BASE, "services": services}, ("lab",))
    with pytest.raises(
        StackErrors, match=r"vcubev:services\.odd\.ports: '1197/udp' is the port of hosts' direct tunnels"
    ):
        load({**BASE, "services": services, "direct": True}, ("lab",))
