"""Mesh and Site for other languages: the schema, and what is made of inputs as the engine hands them over."""

import asyncio
import copy
import json
import subprocess
import sys

import grpc
import pulumi
import pytest
from pulumi.errors import InputPropertiesError
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from components import foreign
from components.model.declared import MESH_KEYS
from components.model.stackfile import KEYS, SECRETS
from tests.components.declared import Monitor, Recorder, declare, lab_values
from tests.lab.worktree import ROOT

NO_ENGINE = "127.0.0.1:1"
FLOATS = json.JSONDecoder(parse_int=float)  # the engine's numbers are all floating


def as_sent(values):
    return FLOATS.decode(json.dumps(values))


def constructed(kind, name, inputs, look=None):
    """Let the provider make a component as the engine asks it to; return what was declared, and the outputs."""
    recorder = Recorder()
    asyncio.set_event_loop(asyncio.new_event_loop())
    pulumi.runtime.set_mocks(recorder, preview=False, monitor=Monitor(recorder))
    found = {}

    @pulumi.runtime.test
    def build():
        made = foreign.Provider().construct(name, f"vcubev:index:{kind}", inputs)
        return look(made.state) if look else pulumi.Output.from_input(made.state).apply(found.update)

    build()
    return recorder, found


def served(*command):
    """Start a provider as the engine does; return its schema."""
    with subprocess.Popen([*command, NO_ENGINE], stdout=subprocess.PIPE, text=True, cwd="/") as plugin:
        try:
            with grpc.insecure_channel(f"127.0.0.1:{int(plugin.stdout.readline())}") as channel:
                asked = provider_pb2.GetSchemaRequest(version=0)
                return json.loads(provider_pb2_grpc.ResourceProviderStub(channel).GetSchema(asked, timeout=30).schema)
        finally:
            plugin.kill()


def test_a_program_can_say_all_that_a_stack_file_can():
    assert set(MESH_KEYS) == set(KEYS) - set(SECRETS)


def test_the_schema_is_the_same_from_a_folder_from_a_program_and_installed(outside):
    # A language host starts a plugin's folder so (pulumi: sdk/python/cmd/pulumi-language-python, RunPlugin).
    folder = served(sys.executable, str(ROOT / "plugin"))
    assert set(folder["resources"]) == {"vcubev:index:Mesh", "vcubev:index:Site"}
    assert folder == served(str(ROOT / "plugin" / "bin" / "pulumi-resource-vcubev"))
    assert folder == served(str(outside.python.parent / "pulumi-resource-vcubev"))


def test_what_a_language_host_installs_for_the_folder_is_enough(outside):
    plugin = outside.checkout / "plugin"
    # By "toolchain: uv" and "virtualenv: .venv" of its PulumiPlugin.yaml.
    outside.uv("sync", "--python", sys.executable, "--python-preference", "only-system", cwd=plugin)
    assert served(str(plugin / ".venv" / "bin" / "python"), str(plugin)) == json.loads(foreign.Provider().schema)


def test_the_schema_has_types_down_to_a_hosts_keys_and_says_which_must_be_there():
    schema = foreign.Provider().schema
    types = {name.rpartition(":")[2]: kind for name, kind in json.loads(schema)["types"].items()}
    host = types["HostEntry"]
    assert host["required"] == ["id", "role"]
    assert host["properties"]["private"]["type"] == "boolean" and host["properties"]["id"]["type"] == "integer"
    assert types["SiteEntry"]["properties"]["hosts"]["additionalProperties"]["$ref"].endswith(":HostEntry")
    assert {"on", "ports", "from", "anycast", "check"} == set(types["ServiceEntry"]["properties"])


def test_a_mesh_from_another_language_is_the_one_that_python_would_make():
    values = lab_values()
    recorder, outputs = constructed("Mesh", "m", as_sent(values))
    there = {key: args.inputs for key, args in recorder.made.items()}
    here = {key: args.inputs for key, args in declare(values).made.items()}
    assert there == here
    host = outputs["hosts"]["db-1"]
    assert (host["ipv4"], host["private"], host["ssh"]["gateway"]) == ("10.100.2.1", True, "oregon/a")
    assert host["ssh"]["hostKey"].startswith("ssh-ed25519 ") and outputs["ends"]["earliest"]


def test_two_meshes_at_one_region_sign_in_by_instances_of_their_own():
    values = lab_values()
    for site in values["sites"].values():
        site |= {"cloud": "linode", "region": "fr-par"}
        site["hosts"] = {}
    values["operators"] = ["192.0.2.0/24"]
    for name in ("m", "n"):
        recorder, _ = constructed("Mesh", name, as_sent(values))
        assert ("pulumi:providers:linode", f"{name}-linode-fr-par") in recorder.made


def test_a_site_is_a_mesh_of_one():
    values = lab_values()
    sites = values.pop("sites")
    inputs = {**values, "site": sites["oregon"], "siteName": "oregon"}
    recorder, outputs = constructed("Site", "m", as_sent(inputs))
    alone = declare({**values, "sites": {"oregon": sites["oregon"]}})
    assert set(recorder.made) - set(alone.made) == {("vcubev:index:Site", "m")}
    assert {key: recorder.made[key].inputs for key in alone.made} == {k: a.inputs for k, a in alone.made.items()}
    assert set(outputs["hosts"]) == {"db-1", "web-1"}


def test_all_mistakes_are_told_by_their_places_and_nothing_is_made():
    values = lab_values()
    values["sites"]["paris"]["id"] = 1
    values["sites"]["oregon"]["hosts"]["web-1"]["role"] = "wbe"
    with pytest.raises(InputPropertiesError) as told:
        constructed("Mesh", "m", as_sent(values))
    assert [error["property_path"] for error in told.value.errors] == [
        "sites.oregon.hosts.web-1.role",
        "sites.paris.id",
    ]


def test_what_is_to_be_made_must_be_known_before():
    values = as_sent(lab_values())
    unknown = copy.deepcopy(values)
    unknown["overlay"]["ipv4"] = pulumi.Output.from_input("10.100.0.0/16")
    with pytest.raises(InputPropertiesError) as told:
        constructed("Mesh", "m", unknown)
    assert [error["property_path"] for error in told.value.errors] == ["overlay.ipv4"]


def test_the_login_key_is_a_secret():
    secret = []

    def look(outputs):
        async def looked():
            secret.append(await outputs["login"]["privateKey"].is_secret())

        return looked()

    constructed("Mesh", "m", as_sent(lab_values()), look)
    assert secret == [True]
