"""Hosts that have their traffic at a hub: whether they can leave it, and whether they have."""

from ipaddress import IPv4Address

from tests.agents.loading import load

guests = load("guests")
WEB, DB, LDAP = (IPv4Address(f"10.100.{role}.1") for role in (1, 2, 3))
SHOWN = """1007-Table master4:
 10.100.1.1/32        unicast [hosts_kernel4 06:18:43.199] * (1006)
\tdev hosts-udp
 10.100.2.1/32        unicast [hosts_kernel4 06:18:43.199] (1004)
\tdev hosts-udp
 10.100.3.1/32        unicast [hosts_kernel4 06:18:43.199] * (1002)
\tdev hosts-tcp
"""


def heard(*said):
    house = guests.Guests()
    for at, host, question in said:
        house.hear(at, host, question)
    return house


def test_hosts_that_birds_own_route_is_the_best_to_are_here():
    assert sorted(heard().here(SHOWN)) == [WEB, LDAP]
    assert heard().here(SHOWN.replace(" 10.100.1.1", "1007-10.100.1.1"))[0] in (WEB, LDAP)
    assert heard().here("0001 no such thing\n") == []


def test_a_host_that_says_so_has_left_though_bird_does_not_know_it_and_comes_again_with_its_next_question():
    house = heard((0, WEB, {"spare": True, "left": True}))
    assert house.here(SHOWN) == [LDAP]
    house.hear(1, WEB, {"spare": True, "claim": True})
    assert sorted(house.here(SHOWN)) == [WEB, LDAP]


def test_hosts_with_no_other_tunnel_are_stranded_as_long_as_they_say_so():
    house = heard((0, WEB, {"spare": False}), (0, LDAP, {"spare": True}))
    here = house.here(SHOWN)
    assert house.stranded(1, here) == 1
    assert house.stranded(guests.FRESH_SECONDS + 1, here) == 0, "it may be gone"
    house.hear(2, WEB, {"spare": True})
    assert house.stranded(2, here) == 0


def test_nobody_waits_for_hosts_that_say_nothing_of_a_spare():
    house = heard((0, WEB, {"claim": True}), (0, LDAP, {"spare": "no", "left": True}))
    here = house.here(SHOWN)
    assert sorted(here) == [WEB, LDAP] and house.stranded(1, here) == 0


def test_a_host_whose_traffic_is_elsewhere_is_forgotten():
    house = heard((0, WEB, {"spare": False}), (0, DB, {"spare": False}))
    house.here(SHOWN)
    assert house.stranded(1, [WEB, DB]) == 1
