"""What a stack file may ask of a cloud, and how it is told what a cloud can't do."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.model.errors import StackErrors
from components.model.facts import CloudFacts, CloudNotInstalled
from components.model.stackfile import load, load_file
from tests.model.test_stack_errors import right

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"
OREGON = ("sites", "oregon")
MACHINE = {"address": "192.0.2.1", "user": "admin", "host_key": KEY}


class Clouds(dict):
    def __getitem__(self, cloud):
        if cloud == "extra":
            raise CloudNotInstalled("pulumi_extra")
        return super().__getitem__(cloud)


CLOUDS = Clouds(
    big=CloudFacts(
        regions=("us-west-1", "us-west-2", "eu-west-1"),
        underlay_prefix_lens=range(16, 27),
        nat=("gateway", "hub"),
        takes_vpc=True,
        takes_zones=True,
        zones=2,
        accounts=True,
    ),
    plain=CloudFacts(sees_operator=True),
    own=CloudFacts(brings_machines=True),
    extra=None,
)


def stack(cloud="big", region="us-west-2", operators=("203.0.113.0/24",)):
    values = right()
    values["operators"] = list(operators)
    values["sites"]["oregon"] |= {"cloud": cloud, "region": region}
    values["sites"]["paris"] |= {"cloud": "plain"}
    if cloud == "own":
        del values["sites"]["oregon"]["region"]
        for number, machine in enumerate(machines(values)):
            machine["machine"] = {**MACHINE, "address": f"192.0.2.{number + 1}"}
    return values


def machines(values):
    site = values["sites"]["oregon"]
    return [*site["hubs"].values(), *site["hosts"].values()]


def put(values, *path_and_value):
    *path, last, value = path_and_value
    entry = values
    for key in path:
        entry = entry.setdefault(key, {})
    entry[last] = value
    return values


def mistakes(values):
    with pytest.raises(StackErrors) as raised:
        load(values, CLOUDS)
    return raised.value.errors


def site(values, name="oregon"):
    return next(site for site in load(values, CLOUDS).sites if site.name == name)


@pytest.mark.parametrize("cloud", ["big", "plain", "own"])
def test_each_kind_of_cloud_takes_a_stack_with_no_options(cloud):
    assert site(stack(cloud)).cloud == cloud


def test_options_reach_the_topology():
    values = stack()
    values["sites"]["oregon"] |= {
        "network": {"vpc": "vpc-0123", "nat": "hub", "zones": ["us-west-2a", "us-west-2b"]},
        "underlay": "10.20.0.0/20",
        "account": "second",
    }
    network = site(values).network
    assert (network.vpc, network.nat, network.zones) == ("vpc-0123", "hub", ("us-west-2a", "us-west-2b"))
    assert site(values).account == "second"


def test_a_clouds_first_way_out_is_the_default():
    assert site(stack()).network.nat == "gateway" and site(stack(), "paris").network.nat == ""


def test_a_machines_zone_follows_from_its_id_and_from_nothing_else():
    values = stack()
    values["sites"]["oregon"]["hubs"] = {"b": {"id": 4}, "c": {"id": 7}}
    zones = {hub.id: hub.zone for hub in site(values).hubs}
    values["sites"]["oregon"]["hubs"]["a"] = {"id": 9}
    assert {hub.id: hub.zone for hub in site(values).hubs} == {**zones, 9: 1}, "another's arrival would move it"


def test_the_way_out_is_the_hub_with_the_lowest_id():
    values = stack()
    values["sites"]["oregon"]["hubs"] = {"b": {"id": 4}, "a": {"id": 7}}
    assert site(values).gateway.name == "b"


def hubs(*ids):
    return {f"h{number}": {"id": number} for number in ids}


# the cloud, what is changed, where the error must point, what it must say
WRONG = {
    "unknown region": ("big", (*OREGON, "region", "us-wets-2"), "sites.oregon.region", "us-west-2"),
    "no NAT to choose": ("plain", (*OREGON, "network", "nat", "hub"), "sites.oregon.network.nat", "not an option"),
    "misspelt NAT": ("big", (*OREGON, "network", "nat", "hubs"), "sites.oregon.network.nat", "'gateway' or 'hub'"),
    "misspelt network key": ("big", (*OREGON, "network", "vcp", "x"), "sites.oregon.network.vcp", "vpc, nat, zones"),
    "no VPC to give": ("plain", (*OREGON, "network", "vpc", "v-1"), "sites.oregon.network.vpc", "not an option"),
    "VPC with no prefix": ("big", (*OREGON, "network", "vpc", "v-1"), "sites.oregon.underlay", "is missing"),
    "one zone": ("big", (*OREGON, "network", "zones", ["a"]), "sites.oregon.network.zones", "must be 2 zones"),
    "one zone twice": ("big", (*OREGON, "network", "zones", ["a", "a"]), "sites.oregon.network.zones", "each once"),
    "no zones to name": ("plain", (*OREGON, "network", "zones", ["a"]), "sites.oregon.network.zones", "not an option"),
    "zone out of range": ("big", (*OREGON, "hubs", "a", "zone", 2), "sites.oregon.hubs.a.zone", "0-1"),
    "hubs in one zone": ("big", (*OREGON, "hubs", hubs(1, 3)), "sites.oregon.hubs", "all in zone 1 of 2"),
    "no accounts": ("plain", (*OREGON, "account", "second"), "sites.oregon.account", "not an option"),
    "underlay too small for subnets": ("big", (*OREGON, "underlay", "172.20.0.0/28"), "sites.oregon.underlay", "/26"),
    "nobody may log in": ("big", ("operators", []), "operators", "site oregon"),
    "extra that is not installed": ("extra", ("operators", []), "sites.oregon.cloud", "uv sync --extra extra"),
    "a machine where the cloud makes them": (
        "big",
        (*OREGON, "hosts", "web-1", "machine", MACHINE),
        "sites.oregon.hosts.web-1.machine",
        "cloud byo",
    ),
    "a machine that is not named": (
        "own",
        (*OREGON, "hosts", "web-1", "machine", None),
        "sites.oregon.hosts.web-1.machine",
        "host_key",
    ),
    "one machine twice": (
        "own",
        (*OREGON, "hosts", "web-1", "machine", MACHINE),
        "sites.oregon.hosts.web-1.machine",
        "taken: vcubev:sites.oregon.hubs.a.machine",
    ),
    "address a name": (
        "own",
        (*OREGON, "hubs", "a", "machine", "address", "office.example"),
        "sites.oregon.hubs.a.machine.address",
        "203.0.113.7",
    ),
    "user that is a command": (
        "own",
        (*OREGON, "hubs", "a", "machine", "user", "a;reboot"),
        "sites.oregon.hubs.a.machine.user",
        "a login name",
    ),
    "host key a fingerprint": (
        "own",
        (*OREGON, "hubs", "a", "machine", "host_key", "SHA256:abc"),
        "sites.oregon.hubs.a.machine.host_key",
        "ssh_host_ed25519_key.pub",
    ),
    "port out of range": (
        "own",
        (*OREGON, "hubs", "a", "machine", "port", 0),
        "sites.oregon.hubs.a.machine.port",
        "1-65535",
    ),
    "misspelt machine key": (
        "own",
        (*OREGON, "hubs", "a", "machine", "adress", "x"),
        "sites.oregon.hubs.a.machine.adress",
        "address, user, host_key, port",
    ),
    "SSH where hosts come in": (
        "own",
        (*OREGON, "hubs", "a", "machine", "port", 443),
        "sites.oregon.hubs.a.tcp_port",
        "port of SSH",
    ),
    "size of one's own machine": (
        "own",
        (*OREGON, "machine", "size", "big"),
        "sites.oregon.machine.size",
        "not an option",
    ),
    "no hub and none that stands in": ("own", (*OREGON, "hubs", {}), "sites.oregon.hubs", "hubs_of"),
    "hubs of nobody": ("own", (*OREGON, "hubs_of", "paris"), "sites.oregon.hubs_of", "that have no hub"),
    "hubs of another at a cloud": ("big", (*OREGON, "hubs_of", "paris"), "sites.oregon.hubs_of", "user's own"),
}


@pytest.mark.parametrize("cloud, change, place, words", WRONG.values(), ids=WRONG.keys())
def test_what_a_cloud_cannot_do_is_told_with_its_place_limit_and_cure(cloud, change, place, words):
    found = mistakes(put(stack(cloud), *change))
    here = [error for error in found if error.place == place]
    assert here, f"nothing points to {place}: {[str(e) for e in found]}"
    assert any(words in str(error) for error in here), str(here[0])
    assert all(error.cure for error in found)


def test_a_site_with_no_hub_may_use_anothers_only_if_that_has_one():
    values = stack("own")
    values["sites"]["oregon"] |= {"hubs": {}, "hubs_of": "paris"}
    assert [host.hub_site for host in site(values).hosts] == ["paris"]
    values["sites"]["oregon"]["hubs_of"] = "rome"
    assert "Sites with hubs: paris" in str(mistakes(values)[0])


def test_options_and_plain_mistakes_are_told_at_once():
    values = put(stack(), *OREGON, "region", "moon")
    values["roles"]["db"]["id"] = 0
    values["sites"]["oregon"]["network"] = {"zones": ["a"]}
    assert {error.place for error in mistakes(values)} == {
        "roles.db.id",
        "sites.oregon.region",
        "sites.oregon.network.zones",
    }


def test_a_login_key_in_clear_is_refused(tmp_path):
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text("config:\n  vcubev:byo_private_key: hunter2\n")
    with pytest.raises(StackErrors) as raised:
        load_file(file, CLOUDS)
    assert "config set --secret" in str(raised.value) and "hunter2" not in str(raised.value)


OPTIONS = [
    (*OREGON, option) for option in ("network", "account", "underlay", "machine", "hubs", "hubs_of", "region")
] + [(*OREGON, "hubs", "a", option) for option in ("zone", "machine", "size")]
JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.sampled_from(["hub", "paris", "vpc-1", KEY])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(
            st.sampled_from(["vpc", "nat", "zones", "size", "a", "id", "zone", "machine", *MACHINE]), inner, max_size=4
        ),
    ),
    max_leaves=6,
)


@given(st.sampled_from(["big", "plain", "own", "extra"]), st.sampled_from(OPTIONS), JUNK)
@settings(max_examples=300, deadline=None)
def test_whatever_an_option_says_the_answer_is_a_topology_or_its_mistakes(cloud, option, junk):
    values = copy.deepcopy(stack(cloud))
    try:
        load(put(values, *option, junk), CLOUDS)
    except StackErrors as raised:
        assert raised.errors and all(error.cure for error in raised.errors)
