"""What a stack file asks of a cloud, checked against what is known of that cloud."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence

from components.model.entries import SiteEntry
from components.model.facts import CloudFacts, CloudNotInstalled
from components.model.reading import StackReader
from components.model.topology import HubView, SiteView

Place = tuple[str, ...]


def facts_of(clouds: Collection[str], cloud: object) -> CloudFacts | None:
    """Return what is known of a cloud, if anything is.

    Raises:
        CloudNotInstalled: Its SDK is lacking.
    """
    return clouds[cloud] if isinstance(clouds, Mapping) and isinstance(cloud, str) and cloud in clouds else None


class CloudChecks:
    """One cloud's rules, applied to sites."""

    def __init__(self, reader: StackReader, cloud: str, facts: CloudFacts) -> None:
        self._reader, self._cloud, self._facts = reader, cloud, facts

    def site(self, entry: SiteEntry, hubs: Sequence[HubView], place: Place) -> None:
        """Note what this cloud can't give to a site."""
        self._region(entry, place)
        self._network(entry, place)
        facts = self._facts
        if entry.account is not None and not facts.accounts:
            self._no_option((*place, "account"), entry.account)
        if facts.brings_machines:
            for key in ("size", "image"):
                if (value := getattr(entry.machine, key)) is not None:
                    self._no_option((*place, "machine", key), value)
        if len(hubs) > 1 and facts.zones > 1 and len({hub.zone for hub in hubs}) == 1:
            limit = f"are all in zone {hubs[0].zone} of {facts.zones}: what fails there would take the whole site"
            cure = f"Write zone: {(hubs[0].zone + 1) % facts.zones} at one of them, or give it another id."
            self._reader.note((*place, "hubs"), None, limit, cure)

    def _region(self, entry: SiteEntry, place: Place) -> None:
        here, regions = (*place, "region"), self._facts.regions
        if entry.region is None:
            if not self._facts.brings_machines:
                self._reader.note(here, None, "is missing", "Add it.")
        elif regions and entry.region not in regions:
            near = difflib.get_close_matches(entry.region, regions, n=3, cutoff=0.5) or regions[:3]
            limit = f"is not one of the {len(regions)} regions of cloud {self._cloud}"
            self._reader.note(here, entry.region, limit, f"Choose another, for example {', '.join(near)}.")

    def _network(self, entry: SiteEntry, place: Place) -> None:
        facts, network = self._facts, entry.network
        if network.nat is not None and network.nat not in facts.nat:
            self._no_option((*place, "network", "nat"), network.nat, facts.nat)
        if network.vpc is not None:
            if not facts.takes_vpc:
                self._no_option((*place, "network", "vpc"), network.vpc)
            elif entry.underlay is None:
                cure = "Write a free part of that network's prefix."
                self._reader.note((*place, "underlay"), None, "is missing: the network is one that exists", cure)
        if network.zones and not facts.takes_zones:
            self._no_option((*place, "network", "zones"), ", ".join(network.zones))
        elif network.zones and len(set(network.zones)) != facts.zones:
            cure = f"Name {facts.zones}, each once."
            limit = f"must be {facts.zones} zones, as many as cloud {self._cloud} spreads a site over"
            self._reader.note((*place, "network", "zones"), ", ".join(network.zones), limit, cure)

    def _no_option(self, place: Place, value: object, choices: Sequence[str] = ()) -> None:
        cure = f"Choices: {', '.join(choices)}." if choices else "Take it out."
        self._reader.note(place, value, f"is not an option of cloud {self._cloud}", cure)


def check_operators(reader: StackReader, sites: Sequence[SiteView], clouds: Collection[str], named: bool) -> None:
    """Note that nobody could reach the machines: clouds on the internet don't know where the operator is.

    Args:
        named: Whether the stack file names operators.
    """
    for site in () if named else sites:
        try:
            facts = facts_of(clouds, site.cloud)
        except CloudNotInstalled:
            continue  # told at the site
        if facts and not facts.sees_operator and not facts.brings_machines:
            limit = f"is missing or empty: SSH could reach no machine of site {site.name}"
            cure = 'Write the prefixes that you come from, for example ["203.0.113.7/32"].'
            reader.note(("operators",), None, limit, cure)
            return
