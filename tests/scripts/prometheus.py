"""What Prometheus says of metrics, and which of those asked for are not the agents'."""

import subprocess

# node_exporter's; tests/lab sees that members serve them.
OTHERS = {
    "node_cpu_seconds_total",
    "node_filesystem_avail_bytes",
    "node_filesystem_size_bytes",
    "node_memory_MemAvailable_bytes",
    "node_memory_MemTotal_bytes",
    "node_network_receive_bytes_total",
    "node_network_transmit_bytes_total",
    "node_textfile_mtime_seconds",
}


def promtool_takes(page):
    """Hold what a member serves to Prometheus' own checker of metrics."""
    done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True)
    # It has opinions on node_exporter's own names.
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "vcubev" in line or "error while" in line]
    assert not ours, "\n".join(ours)
