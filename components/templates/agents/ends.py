"""When a hub's certificates and its revocation list end, and what Prometheus may read of all that its agent knows."""

import json
import pathlib

LIST = pathlib.Path("/run/vcubev-crl/crl.pem")
TOLD = pathlib.Path("/etc/vcubev/crl/crl.json")
# The textfile collector of node_exporter takes it, by a link in its directory.
METRICS = "vcubev.prom"
HELP = {
    "vcubev_end_seconds": "When the hub's certificate, its authority and the revocation list end, in epoch seconds.",
    "vcubev_revoked_certificates": "How many certificates this hub refuses by its list.",
    "vcubev_hub_fit": "Whether this hub takes hosts.",
    "vcubev_hub_hosts": "Hosts with a tunnel to this hub (carried), and those whose traffic goes by it (preferred).",
    "vcubev_hub_sessions": "Routing sessions that are up, of those to all other hubs (peers).",
}


class Ends:
    """Looks at the list again when it has changed."""

    def __init__(self) -> None:
        self.ends: dict[str, int] = {}
        self.revoked = 0
        self._seen = 0
        self._written = ""

    @property
    def missing(self) -> bool:
        """Whether OpenVPN would not start, for want of a list."""
        return not LIST.exists()

    def look(self) -> None:
        try:
            seen = TOLD.stat().st_mtime_ns
            if seen != self._seen:
                told = json.loads(TOLD.read_text())
                self.ends, self.revoked, self._seen = told["ends"], len(told["serials"]), seen
        except (OSError, ValueError, KeyError, TypeError):
            self.ends, self.revoked, self._seen = {}, 0, 0

    def write(self, directory: pathlib.Path, state: dict) -> None:
        text = self.metrics(state)
        if text != self._written:
            draft = directory / f"{METRICS}.new"
            draft.write_text(text)
            draft.replace(directory / METRICS)
            self._written = text

    def metrics(self, state: dict) -> str:
        values = {f'vcubev_end_seconds{{what="{what}"}}': end for what, end in sorted(self.ends.items())}
        values["vcubev_revoked_certificates"] = self.revoked
        values["vcubev_hub_fit"] = state["fit"]
        values |= {f'vcubev_hub_hosts{{kind="{kind}"}}': state[kind] for kind in ("carried", "preferred")}
        values |= {f'vcubev_hub_sessions{{kind="{kind}"}}': state[kind] for kind in ("peers", "sessions")}
        lines, described = [], set()
        for name, value in values.items():
            metric = name.partition("{")[0]
            if metric not in described:
                described.add(metric)
                lines += [f"# HELP {metric} {HELP[metric]}", f"# TYPE {metric} gauge"]
            lines.append(f"{name} {value}")
        return "\n".join(lines) + "\n"
