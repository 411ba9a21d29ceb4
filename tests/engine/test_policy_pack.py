"""The policy pack, run by the real engine over a state."""

import json
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from policy import rules
from tests.components.declared import ROOT

pytestmark = pytest.mark.skipif(shutil.which("pulumi") is None, reason="no engine: ./scripts/test sets one up")
STACK = "urn:pulumi:s::vcubev::pulumi:pulumi:Stack::vcubev-s"
GROUP = "aws:ec2/securityGroup:SecurityGroup"


def urn(kind, name):
    return f"urn:pulumi:s::vcubev::{kind}::{name}"


def resource(kind, name, outputs, parent=STACK):
    own = {"urn": urn(kind, name), "type": kind, "parent": parent, "inputs": outputs, "outputs": outputs}
    component = kind.startswith("vcubev:")
    return own | ({"custom": False} if component else {"custom": True, "id": f"{name}-id", "provider": provider(kind)})


def provider(kind):
    package = kind.partition(":")[0]
    return f"{urn(f'pulumi:providers:{package}', 'p')}::{package}-id"


def a_site(zones, office, tokens, days):
    """Return the resources of an AWS site with two hubs, as a state has them."""
    end = (datetime.now(UTC) + timedelta(days=days)).isoformat()
    ingress = [{"protocol": "tcp", "fromPort": 22, "toPort": 22, "cidrBlocks": [office]}]
    made = [
        {"urn": STACK, "type": "pulumi:pulumi:Stack", "custom": False},
        *(
            {"urn": urn(f"pulumi:providers:{name}", "p"), "type": f"pulumi:providers:{name}", "custom": True}
            | {"id": f"{name}-id", "parent": STACK}
            for name in ("aws", "tls")
        ),
        resource(rules.SITE, "oregon", {}),
        resource(GROUP, "oregon-hubs", {"ingress": ingress}),
        resource(rules.CERTIFICATES[1], "web-1-cert", {"validityEndTime": end}),
    ]
    for hub, zone in zip("ab", zones, strict=True):
        made.append(resource(rules.HUB, f"oregon-{hub}", {}, urn(rules.SITE, "oregon")))
        instance = {"availabilityZone": zone, "metadataOptions": {"httpTokens": tokens}}
        made.append(resource("aws:ec2/instance:Instance", f"oregon-{hub}", instance, made[-1]["urn"]))
    for name, address in (("host.web-1", "10.100.1.1"), ("host.db-1", "10.100.2.1" if days > 0 else "10.100.1.1")):
        subject = {"commonName": name, "serialNumber": address}
        made.append(resource(rules.REQUEST, name, {"subject": subject, "ipAddresses": [address]}))
    return made


@pytest.fixture
def analyze(tmp_path):
    """Run the pack over resources; return the command's end and level -> the policies that spoke."""

    def run(resources):
        manifest = {"time": "2026-01-01T00:00:00Z", "magic": "", "version": ""}
        state = tmp_path / "state.json"
        state.write_text(json.dumps({"version": 3, "deployment": {"manifest": manifest, "resources": resources}}))
        environment = {
            **os.environ,
            "PULUMI_HOME": str(tmp_path / "home"),
            "PULUMI_BACKEND_URL": f"file://{tmp_path}",
            "PULUMI_CONFIG_PASSPHRASE": "none",
        }
        done = subprocess.run(
            [
                "pulumi",
                "policy",
                "analyze",
                "--file",
                state,
                "--policy-pack",
                ROOT / "policy" / "pulumi-analyzer-vcubev",
                "--json",
            ],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        spoke = {}
        for event in (event["policyEvent"] for event in events if "policyEvent" in event):
            spoke.setdefault(event["enforcementLevel"], set()).add(event["policyName"])
        return done, spoke

    return run


def test_the_engine_runs_the_pack_and_stops_at_each_rule_that_is_broken(analyze):
    done, spoke = analyze(a_site(("a", "a"), "0.0.0.0/0", "optional", -1))
    assert done.returncode != 0, done.stdout + done.stderr
    broken = {"ssh-from-everywhere", "imdsv2", "hubs-apart", "one-address-one-name", "certificate-ended"}
    assert spoke == {"mandatory": broken}, done.stdout + done.stderr


def test_the_engine_lets_a_good_stack_pass_and_warns_of_a_certificate_that_ends(analyze):
    done, spoke = analyze(a_site(("a", "b"), "192.0.2.0/24", "required", 20))
    assert done.returncode == 0, done.stdout + done.stderr
    assert spoke == {"advisory": {"certificate-ending"}}
    done, spoke = analyze(a_site(("a", "b"), "192.0.2.0/24", "required", 200))
    assert done.returncode == 0 and spoke == {}, done.stdout + done.stderr
