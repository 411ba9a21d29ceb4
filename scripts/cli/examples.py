"""Examples for each command's --help; a test reads every one of them as the command line would."""

from __future__ import annotations

import typer

EXAMPLES = {
    "up": ("vcubev up lab", "vcubev up mine --only web-3", "vcubev up mine --yes --json"),
    "status": (
        "vcubev status lab",
        "vcubev status lab --watch",
        "vcubev status mine --between-hosts",
        "vcubev status mine --json | jq .well",
    ),
    "down": ("vcubev down lab",),
    "drain": ("vcubev drain oregon/a --stack mine", "vcubev drain oregon/a --stack mine --undo"),
    "doctor": ("vcubev doctor lab", "vcubev doctor mine --json | jq .troubles"),
    "drift": ("vcubev drift lab", "vcubev drift mine web-1 oregon/a --json", "vcubev drift mine --repair"),
    "backup": ("vcubev backup mine -o /media/stick/mine.backup", "vcubev backup mine --passphrase-file words.txt"),
    "restore": (
        "vcubev restore /media/stick/mine.backup",
        "vcubev restore mine.backup --passphrase-to ~/mine.passphrase",
    ),
    "cost": ("vcubev cost mine", "vcubev cost mine --diff"),
    "place": ("vcubev place mine --memory-gb 2 --hubs 2", "vcubev place mine --cloud linode --json"),
    "leftovers": ("vcubev leftovers mine", "vcubev leftovers mine --all-regions"),
    "rotate ca": ("vcubev rotate ca --stack mine",),
    "rotate ssh": ("vcubev rotate ssh --stack mine --yes",),
    "rotate host": ("vcubev rotate host web-1 --stack mine",),
    "rotate hub": ("vcubev rotate hub oregon/a --stack mine",),
    "exposure": ("vcubev exposure lab", "vcubev exposure lab --json"),
    "env": ('eval "$(./scripts/vcubev env lab)"', "vcubev env lab --json"),
    "policy explain": ("vcubev policy explain web-1 ldap-1 389/tcp", "vcubev policy explain web-1 db-1 icmp -s mine"),
    "policy test": ("vcubev policy test --stack mine",),
    "dashboard": (
        "vcubev dashboard lab3",
        "vcubev dashboard mine --port 0 --open",
    ),
    "topology": (
        "vcubev topology lab",
        "vcubev topology lab --live -o network.svg",
        "vcubev topology mine --no-hosts -f dot",
    ),
    "ssh": (
        "vcubev ssh web-1",
        "vcubev ssh db-1 -- 'journalctl -u vcubev-paths | tail'",
        "vcubev ssh db-1 --via paris/a --stack mine -- uptime",
    ),
    "ssh-config": ("vcubev ssh-config mine >> ~/.ssh/config", "vcubev ssh-config mine -d /run/keys/mine"),
    "targets": ("vcubev targets mine -o /etc/prometheus/vcubev/mine.json",),
    "inventory": ("vcubev inventory mine > hosts.yaml", "vcubev inventory mine --list"),
    "join-bundle": (
        "vcubev add host laptop-1 --unmanaged --role staff --site paris",
        "vcubev up lab",
        "vcubev join-bundle laptop-1 -o laptop-1.ovpn",
    ),
    "init": (
        "vcubev init mine",
        "vcubev init mine --site oregon=lab/us-west:2 --site paris=lab/eu-west --role web --host web-1=web@paris",
    ),
    "add host": (
        "vcubev add host web-3 --role web --site paris",
        "vcubev add host db-3 --role db --site paris --private --stack mine --preview",
        'vcubev add host web-9 --role web --site office --machine admin@192.0.2.9 --host-key "ssh-ed25519 AAAA"',
    ),
    "add site": (
        "vcubev add site tokyo --cloud aws --region ap-northeast-1 --hubs 2 --stack mine",
        "vcubev add site office --cloud byo --hubs-of paris --stack mine",
    ),
    "add hub": ("vcubev add hub paris/b --stack mine",),
    "add role": ("vcubev add role cache --stack mine",),
    "add service": (
        "vcubev add service ldap --on ldap --port 389/tcp --port 636/tcp --from web",
        "vcubev add service front --on web --port 443/tcp --from any --stack mine",
    ),
    "remove host": ("vcubev remove host web-3 --dry-run",),
    "remove hub": ("vcubev remove hub paris/b --stack mine",),
    "remove site": ("vcubev remove site tokyo --stack mine --preview",),
    "remove role": ("vcubev remove role cache --stack mine",),
    "remove service": ("vcubev remove service front --stack mine",),
    "move": ("vcubev move web-1 paris --stack mine --preview",),
    "rename host": ("vcubev rename host web-1 shop --stack mine",),
    "rename role": ("vcubev rename role web front --stack mine",),
    "rename site": ("vcubev rename site site-1 oregon --stack mine",),
    "lab list": ("vcubev lab list", "vcubev lab list --stack lab3 --json"),
    "lab power-off": ("vcubev lab power-off oregon-a",),
    "lab start": ("vcubev lab start oregon-a",),
    "lab terminate": ("vcubev lab terminate web-1",),
    "lab cut": ("vcubev lab cut oregon-a", "vcubev lab cut oregon-a --from paris-a --one-way"),
    "lab restore": ("vcubev lab restore oregon-a",),
    "lab drop": ("vcubev lab drop web-1 --percent 20",),
    "lab block": ("vcubev lab block web-1 udp",),
    "lab mtu": ("vcubev lab mtu web-1 1280",),
    "lab rebind": ("vcubev lab rebind db-1",),
    "lab exec": ("vcubev lab exec web-1 -- ip route",),
    "lab console": ("vcubev lab console web-1",),
    "lab leftovers": ("vcubev lab leftovers", "vcubev lab leftovers --json"),
    "lab sweep": ("vcubev lab sweep --stack lab",),
    "lab image": ("vcubev lab image",),
}
PANELS = {
    "The network": (
        "up",
        "status",
        "topology",
        "dashboard",
        "doctor",
        "drift",
        "drain",
        "rotate",
        "backup",
        "restore",
        "down",
        "exposure",
        "targets",
        "env",
    ),
    "The stack file": ("init", "add", "remove", "move", "rename", "policy"),
    "Machines": ("ssh", "ssh-config", "inventory", "join-bundle", "lab"),
    "Clouds": ("cost", "place", "leftovers"),
}


def show_examples(app: typer.Typer, above: str = "") -> None:
    """Put examples below each command's help, and commands into panels."""
    for command in app.registered_commands:
        name = command.name or command.callback.__name__.replace("_", "-")
        command.rich_help_panel = _panel(name) if not above else None
        if lines := EXAMPLES.get(f"{above}{name}"):
            # A blank line ends a line here; brackets would be taken for markup.
            command.epilog = "\n\n".join(["Examples:", *(f"  {line}".replace("[", "\\[") for line in lines)])
    for group in app.registered_groups:
        group.rich_help_panel = _panel(group.name)
        show_examples(group.typer_instance, f"{group.name} ")


def _panel(name: str) -> str | None:
    return next((panel for panel, names in PANELS.items() if name in names), None)
