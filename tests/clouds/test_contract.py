"""One contract for all clouds, against a recording engine: what hub, host, site and mesh rely on."""

import copy
import ipaddress
import json

import pytest

from components.clouds import known_clouds
from components.model.facts import CloudNotInstalled
from tests.components.declared import declare, lab_values

COMMAND = "command:remote:Command"
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA"
MACHINES = {  # the type of a machine at each cloud; none where machines are the user's own
    "aws": "aws:ec2/instance:Instance",
    "hcloud": "hcloud:index/server:Server",
    "lab": "lab:index:Machine",
    "linode": "linode:index/instance:Instance",
}


def facts_of(cloud):
    try:
        return known_clouds()[cloud]
    except CloudNotInstalled as missing:
        pytest.skip(f"{missing} is not installed")


def brought(number):
    return {"address": f"192.0.2.{number}", "user": "admin", "host_key": f"{HOST_KEY}{number}"}


def values_of(cloud):
    """Return the lab's stack file with its sites at another cloud: each a hub, a public and a private host."""
    facts, values = facts_of(cloud), lab_values()
    values["operators"] = ["203.0.113.0/24"]
    regions = (facts.regions or ("here", "there"))[:2]
    for region, site in zip(regions, values["sites"].values(), strict=True):
        site |= {"cloud": cloud, "region": region}
        for number, machine in enumerate([*site["hubs"].values(), *site["hosts"].values()], 10 * site["id"]):
            if facts.brings_machines:
                machine["machine"] = brought(number)
    return values


@pytest.fixture(params=known_clouds(), scope="module")
def cloud(request):
    facts_of(request.param)
    return request.param


@pytest.fixture(scope="module")
def made(cloud):
    return declare(values_of(cloud), signed_in=True)


def inputs(recorder):
    return {key: args.inputs for key, args in recorder.made.items()}


def natives(recorder, cloud):
    return {key: args for key, args in recorder.made.items() if key[0].startswith(f"{cloud}:")}


def test_every_cloud_is_under_this_contract():
    assert set(MACHINES) | {"byo"} == set(known_clouds()), "a cloud that nobody tests"


def test_preview_declares_what_up_creates(cloud, made):
    preview = declare(values_of(cloud), preview=True, signed_in=True)
    assert set(preview.made) == set(made.made), "a resource made in apply() hides at preview"


def test_two_meshes_live_side_by_side(cloud):
    declare(values_of(cloud), twice=True)


@pytest.mark.parametrize("private", [True, False])
def test_adding_a_host_only_adds(cloud, made, private):
    values = values_of(cloud)
    values["sites"]["paris"]["hosts"]["web-3"] = {"role": "web", "id": 3, "private": private}
    if facts_of(cloud).brings_machines:
        values["sites"]["paris"]["hosts"]["web-3"]["machine"] = brought(99)
    more = declare(values, signed_in=True)
    assert set(made.made) < set(more.made)
    changed = [key for key, fields in inputs(made).items() if inputs(more)[key] != fields]
    assert not changed, "a host's arrival must touch nothing that exists"


def test_adding_and_removing_a_site_changes_no_other(cloud, made):
    values = values_of(cloud)
    del values["sites"]["paris"]
    fewer = declare(values, signed_in=True)
    assert set(fewer.made) < set(made.made)
    changed = [key for key, fields in inputs(fewer).items() if inputs(made)[key] != fields]
    assert not changed


def test_each_machine_is_launched_once_and_one_at_a_time(cloud, made):
    if cloud not in MACHINES:
        pytest.skip("makes no machines")
    machines = made.of_type(MACHINES[cloud])
    assert set(machines) == {"m-oregon-a", "m-paris-a", "m-web-1", "m-db-1", "m-web-2", "m-db-2"}
    for name in machines:
        options = made.options[MACHINES[cloud], name]
        assert options.deleteBeforeReplace, f"{name}: two machines of one identity"


def test_a_site_says_how_long_a_machine_may_take_to_run(cloud):
    if cloud not in ("aws", "linode"):
        pytest.skip("the plugin has no such limit, or there is nothing to make")
    values = values_of(cloud)
    values["sites"]["oregon"]["machine"] = {"boot_seconds": 1200}
    made = declare(values, signed_in=True)
    options = {name: made.options[MACHINES[cloud], name].customTimeouts.create for name in ("m-db-1", "m-db-2")}
    assert options == {"m-db-1": "1200s", "m-db-2": ""}


def test_boot_data_is_secret_and_never_replaces_a_machine(cloud, made):
    if cloud in ("byo", "lab"):
        pytest.skip("no user_data, or one that its plugin itself keeps")
    key = {"linode": "metadatas"}.get(cloud, "userData")
    image = {"aws": "ami"}.get(cloud, "image")
    for name in made.of_type(MACHINES[cloud]):
        assert {key, image} <= set(made.options[MACHINES[cloud], name].ignoreChanges), name
    assert all(key in str(made.secret[MACHINES[cloud], name]) for name in made.of_type(MACHINES[cloud]))


def test_a_public_machine_is_reached_at_its_public_address_and_a_private_one_through_a_hub(cloud, made):
    hubs = {made.made[COMMAND, f"m-{site}-a-install"].inputs["connection"]["host"] for site in ("oregon", "paris")}
    assert len(hubs) == 2
    for name, private in (("m-web-1", False), ("m-db-1", True), ("m-oregon-a", False)):
        connection = made.made[COMMAND, f"{name}-install"].inputs["connection"]
        ipaddress.ip_address(connection["host"])
        assert ("proxy" in connection) == private, name
        assert not private or connection["proxy"]["host"] in hubs


def test_every_connection_pins_a_host_key(made):
    for name, fields in made.of_type(COMMAND).items():
        assert fields["connection"]["hostKey"], name
        assert "proxy" not in fields["connection"] or fields["connection"]["proxy"]["hostKey"], name


def test_ssh_is_open_to_operators_on_public_machines_and_to_hubs_only_on_private_ones(cloud, made):
    """Read from whatever a cloud calls its rules: each is a mapping that names its sources."""
    if cloud == "byo":
        pytest.skip("has no firewall")
    groups = {
        name.removeprefix("m-oregon-"): str({key: rules for key, rules in args.inputs.items() if key != "egress"})
        for (typ, name), args in natives(made, cloud).items()
        if any(word in typ.lower() for word in ("firewall", "securitygroup")) and name.startswith("m-oregon-")
    }
    assert set(groups) == {"hubs", "hosts", "private"}
    assert all("203.0.113.0/24" in groups[public] for public in ("hubs", "hosts"))
    assert "203.0.113.0/24" not in groups["private"] and "0.0.0.0/0" not in groups["private"]


def test_all_that_can_carry_tags_names_stack_and_site(cloud, made):
    if cloud in ("byo", "lab"):
        pytest.skip("has no tags: names tell")
    machines = made.of_type(MACHINES[cloud])
    for name, fields in machines.items():
        told = json.dumps(fields.get("tags") or fields.get("labels"))
        assert "stack" in told and ("oregon" in told or "paris" in told), name


def test_a_sites_resources_are_its_own_accounts(cloud):
    facts = facts_of(cloud)
    if not facts.accounts:
        pytest.skip("has no accounts")
    values = values_of(cloud)
    values["sites"]["paris"] |= {"region": values["sites"]["oregon"]["region"], "account": "second"}
    made = declare(values, signed_in=True)
    providers = {}
    for (typ, name), args in natives(made, cloud).items():
        if not typ.startswith("pulumi:providers"):
            site = "paris" if any(own in name for own in ("paris", "web-2", "db-2")) else "oregon"
            providers.setdefault(site, set()).add(args.provider)
    assert all(len(found) == 1 for found in providers.values()), "a resource slipped to another account"
    assert providers["oregon"] != providers["paris"]
    assert {call.provider for call in made.asked} <= set.union(set(), *providers.values()), "a look-up asks its own"


def test_no_credential_is_in_any_input(cloud, made, monkeypatch):
    for variable in ("LINODE_TOKEN", "HCLOUD_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "hunter2hunter2")
    assert "hunter2" not in str(inputs(declare(values_of(cloud), signed_in=True)))


def test_where_the_hub_is_the_way_out_private_machines_wait_for_it(cloud):
    facts = facts_of(cloud)
    if "hub" not in facts.nat:
        pytest.skip("hubs are no gateways here")
    values = values_of(cloud)
    for site in values["sites"].values():
        site["network"] = {"nat": "hub"}
    made = declare(values, signed_in=True)
    bundle = json.loads(made.made[COMMAND, "m-oregon-a-install"].inputs["stdin"])
    assert "masquerade" in bundle["files"]["/etc/nftables.conf"]["content"]
    after = " ".join(made.options[MACHINES[cloud], "m-db-1"].dependencies)
    assert "m-oregon-a-install" in after, "its first boot needs the internet"
    assert "m-oregon-a-install" not in " ".join(made.options[MACHINES[cloud], "m-web-1"].dependencies)


def test_a_second_hub_does_not_move_the_way_out(cloud):
    facts = facts_of(cloud)
    if "hub" not in facts.nat:
        pytest.skip("hubs are no gateways here")
    values = values_of(cloud)
    values["sites"]["oregon"] |= {"network": {"nat": "hub"}, "hubs": {"b": {"id": 1}}}
    more = copy.deepcopy(values)
    more["sites"]["oregon"]["hubs"]["a"] = {"id": 8}
    one, two = declare(values, signed_in=True), declare(more, signed_in=True)
    placed = {"placementGroup", "placementGroupId"}  # made for the pair; a cloud that must replaces for it says so
    for key in natives(one, cloud):
        if "way-out" in key[1] or key[1] in ("m-oregon-b", "m-db-1"):
            before, after = inputs(one)[key], inputs(two)[key]
            moved = {name for name in before | after if before.get(name) != after.get(name)} - placed
            assert not moved, f"{key}: private machines would lose the internet when a hub joins"
