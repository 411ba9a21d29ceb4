# What a stack could leave behind on a machine, each kind of it under a heading; less what any login or boot changes.
# Run as root.
section() { echo "## $1"; }

kept() {
  find /etc /usr/local /home /root /opt /srv /var/lib -xdev \( \
    -path /var/lib/apt -o -path /var/lib/dpkg -o -path /var/lib/systemd -o -path /var/lib/cloud -o \
    -path /var/lib/chrony -o -path /var/lib/sudo -o -path /var/lib/private -o -name '*-' -o -name .pwd.lock \
    \) -prune -o "$@"
}
section files
kept -printf '%p %m %u:%g %l\n' | sort
kept -type f -exec sha256sum {} + | sort -k2

section users
getent passwd
getent group

section units
systemctl list-unit-files --no-legend --plain | sort
systemctl list-units --all --no-legend --plain --type=service,socket,timer,path | awk '{ print $1, $2, $3 }' |
  grep -v -e '^user@' -e '^user-runtime-dir@' -e '^apt-' -e '^session-' | sort

section network
ip -o link show | cut -d' ' -f2
ip -o address show | awk '{ print $2, $3, $4 }'
ip -4 rule
ip -6 rule
ip -4 route show table all
ip -6 route show table all | sed 's/ pref .*//; s/expires [^ ]*//'

section filter
nft list ruleset

section kernel
sysctl -a 2>/dev/null | grep -E '(forwarding|ip_forward|rp_filter|send_redirects) ='

section processes
pgrep -l 'openvpn|fping|bird|python|dnsmasq' | cut -d' ' -f2 | sort

section run
find /run -maxdepth 1 -name '*vcubev*'
