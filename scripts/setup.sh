# shellcheck shell=bash
# Sets up what a command needs, and says so only where something is lacking. Sourced by the commands beside it, after
# which the project's Python and the engine are on PATH. Nothing lands in the work tree.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/vcubev
[[ $(<"$root/engine/uv.txt") =~ uv==([0-9.]+) ]] && uv_version=${BASH_REMATCH[1]}
# What the lab and the daemons' own checkers use.
packages=(mmdebstrap systemd-container openvpn bird2 dnsmasq-base nftables conntrack iproute2 iputils-ping openssh-client openssl procps util-linux shellcheck graphviz)

say() { echo "set-up: $*" >&2; }

fail() {
  say "$*"
  exit 1
}

# ensure_packages NAME...: Debian packages; needs root.
ensure_packages() {
  local lacking=() package
  for package in "$@"; do
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
  # The only one that would listen on every address after the next boot.
  [[ " ${lacking[*]} " != *" prometheus "* ]] || systemctl disable --quiet prometheus.service 2>/dev/null || :
  [ "$done" = 0 ] || fail "apt-get failed: $(tail -n 20 "$log")"
  rm -f "$log"
}

# uv, by pip, into the cache where the computer has none.
ensure_uv() {
  uv=$(command -v uv) && "$uv" --version >/dev/null 2>&1 && return 0
  uv=$cache/uv-$uv_version/bin/uv
  [ ! -x "$uv" ] || return 0
  say "installing uv $uv_version"
  python3 -m pip --version >/dev/null 2>&1 || ensure_packages python3-pip
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

# The clouds of the stacks that a command's arguments name, or of stack lab.
clouds_of() {
  local argument files=()
  for argument in "$@"; do
    [ ! -f "$root/stacks/Pulumi.$argument.yaml" ] || files+=("$root/stacks/Pulumi.$argument.yaml")
  done
  [ ${#files[@]} -gt 0 ] || files=("$root/stacks/Pulumi.lab.yaml")
  sed -nE 's/.*\bcloud: *"?([a-z0-9]+).*/\1/p' "${files[@]}" | sort -u
}

# The engine, and stand-ins for the plugins that it cannot fetch. Arguments: the clouds that are asked.
ensure_engine() {
  local directories
  directories=$(python3 "$root/engine/get.py" "$@") || fail "there is no Pulumi engine"
  engine_path=$(paste -sd: <<<"$directories")
  export PATH=$environment/bin:$engine_path:$PATH
  VCUBEV_STANDINS=$(sed -n 's|.*/engine/standins/bin/||p' <<<"$directories" | paste -sd' ')
  export VCUBEV_STANDINS
  # Nothing is fetched behind the user's back, nor waited for: what can be had is there by now.
  export PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION=true PULUMI_SKIP_UPDATE_CHECK=true
}

# One of scripts/cli's commands, with all that it needs.
run_command() {
  if [ -z "${_VCUBEV_COMPLETE:-}" ] && [[ " $* " != *" --help "* ]]; then
    # Only lab stacks need this computer's daemons.
    case ${1:-} in
      up | down) ! clouds_of "${@:2}" | grep -qx lab || ensure_packages "${packages[@]}" ;;
      topology) [[ ! "$*" =~ (svg|png) ]] || command -v dot >/dev/null || ensure_packages graphviz ;;
    esac
  fi
  ensure_environment
  if [ -z "${_VCUBEV_COMPLETE:-}" ] && needs_engine "$@"; then
    local clouds
    mapfile -t clouds < <(clouds_of "${@:2}")
    ensure_engine "${clouds[@]}"
  fi
  # Files that the user names are theirs: beside the directory that they are in.
  export VCUBEV_PATH=$environment/bin${engine_path:+:$engine_path} VCUBEV_DIRECTORY=$PWD
  cd "$root" || exit
  # The lab's console by itself starts in half the time, and is called often.
  if [ "${1:-}" = lab ] && [ -z "${_VCUBEV_COMPLETE:-}" ] && [[ " $* " != *" --help "* ]]; then exec python3 -m lab.cli "${@:2}"; fi
  exec python3 -m scripts.cli "$@"
}

# Whether a command speaks to the engine. Nobody waits minutes for its build only to write a stack file.
needs_engine() {
  [[ " $* " != *" --help "* ]] || return 1
  case ${1:-} in
    '' | -* | init | lab | policy) return 1 ;;
    topology) [[ " $* " == *" --live "* ]] ;;
    # They ask the state which ids are in use, if there may be one.
    add | move | remove | rename)
      [[ " $* " == *" --preview "* || -n ${PULUMI_BACKEND_URL:-} || -e ${PULUMI_CREDENTIALS_PATH:-${PULUMI_HOME:-$HOME/.pulumi}}/credentials.json ||
        -e ${XDG_STATE_HOME:-$HOME/.local/state}/vcubev/backend ]]
      ;;
  esac
}

# Compiled code halves the start of each of the five Python processes of an `up`.
unset PYTHONDONTWRITEBYTECODE
