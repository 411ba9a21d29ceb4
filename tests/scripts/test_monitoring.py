"""monitoring/: rules, board and targets, held to what agents write and to Prometheus' own checker."""

import json
import re
import shutil
import subprocess

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from components.model.policy import METRICS_PORT
from scripts.cli import __main__ as cli
from scripts.cli import targets_command
from scripts.cli.stack import ROOT, Stack
from tests.agents.loading import load
from tests.scripts.prometheus import OTHERS, promtool_takes
from tests.scripts.seen_stack import inventory

MONITORING = ROOT / "monitoring"
RULES = YAML(typ="safe").load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
TRIED = YAML(typ="safe").load((MONITORING / "alerts_test.yml").read_text())["tests"]
BOARD = json.loads((MONITORING / "grafana.json").read_text())
METRICS = load("metrics").KINDS
# Prometheus' own.
OF_PROMETHEUS = {"up", "ALERTS"}
# Not within text, nor a label's name.
NAME = re.compile(r'\b(vcubev_\w+|node_\w+|up|ALERTS)\b(?!=~|!~|!?="")')
NEEDS_PROMTOOL = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed; ./scripts/test without --fast installs it"
)


def expressions():
    """Return where -> PromQL, of the board and the rules."""
    found = {rule["alert"]: rule["expr"] for rule in RULES}
    for panel in BOARD["panels"]:
        for target in panel.get("targets", ()):
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    for variable in BOARD["templating"]["list"]:
        if variable["type"] == "query":
            found[variable["name"]] = re.fullmatch(r"label_values\((.*), \w+\)", variable["query"]["query"])[1]
    return found


def names(expression):
    return set(NAME.findall(re.sub(r'"[^"]*"', '""', expression)))


@pytest.mark.parametrize("where, expression", expressions().items(), ids=expressions())
def test_board_and_rules_ask_for_metrics_that_somebody_writes(where, expression):
    assert names(expression), "it asks for nothing"
    assert names(expression) <= {*METRICS, *OTHERS, *OF_PROMETHEUS}


def test_every_metric_that_agents_write_is_on_the_board_or_in_a_rule():
    asked = set().union(*map(names, expressions().values()))
    assert set(METRICS) - asked <= {"vcubev_host_claimed", "vcubev_last_failover_seconds"}
    assert asked - set(METRICS) - OF_PROMETHEUS == OTHERS, "the list above has what nobody asks for"


@pytest.mark.parametrize("alert", [rule["alert"] for rule in RULES])
def test_each_alert_is_tried_both_ways(alert):
    cases = [case for test in TRIED for case in test["alert_rule_test"] if case["alertname"] == alert]
    assert any(case.get("exp_alerts") for case in cases), "it is never seen to fire"
    quiet = any(not case.get("exp_alerts") for case in cases)
    # Or there is a series beside it for which it does not.
    tests = [test for test in TRIED if any(case["alertname"] == alert for case in test["alert_rule_test"])]
    fired = max(len(case.get("exp_alerts", ())) for case in cases)
    assert quiet and all(len(test["input_series"]) > fired for test in tests)


def test_each_alert_says_what_and_what_to_do():
    for rule in RULES:
        assert rule["labels"]["severity"] in ("warning", "critical"), rule["alert"]
        assert rule["annotations"]["summary"] and rule["annotations"]["description"], rule["alert"]


def promtool(*arguments):
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, cwd=MONITORING)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@NEEDS_PROMTOOL
def test_prometheus_finds_nothing_to_say_about_the_agents_metrics():
    agents = load("metrics")
    promtool_takes(agents.page([agents.sample(name, 1, hub='a "b"') for name in agents.KINDS]))


@NEEDS_PROMTOOL
def test_prometheus_takes_the_rules_and_they_do_what_their_tests_say():
    assert f"{len(RULES)} rules found" in promtool("check", "rules", "alerts.yml")
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml")


@NEEDS_PROMTOOL
def test_a_rule_that_does_something_else_fails_its_test(tmp_path):
    """Or the tests above would be none."""
    for name in ("alerts.yml", "alerts_test.yml"):
        shutil.copy(MONITORING / name, tmp_path)
    rules = (tmp_path / "alerts.yml").read_text()
    (tmp_path / "alerts.yml").write_text(rules.replace("vcubev_path_loss_ratio > 0.05", "vcubev_path_loss_ratio > 0.5"))
    done = subprocess.run(["promtool", "test", "rules", tmp_path / "alerts_test.yml"], capture_output=True, text=True)
    assert done.returncode != 0 and "VcubevPathLossy" in done.stdout + done.stderr


@NEEDS_PROMTOOL
def test_prometheus_takes_every_question_of_the_board(tmp_path):
    rules = [
        {"record": f"board:{at}", "expr": expression.replace("$__rate_interval", "5m")}
        for at, expression in enumerate(expressions().values())
    ]
    file = tmp_path / "board.yml"
    file.write_text(json.dumps({"groups": [{"name": "board", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)


@NEEDS_PROMTOOL
def test_prometheus_takes_the_configuration(tmp_path):
    listed = targets_command.listed("lab3", inventory())
    (tmp_path / "lab3.json").write_text(json.dumps(listed))
    shutil.copy(MONITORING / "alerts.yml", tmp_path)
    config = (MONITORING / "prometheus.yml").read_text()
    (tmp_path / "prometheus.yml").write_text(config.replace("/etc/prometheus/vcubev", str(tmp_path)))
    promtool("check", "config", tmp_path / "prometheus.yml")
    found = json.JSONDecoder().raw_decode(
        promtool("check", "service-discovery", "--timeout=3s", tmp_path / "prometheus.yml", "vcubev")
    )[0]
    assert {one["labels"]["member"] for one in found} == {*inventory().hubs, *inventory().hosts}


def test_panels_have_room_and_a_place_of_their_own():
    taken = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert place["x"] + place["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(ids) == len(set(ids))


@pytest.fixture
def command(monkeypatch):
    def run(*arguments, asked=True):
        topology = Stack("lab3").topology()
        if asked:
            policy = topology.policy.__class__(False, (), metrics=object())
            topology = topology.__class__(**{**vars(topology), "policy": policy})
        monkeypatch.setattr(Stack, "topology", lambda self: topology)
        monkeypatch.setattr(targets_command, "inventory_of", lambda name: (Stack("lab3"), inventory()))
        return CliRunner().invoke(cli.app, ["targets", "lab3", *arguments])

    return run


def test_targets_are_all_members_with_their_labels(command, tmp_path):
    told = command()
    assert told.exit_code == 0, told.output
    found = {entry["labels"]["member"]: entry for entry in json.loads(told.stdout)}
    assert found["web-1"] == {
        "targets": [f"10.101.1.1:{METRICS_PORT}"],
        "labels": {"stack": "lab3", "site": "oregon", "role": "web", "member": "web-1"},
    }
    assert found["oregon/b"]["labels"]["role"] == "hub" and len(found) == 12
    file = tmp_path / "lab3.json"
    assert command("-o", str(file)).exit_code == 0
    assert json.loads(file.read_text()) == json.loads(told.stdout)
    assert file.stat().st_mode & 0o777 == 0o644 and list(tmp_path.iterdir()) == [file]


def test_without_metrics_in_the_stack_file_it_says_what_to_write(command):
    told = command(asked=False)
    assert told.exit_code == 2 and "vcubev:metrics: {from: [web]}" in told.output
