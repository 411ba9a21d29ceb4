"""Parts of the lab that need no machine."""

import threading

from lab import containers


def test_looking_at_a_machine_that_stops_meanwhile_is_no_error(tmp_path, monkeypatch):
    """systemd removes its services' groups while the lab counts their processes."""
    group = tmp_path / "group"
    monkeypatch.setattr(containers, "cgroups", lambda namespace: [group])
    ended = threading.Event()

    def stopping():
        while not ended.is_set():
            services = [group / f"slice-{number}" / "service" for number in range(20)]
            for service in services:
                service.mkdir(parents=True)
                (service / "cgroup.procs").write_text("")
            for service in services:
                (service / "cgroup.procs").unlink()
                service.rmdir()
                service.parent.rmdir()

    thread = threading.Thread(target=stopping)
    thread.start()
    try:
        for _ in range(300):
            assert containers.processes("any") == []
    finally:
        ended.set()
        thread.join()
