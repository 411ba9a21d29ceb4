"""Credentials and leftovers, with clouds that answer from here."""

import json
import os
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest

from components.model.facts import CloudFacts
from components.model.stackfile import load
from scripts.cli import credentials, leftovers
from scripts.cli.ask import CannotAsk, Leftover, aws, hcloud, linode

TOKEN = "a-token-that-nobody-shall-see"
KEY = "a-secret-key-that-nobody-shall-see"
FACTS = {
    "aws": CloudFacts(regions=("us-west-2", "eu-west-3"), accounts=True, credentials=(("AWS_PROFILE",),)),
    "linode": CloudFacts(regions=("fr-par",), accounts=True, credentials=(("LINODE_TOKEN",),)),
    "other": CloudFacts(regions=("here",), credentials=(("OTHER_ID", "OTHER_KEY"), ("OTHER_TOKEN",))),
    "lab": CloudFacts(sees_operator=True),
}


def topology(*clouds):
    sites = {
        f"at-{cloud}": {"id": at, "cloud": cloud, "region": region, "hubs": {"a": {"id": at}}}
        for at, (cloud, region) in enumerate(clouds, 1)
    }
    overlay = {"ipv4": "10.100.0.0/16", "ipv6": "fd5c:ab1e::/48"}
    return load({"overlay": overlay, "sites": sites, "operators": ["192.0.2.0/24"]}, FACTS)


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No credentials but a test's own."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "LINODE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


@dataclass
class Api:
    """An HTTP API of the test's: path -> answer."""

    answers: dict = field(default_factory=dict)
    tokens: list = field(default_factory=list)


@pytest.fixture
def http_api(monkeypatch):
    api = Api()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            api.tokens.append(self.headers["Authorization"])
            found = api.answers.get(self.path.partition("?")[0])
            status, answer = (200, found) if found is not None else (401, {"errors": [{"reason": "Invalid Token"}]})
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("LINODE_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("LINODE_TOKEN", TOKEN)
    yield api
    server.shutdown()
    server.server_close()


def page(*things):
    return {"data": list(things), "page": 1, "pages": 1, "results": len(things)}


def test_linode_says_who_is_signed_in(http_api):
    http_api.answers["/v4/profile"] = {"username": "me"}
    assert linode.signed_in("fr-par", "") == "user me" and http_api.tokens == [f"Bearer {TOKEN}"]


def test_a_linode_account_of_another_name_has_a_token_of_its_own(http_api, alone):
    alone.setenv("LINODE_TOKEN_OTHER_TEAM", "second")
    http_api.answers["/v4/profile"] = {"username": "we"}
    linode.signed_in("fr-par", "other-team")
    assert http_api.tokens == ["Bearer second"]


def test_a_refused_token_is_told_without_the_token(http_api):
    with pytest.raises(CannotAsk, match="linode: refused \\(401\\)") as refused:
        linode.signed_in("fr-par", "")
    assert TOKEN not in str(refused.value)


def test_linode_that_cannot_be_reached_is_one_sentence(http_api, alone):
    alone.setenv("LINODE_URL", "http://127.0.0.1:1")
    with pytest.raises(CannotAsk, match="no sensible answer"):
        linode.signed_in("fr-par", "")


def test_linode_lists_what_carries_the_stacks_tag(http_api):
    tag = "vcubev:stack=mine"
    instance = {"id": 1, "label": "mine-far-a", "tags": [tag]}
    other = {"id": 2, "label": "mine-too", "tags": ["vcubev:stack=mine-too"]}
    firewall = {"id": 3, "label": "f", "tags": [tag, "x"]}
    vpc = {"id": 4, "label": "v", "description": f"{tag} vcubev:site=far"}
    http_api.answers = {
        "/v4/linode/instances": page(instance, other),
        "/v4/networking/firewalls": page(firewall),
        "/v4/vpcs": page(vpc),
        "/v4/placement/groups": page({"id": 5, "label": "another-far-network"}),
    }
    found = {(item.kind, item.what) for item in linode.leftovers("mine", "fr-par", "")}
    assert found == {("instance", "mine-far-a (1)"), ("firewall", "f (3)"), ("vpc", "v (4)")}


def test_hetzner_lists_what_carries_the_stacks_label_on_every_page(http_api, alone):
    alone.setenv("HCLOUD_ENDPOINT", f"{os.environ['LINODE_URL']}/v1")
    alone.setenv("HCLOUD_TOKEN", TOKEN)
    with pytest.raises(CannotAsk, match="hcloud: refused \\(401\\)"):
        hcloud.signed_in("fsn1", "")
    last = {"pagination": {"next_page": None}}
    http_api.answers = {f"/v1/{kind}": {kind: [], "meta": last} for kind in hcloud.KINDS}
    http_api.answers["/v1/primary_ips"]["primary_ips"] = [{"name": "mine-far-a", "id": 9}]
    assert list(hcloud.leftovers("mine", "fsn1", "")) == [Leftover("hcloud", "", "primary ip", "mine-far-a (9)")]


@pytest.fixture
def moto_aws(alone):
    moto = pytest.importorskip("moto")
    alone.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    alone.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    with moto.mock_aws():
        yield boto3.client("ec2", "us-west-2")


def test_aws_lists_what_carries_the_stacks_tag_but_not_what_is_terminated(moto_aws):
    def marked(kind, stack):
        return [{"ResourceType": kind, "Tags": [{"Key": "vcubev:stack", "Value": stack}]}]

    vpc = moto_aws.create_vpc(CidrBlock="172.30.1.0/24", TagSpecifications=marked("vpc", "mine"))["Vpc"]["VpcId"]
    moto_aws.create_vpc(CidrBlock="172.30.2.0/24", TagSpecifications=marked("vpc", "theirs"))
    mine = marked("instance", "mine")
    run = moto_aws.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1, TagSpecifications=mine)
    gone = run["Instances"][0]["InstanceId"]
    assert Leftover("aws", "us-west-2", "instance", gone) in set(aws.leftovers("mine", "us-west-2", ""))
    moto_aws.terminate_instances(InstanceIds=[gone])
    assert list(aws.leftovers("mine", "us-west-2", "")) == [Leftover("aws", "us-west-2", "vpc", vpc)]
    assert list(aws.leftovers("mine", "eu-west-3", "")) == []


def test_aws_says_who_is_signed_in(moto_aws):
    assert aws.signed_in("us-west-2", "") == "account 123456789012"


def test_all_that_keep_the_user_out_are_told_at_once_each_with_its_cure(alone):
    told = []
    clouds = topology(("aws", "us-west-2"), ("linode", "fr-par"), ("other", "here"), ("lab", "x"))
    with pytest.raises(credentials.NotSignedIn) as refused:
        credentials.check(clouds, FACTS, told.append)
    lines = str(refused.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["aws", "linode", "other"] and told == []
    assert "AWS_PROFILE" in lines[0] and "LINODE_TOKEN" in lines[1]
    assert lines[2].endswith("Set OTHER_ID and OTHER_KEY, or OTHER_TOKEN.")


def test_a_profile_that_is_not_there_is_named(alone):
    with pytest.raises(CannotAsk, match="profile nobody"):
        aws.signed_in("us-west-2", "nobody")


def test_credentials_are_never_printed(http_api, moto_aws):
    http_api.answers["/v4/profile"] = {"username": "me"}
    told = []
    credentials.check(topology(("aws", "us-west-2"), ("linode", "fr-par")), FACTS, told.append)
    assert told == ["aws: signed in as account 123456789012", "linode: signed in as user me"]


def test_a_cloud_that_cannot_be_asked_is_told_and_the_others_are_asked(alone):
    found, problems = leftovers.find("no-such-stack", topology(("lab", "x"), ("other", "here")), FACTS)
    assert found == [] and [line.split(":")[0] for line in problems] == ["other"]


def test_regions_that_the_stack_file_no_longer_names_are_asked_on_demand(monkeypatch):
    asked = []
    monkeypatch.setattr(leftovers, "_ask", lambda stack, *place: asked.append(place) or ([], ""))
    sites = topology(("linode", "fr-par"))
    leftovers.find("s", sites, FACTS)
    leftovers.find("s", sites, FACTS, clouds=["aws"])
    places = {("aws", "", "us-west-2"), ("aws", "", "eu-west-3")}
    assert asked[0] == ("linode", "", "fr-par") and places < set(asked)
