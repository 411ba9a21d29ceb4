"""What a stack costs: pure arithmetic on a stack file, a state and a price table."""

import io
import json

import pytest
from rich.console import Console

from components.clouds import known_clouds
from components.model.facts import CloudFacts, PriceItem
from components.model.stackfile import load
from scripts.cli import cost, prices

TABLE = """
date: 2026-11-24
checked: true
currency: EUR
usd_per_unit: 2
sources: [https://example.com/prices]
sizes: {small: {vcpus: 1, memory_gb: 1}}
kinds:
  machine: {unit: hour, names: {small: {r1: 0.01}}}
  disk: {unit: month, names: {ssd: {"*": 0.1, r2: 0.2}}}
  address: {unit: month, names: {ipv4: {"*": 3}}}
  nat: {unit: month, names: {gw: {"*": 30}}}
state:
  x:index:Machine:
    - {kind: machine, name: type}
    - {kind: disk, name: =ssd, count: disk.size}
  x:index:Ip: [{kind: address, name: =ipv4}]
"""
FACTS = {
    "x": CloudFacts(
        default_size="small",
        nat=("gateway",),
        prices={
            "machine": (PriceItem("disk", "ssd", 10),),
            "public": (PriceItem("address", "ipv4"),),
            "nat-gateway": (PriceItem("nat", "gw"),),
        },
    ),
    "lab": CloudFacts(),
    "byo": CloudFacts(brings_machines=True),
}


@pytest.fixture
def tables(tmp_path):
    (tmp_path / "x.yaml").write_text(TABLE)
    return prices.load_tables(tmp_path)


def topology(cloud="x", region="r1", **hosts):
    hosts = hosts or {"web-1": {"role": "web", "id": 1}, "web-2": {"role": "web", "id": 2, "private": True}}
    site = {"id": 1, "cloud": cloud, "region": region, "hubs": {"a": {"id": 1}}, "hosts": hosts}
    overlay = {"ipv4": "10.100.0.0/16", "ipv6": "fd5c:ab1e::/48"}
    values = {"overlay": overlay, "roles": {"web": {"id": 1}}, "sites": {"far": site}}
    return load(values | {"operators": ["192.0.2.0/24"]}, FACTS)


def state(*resources):
    """A state of stack "s" whose resources belong to site "far"."""
    urn = "urn:pulumi:s::vcubev::"
    site = {"urn": f"{urn}vcubev:index:Site::s-far", "type": "vcubev:index:Site"}
    host = {"urn": f"{urn}vcubev:index:Host::s-web-1", "type": "vcubev:index:Host", "parent": site["urn"]}
    below = [
        {"urn": f"{urn}{typ}::{number}", "type": typ, "custom": True, "parent": host["urn"], **fields}
        for number, (typ, fields) in enumerate(resources)
    ]
    return {"deployment": {"resources": [site, host, *below]}}


MACHINE = ("x:index:Machine", {"inputs": {"type": "small", "region": "r1"}, "outputs": {"disk": {"size": 10}}})
ADDRESS = ("x:index:Ip", {"outputs": {"region": "r1"}})


def test_a_site_costs_its_machines_disks_addresses_and_nat(tables):
    plan = cost.planned(topology(), FACTS, tables)
    counted = {charge.kind: (charge.count, round(charge.monthly_usd, 2)) for charge in plan}
    assert counted == {"machine": (3, 43.8), "disk": (30, 6), "address": (2, 12), "nat": (1, 60)}
    assert cost.total(plan) == pytest.approx(121.8)


def test_nat_costs_nothing_where_no_host_is_private(tables):
    plan = cost.planned(topology(**{"web-1": {"role": "web", "id": 1}}), FACTS, tables)
    assert "nat" not in {charge.kind for charge in plan}


def test_a_price_that_nobody_knows_is_told_and_not_taken_for_nothing(tables):
    plan = cost.planned(topology(region="r9"), FACTS, tables)
    assert cost.unknown(plan) == ["x r9: machine small"]
    text = io.StringIO()
    cost.show_cost(Console(file=text, width=200), plan, tables, "")
    assert "no price known: x r9: machine small" in text.getvalue()


def test_the_lab_is_free(tables):
    assert cost.planned(topology(cloud="lab"), FACTS, tables) == []


def test_what_runs_is_read_from_the_state_by_site(tables):
    runs = cost.running(state(MACHINE, MACHINE, ADDRESS), tables)
    assert {(charge.site, charge.kind, charge.count) for charge in runs} == {
        ("far", "machine", 2),
        ("far", "disk", 20),
        ("far", "address", 1),
    }


def test_a_machine_that_is_about_to_be_deleted_is_no_cost_of_what_runs(tables):
    gone = (MACHINE[0], {**MACHINE[1], "delete": True})
    assert cost.running(state(gone), tables) == []


def test_a_change_is_the_difference_to_what_runs(tables):
    plan = cost.planned(topology(**{"web-1": {"role": "web", "id": 1}}), FACTS, tables)
    changes = cost.difference(cost.running(state(MACHINE, ADDRESS), tables), plan)
    assert {(change.kind, change.before, change.after) for change in changes} == {
        ("machine", 1, 2),
        ("disk", 10, 20),
        ("address", 1, 2),
    }
    assert cost.total(changes) == pytest.approx(0.01 * 730 * 2 + 2 + 6, abs=0.01)


def test_what_runs_as_the_file_says_changes_nothing(tables):
    plan = cost.planned(topology(**{"web-1": {"role": "web", "id": 1}}), FACTS, tables)
    assert cost.difference(plan, plan) == []


def test_a_stack_that_never_ran_costs_nothing_yet(tables):
    assert cost.running({}, tables) == []


def test_programs_get_dates_and_sources(tables):
    plan = cost.planned(topology(), FACTS, tables)
    told = json.loads(json.dumps(cost.as_json("s", plan, [], tables)))
    assert told["monthly_usd"] == pytest.approx(121.8) and told["diff"] == {"monthly_usd": 0, "changes": []}
    assert told["tables"] == [
        {"cloud": "x", "date": "2026-11-24", "checked": True, "sources": ["https://example.com/prices"]}
    ]


def test_a_table_with_a_mistake_is_told_with_its_place(tmp_path):
    (tmp_path / "x.yaml").write_text(TABLE.replace("unit: hour", "unit: year"))
    with pytest.raises(prices.PriceTableError, match=r"prices/x\.yaml: kinds\.machine\.unit"):
        prices.load_tables(tmp_path)


@pytest.mark.parametrize("cloud", sorted(prices.load_tables()))
def test_shipped_tables_know_each_clouds_default_machine_and_all_beside_it(cloud):
    table = prices.load_tables()[cloud]
    if cloud == "hcloud":
        pytest.importorskip("pulumi_hcloud")
    facts = known_clouds()[cloud]
    places = table.regions(facts.default_size) or set(facts.regions)
    assert places <= set(facts.regions)
    for region in places:
        lines = cost.charges(("s", cloud, region), facts, table, facts.default_size, 2, 1, facts.nat[0])
        assert not cost.unknown(lines), "a stack with nothing special in it would have no price"
    assert {name for kind, name in table.prices if kind == "machine"} == set(table.sizes)
