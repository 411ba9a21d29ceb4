"""Stack files that hypothesis draws: any overlay, roles, sites, hubs and hosts that the rules allow."""

from ipaddress import IPv4Network, IPv6Network

from hypothesis import strategies as st

from components.model.addressing import MEMBER_IDS, OVERLAY_PREFIX_LENS, role_ids

UNDERLAYS = [IPv4Network("172.30.0.0/16")]


@st.composite
def overlays(draw):
    """An overlay clear of the default underlays."""
    prefix_len = draw(st.sampled_from(OVERLAY_PREFIX_LENS))
    slot = draw(st.integers(0, (1 << prefix_len) - 1))
    ipv4 = IPv4Network((slot << (32 - prefix_len), prefix_len))
    while (
        any(ipv4.overlaps(underlay) for underlay in UNDERLAYS)
        or ipv4.overlaps(IPv4Network("0.0.0.0/8"))
        or (ipv4.is_multicast or ipv4.is_loopback or ipv4.is_link_local)
    ):
        ipv4 = IPv4Network((10 << 24, max(prefix_len, 8)))
    ipv6 = IPv6Network(((0xFD << 120) | (draw(st.integers(0, (1 << 40) - 1)) << 80), 48))
    return ipv4, ipv6


@st.composite
def stacks(draw):
    """A whole stack file's values, right in every rule."""
    ipv4, ipv6 = draw(overlays())
    fitting = role_ids(ipv4)
    roles = draw(st.lists(st.integers(fitting.start, fitting.stop - 1), min_size=1, max_size=4, unique=True))
    site_ids = draw(st.lists(st.integers(1, 254), min_size=1, max_size=4, unique=True))
    hub_ids = draw(
        st.lists(st.sampled_from(MEMBER_IDS), min_size=len(site_ids), max_size=len(site_ids) + 3, unique=True)
    )
    members = draw(
        st.lists(
            st.tuples(st.integers(0, len(roles) - 1), st.sampled_from(MEMBER_IDS), st.booleans()),
            max_size=8,
            unique_by=lambda member: member[:2],
        )
    )
    sites = {
        f"s{number}": {"id": site_id, "cloud": "lab", "region": "here", "hubs": {}, "hosts": {}}
        for number, site_id in enumerate(site_ids)
    }
    names = list(sites)
    for number, hub_id in enumerate(hub_ids):
        sites[names[number % len(names)]]["hubs"][f"h{number}"] = {"id": hub_id}
    for number, (role, member_id, private) in enumerate(members):
        site = sites[names[number % len(names)]]
        site["hosts"][f"m{number}"] = {"role": f"r{role}", "id": member_id, "private": private}
    return {
        "overlay": {"ipv4": str(ipv4), "ipv6": str(ipv6)},
        "roles": {f"r{number}": {"id": role_id} for number, role_id in enumerate(roles)},
        "sites": sites,
    }
