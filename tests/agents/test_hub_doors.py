"""The OpenVPN processes of a hub: which there are, and which let nobody in."""

from tests.agents.loading import load

doors = load("doors")


def test_a_process_that_does_not_run_is_told_from_one_that_has_no_hosts(tmp_path, monkeypatch):
    monkeypatch.setattr(doors, "CONFIGS", tmp_path)
    monkeypatch.setattr(doors, "NETWORK", tmp_path)
    for door in ("udp", "udp2", "tcp"):
        (tmp_path / f"hosts-{door}.conf").touch()
    for door, carrier in {"udp": "0\n", "tcp": "1\n"}.items():  # udp2's device was never made
        (tmp_path / f"hosts-{door}").mkdir()
        (tmp_path / f"hosts-{door}" / "carrier").write_text(carrier)
    assert doors.shut() == ["udp", "udp2"]
    assert doors.counted("10.100.1.1/32 dev hosts-tcp") == {"tcp": 1, "udp": 0, "udp2": 0}
