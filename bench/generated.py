"""Stack files of any size: hosts spread evenly over sites, roles and hubs, as `vcubev:` values."""

from __future__ import annotations

from typing import Any

from components.model.addressing import MEMBER_IDS

SITES = 10
HOSTS_A_ROLE = len(MEMBER_IDS)
PRIVATE_EVERY = 4  # every fourth host has no public address, and is reached through its site's hub


def stack_values(hosts: int, sites: int = SITES, hubs_a_site: int = 1) -> dict[str, Any]:
    """Return the values of a stack of the lab's cloud. Host n is the same in every stack that holds it.

    Args:
        hosts: In all sites together.
    """
    roles = {f"role-{role}": {"id": role} for role in range(1, (hosts - 1) // HOSTS_A_ROLE + 2)}
    declared: dict[str, Any] = {
        f"site-{site}": {
            "id": site,
            "cloud": "lab",
            "region": f"region-{site}",
            # A private network that holds all of a large site's machines.
            "underlay": f"172.{15 + site}.0.0/16" if site <= 16 else f"192.168.{site}.0/24",
            "hubs": {f"h{hub}": {"id": (site - 1) * hubs_a_site + hub} for hub in range(1, hubs_a_site + 1)},
            "hosts": {},
        }
        for site in range(1, sites + 1)
    }
    for number in range(hosts):
        role, member = divmod(number, HOSTS_A_ROLE)
        entry: dict[str, Any] = {"role": f"role-{role + 1}", "id": MEMBER_IDS[member]}
        if number % PRIVATE_EVERY == PRIVATE_EVERY - 1:
            entry["private"] = True
        declared[f"site-{number % sites + 1}"]["hosts"][f"host-{number}"] = entry
    return {
        "overlay": {"ipv4": "10.100.0.0/16", "ipv6": "fd5c:ab1e::/48"},
        "roles": roles,
        "sites": declared,
    }
