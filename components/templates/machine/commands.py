"""Runs a command, and tells what was wrong with one that failed."""

import subprocess
import sys


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr.strip()}\n{details(command)}")


def details(command):
    if command[0] != "systemctl":
        return ""
    log = subprocess.run(["journalctl", "-n", "15", "--no-pager", "-u", command[-1]], capture_output=True, text=True)
    return log.stdout
