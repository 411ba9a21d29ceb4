"""Which hubs have a link: all pairs of a small network, and of a large one a core and what leans on it.

n hubs have n(n-1)/2 pairs: 66 at 12, 1 225 at 50, 32 131 at 254. So only the hubs of the core, those of the lowest ids,
are linked all to all; each later one, a leaf, to two of them in two sites, and to its own site's first hubs. A leaf's
links follow from its own id and the core: another leaf changes none of them.

Source: docs/adr/0005-partial-mesh.md
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from components.model.topology import HubView, LinkView

# A core's hub carries two links for each dozenth of the leaves, and holds a path to each host by every other one.
FULL_UP_TO = 12
UPLINKS = 2
# Hubs of one site are near each other: the way between two must not lead over another site. A later one has links to
# so many of the first.
SIBLINGS = 3


def core(hubs: Iterable[HubView], full_up_to: int) -> tuple[HubView, ...]:
    """Return the hubs that are linked all to all: the lowest ids, of at least two sites where there are two."""
    ordered = sorted(hubs, key=lambda hub: hub.id)
    chosen, others = ordered[:full_up_to], ordered[full_up_to:]
    elsewhere = next((hub for hub in others if hub.site != ordered[0].site), None)
    if elsewhere is not None and len({hub.site for hub in chosen}) == 1:
        chosen[-1] = elsewhere
    return tuple(chosen)


def uplinks(leaf: HubView, middle: Sequence[HubView]) -> tuple[HubView, ...]:
    """Return the core's hubs that a leaf has a link to. It sends by the first: its own site's, if there is one.

    Spread by rendezvous hashing, so that a hub that leaves the core moves the links of its own leaves only.
    """
    ordered = sorted(middle, key=lambda hub: (hub.site != leaf.site, _weight(leaf, hub)))
    first = ordered[0]
    others = [hub for hub in ordered[1:] if hub.site != first.site] or ordered[1:]
    return (first, *others[: UPLINKS - 1])


def links(hubs: Iterable[HubView], full_up_to: int = FULL_UP_TO) -> tuple[LinkView, ...]:
    """Return all links, in the order of the hubs' ids."""
    ordered = sorted(hubs, key=lambda hub: hub.id)
    middle = core(ordered, full_up_to)
    found = {frozenset((one, other)): (None, 0, False) for one in middle for other in middle if one != other}
    leaves = [hub for hub in ordered if hub not in middle]
    for leaf in leaves:
        found |= {
            frozenset((leaf, hub)): (leaf, rank, False) for rank, hub in enumerate(uplinks(leaf, middle), start=1)
        }
    for leaf in leaves:
        for hub in [hub for hub in ordered if hub.site == leaf.site and hub.id < leaf.id][:SIBLINGS]:
            # One of the core is one more way up, the last to be taken.
            found.setdefault(frozenset((leaf, hub)), (leaf, UPLINKS + 1, False) if hub in middle else (None, 0, True))
    pairs = [(*sorted(pair, key=lambda hub: hub.id), *role) for pair, role in found.items()]
    return tuple(LinkView(*pair) for pair in sorted(pairs, key=lambda pair: (pair[0].id, pair[1].id)))


def _weight(leaf: HubView, hub: HubView) -> bytes:
    return hashlib.sha256(f"{leaf.id}|{hub.id}".encode()).digest()
