"""A stack with services of every kind."""

BASE = {
    "overlay": {"ipv4": "10.100.0.0/16", "ipv6": "fd5c:ab1e::/48"},
    "roles": {"web": {"id": 1}, "ldap": {"id": 2}, "db": {"id": 3}},
    "sites": {
        "oregon": {
            "id": 1,
            "cloud": "lab",
            "region": "here",
            "hubs": {"a": {"id": 1}},
            "hosts": {"web-1": {"role": "web", "id": 1}, "ldap-1": {"role": "ldap", "id": 1}},
        },
        "paris": {
            "id": 2,
            "cloud": "lab",
            "region": "there",
            "hubs": {"a": {"id": 2}},
            "hosts": {"web-2": {"role": "web", "id": 2}, "db-1": {"role": "db", "id": 1}},
        },
    },
    "services": {
        "ldap": {"on": "ldap", "ports": ["389/tcp", "636/tcp"], "from": ["web"]},
        "sync": {"on": "db-1", "ports": ["6000-6010/udp"], "from": ["host:web-2", "10.100.2.0/24"]},
        "front": {"on": "web", "ports": ["80/tcp"], "from": ["any"]},
        "near": {"on": "db-1", "ports": ["5432/tcp"], "from": ["oregon"]},
    },
}
