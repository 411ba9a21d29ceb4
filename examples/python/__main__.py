"""A mesh of two sites, and beside it what this program is about: a web page that is served on the overlay only."""

import pulumi
import pulumi_aws as aws
from pulumi_command import remote

from components.clouds import Account, known_clouds, lab_sdk
from components.machine import LOGIN_USER
from components.mesh import Mesh, MeshArgs
from components.model.errors import StackErrors
from components.model.stackfile import load

PORT = 8080
REGIONS = {"oregon": "us-west-2", "paris": "eu-west-3"}
# A provider instance for each region, made as this program likes; the mesh's sites take what they are handed.
MAKERS = {
    "lab": lambda name, region: lab_sdk.Provider(name),
    "aws": lambda name, region: aws.Provider(name, region=region, default_tags={"tags": {"team": "web"}}),
}

cloud = pulumi.Config().require("cloud")
# The keys of a stack file, without the "vcubev:"; it may as well be read from one by `load_file`.
network = {
    "overlay": {"ipv4": "10.121.0.0/16", "ipv6": "fd5c:ab21::/48"},
    "roles": {"web": {"id": 1}, "reader": {"id": 2}},
    "services": {"page": {"on": "web", "ports": [f"{PORT}/tcp"], "from": ["reader"]}},
    "sites": {
        "oregon": {"id": 1, "hubs": {"a": {"id": 1}}, "hosts": {"web-1": {"role": "web", "id": 1}}},
        "paris": {"id": 2, "hubs": {"a": {"id": 2}}, "hosts": {"reader-1": {"role": "reader", "id": 1}}},
    },
    "operators": pulumi.Config().get_object("operators") or [],
}
for site, region in REGIONS.items():
    network["sites"][site] |= {"cloud": cloud, "region": region}
try:
    topology = load(network, known_clouds())
except StackErrors as errors:
    raise pulumi.RunError(str(errors)) from None

accounts = {site: Account((MAKERS[cloud](site, region),)) for site, region in REGIONS.items()}
mesh = Mesh("network", MeshArgs(topology, accounts))

# From here on it is a program like any other.
web = mesh.hosts["web-1"]
address = str(web.view.address.ipv4)
serve = f"systemd-run --quiet --unit=page python3 -m http.server {PORT} --bind {address} --directory /srv/page"
write = f"echo 'served in {REGIONS['oregon']}' | sudo tee /srv/page/index.html"
page = remote.Command(
    "page",
    connection=remote.ConnectionArgs(
        host=web.machine.address,
        host_key=web.machine.host_key,
        user=LOGIN_USER,
        private_key=mesh.authority.login.private,
    ),
    create=f"sudo mkdir -p /srv/page && {write} && sudo {serve}",
    delete="sudo systemctl stop page",
    opts=pulumi.ResourceOptions(depends_on=[web.installed], deleted_with=web.machine.vm.resource),
)
pulumi.export("url", page.stdout.apply(lambda _: f"http://{address}:{PORT}/"))
pulumi.export("page", page.stdout)
# What is not in the protocol of clouds is in the natives of what made it.
pulumi.export("network", mesh.sites["oregon"].network.network_id)
