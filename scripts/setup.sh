# shellcheck shell=bash
# Sets up what a command needs, and says so only where something is lacking. Sourced by the commands beside it, after
# which the project's Python and the engine are on PATH. Nothing lands in the work tree.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/vcubev
[[ $(<"$root/engine/uv.txt") =~ uv==([0-9.]+) ]] && uv_version=${BASH_REMATCH[1]}
# What the lab and the daemons' own checkers use.
packages=(mmdebstrap systemd-container openvpn bird2 nftables conntrack iproute2 iputils-ping openssh-client openssl procps util-linux shellcheck)

say() { echo "set-up: $*" >&2; }

fail() {
  say "$*"
  exit 1
}

# Debian packages; needs root.
ensure_packages() {
  local lacking=() package
  for package in "${packages[@]}"; do
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || lacking+=("$package")
  done
  [ ${#lacking[@]} -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || fail "these Debian packages are lacking, and installing them needs root: ${lacking[*]}"
  say "installing Debian packages: ${lacking[*]}"
  local log guard=/usr/sbin/policy-rc.d guarded=
  log=$(mktemp)
  # The daemons are for the lab's machines; none of them may start on this computer.
  if [ ! -e "$guard" ]; then
    guarded=1
    printf '#!/bin/sh\nexit 101\n' >"$guard"
    chmod 755 "$guard"
  fi
  local done=0
  { apt-get update && apt-get install -y --no-install-recommends "${lacking[@]}"; } >"$log" 2>&1 </dev/null || done=$?
  [ -z "$guarded" ] || rm -f "$guard"
  [ "$done" = 0 ] || fail "apt-get failed: $(tail -n 20 "$log")"
  rm -f "$log"
}

# uv, by pip, into the cache where the computer has none.
ensure_uv() {
  uv=$(command -v uv) && "$uv" --version >/dev/null 2>&1 && return 0
  uv=$cache/uv-$uv_version/bin/uv
  [ ! -x "$uv" ] || return 0
  say "installing uv $uv_version"
  python3 -m pip --version >/dev/null 2>&1 || { packages=(python3-pip) && ensure_packages; }
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-compile \
    --target "$cache/uv-$uv_version" --only-binary :all: --require-hashes --requirement "$root/engine/uv.txt" ||
    fail "pip could not install uv"
}

# The project's Python environment, one for each lock file.
ensure_environment() {
  local hash
  hash=$(cat "$root/uv.lock" "$root/pyproject.toml" <(python3 --version) | sha256sum | cut -c1-12)
  environment=$cache/venv-$hash
  if [ ! -e "$environment/.complete" ]; then
    mkdir -p "$cache"
    ensure_uv
    (
      flock 9
      [ ! -e "$environment/.complete" ] || exit 0
      say "making the Python environment $environment"
      UV_PROJECT_ENVIRONMENT=$environment UV_PYTHON_DOWNLOADS=never \
        "$uv" sync --quiet --frozen --compile-bytecode --project "$root" --python "$(python3 -c 'import sys; print(sys.executable)')" &&
        touch "$environment/.complete"
    ) 9>"$cache/.environment.lock" || fail "uv could not make the Python environment"
  fi
  export PATH=$environment/bin:$PATH VIRTUAL_ENV=$environment
}

# The engine, and stand-ins for the plugins that it cannot fetch.
ensure_engine() {
  local directories
  directories=$(python3 "$root/engine/get.py") || fail "there is no Pulumi engine"
  engine_path=$(paste -sd: <<<"$directories")
  export PATH=$environment/bin:$engine_path:$PATH
  case $engine_path in
    */engine/standins/bin) export VCUBEV_STANDINS="tls command aws linode" ;;
    *) unset VCUBEV_STANDINS ;;
  esac
  # Nothing is fetched behind the user's back, nor waited for: what can be had is there by now.
  export PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION=true PULUMI_SKIP_UPDATE_CHECK=true
}

# One of scripts/cli's commands, with all that it needs.
run_command() {
  # Only lab stacks need this computer's daemons.
  if grep -qs 'cloud: *lab' "$root/stacks/Pulumi.${2:-lab}.yaml"; then ensure_packages; fi
  ensure_environment
  ensure_engine
  cd "$root" || exit
  exec python3 -m scripts.cli "$@"
}

# Compiled code halves the start of each of the five Python processes of an `up`.
unset PYTHONDONTWRITEBYTECODE
