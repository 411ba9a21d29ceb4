# shellcheck shell=sh
# Sets `ipv4` and `ipv6` from the address in the verified certificate; ends the hook where it is none of a host's.
# The address plan: docs/adr/0002-address-plan.md.
# shellcheck source=/dev/null
. /etc/vcubev/overlay.env

refuse() {
  echo "refused ${common_name:-unknown}: $1" >&2
  exit 1
}

ipv4=${X509_0_serialNumber:-}
[ -n "$ipv4" ] || refuse "no address in its certificate"
case $ipv4 in *[!0-9.]* | *.*.*.*.* | .* | *. | *..*) refuse "$ipv4 is no address" ;; *.*.*.*) ;; *) refuse "$ipv4 is no address" ;; esac
old_ifs=$IFS
IFS=.
# shellcheck disable=SC2086 # split on purpose
set -- $ipv4 "$@"
IFS=$old_ifs
for octet in "$1" "$2" "$3" "$4"; do
  # A leading zero would make it an octal number to the shell.
  case $octet in 0 | [1-9] | [1-9][0-9] | 1[0-9][0-9] | 2[0-4][0-9] | 25[0-5]) ;; *) refuse "$ipv4 is no address" ;; esac
done
offset=$((($1 << 24) + ($2 << 16) + ($3 << 8) + $4 - OVERLAY_IPV4_START))
shift 4
{ [ "$offset" -ge 0 ] && [ "$offset" -lt "$OVERLAY_IPV4_SIZE" ]; } || refuse "$ipv4 is not in the overlay"
role=$((offset >> 8))
id=$((offset & 255))
[ "$role" -ge 1 ] || refuse "$ipv4 is in the block of the hubs"
{ [ "$id" -ge 1 ] && [ "$id" -le 254 ]; } || refuse "$ipv4 is no member's address"
# In hexadecimal with no other program, and no shell of its own as $(...) would be.
hex() {
  hexed=
  rest=$1
  while [ "$rest" -gt 0 ]; do
    digits=0123456789abcdef
    skip=$((rest & 15))
    while [ "$skip" -gt 0 ]; do
      digits=${digits#?}
      skip=$((skip - 1))
    done
    hexed=${digits%"${digits#?}"}$hexed
    rest=$((rest >> 4))
  done
}
hex "$role"
ipv6=$OVERLAY_IPV6_HEXTETS:$hexed
hex "$id"
# shellcheck disable=SC2034 # for the hook that reads this file
ipv6=$ipv6::$hexed

# another FILE: whether a session's file is of another name; `name` is that name.
another() {
  [ -s "$1" ] && read -r name <"$1" && [ "$name" != "$common_name" ]
}

# tell come | go: say to vcubev-routes that this host has a session by this daemon, or has none any more. Opened both ways:
# to open it for writing alone would wait for a reader.
tell() {
  # shellcheck disable=SC2154 # OpenVPN's: the device of this daemon
  [ -p /run/vcubev-routes/sessions ] && printf '%s %s %s\n' "$1" "$ipv4" "$dev" 1<>/run/vcubev-routes/sessions
}
