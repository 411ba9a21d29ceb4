# Run by SSH, pinned to the key that cloud-init was seeded with. Prints the public half of a host key made here.
# May be run again: the key is made once. The seeded key goes away with the first installation.
set -eu
# What cloud-init once did on a machine that the user has brought is none of ours.
if [ ! -e /var/lib/vcubev/brought ] && command -v cloud-init >/dev/null; then
  sudo cloud-init status --wait >/dev/null 2>&1 || sudo cloud-init status --long >&2
fi
sudo sh -eu -c '
  key=/etc/ssh/ssh_host_ed25519_key
  if [ ! -s "$key" ] || [ ! -s "$key.pub" ]; then
    umask 077
    rm -f "$key" "$key.pub"
    ssh-keygen -q -t ed25519 -N "" -C "" -f "$key"
  fi
  systemctl reload ssh
  # Connections are tracked from here on: the packet filter that comes later then knows those that go through this
  # machine at that moment, for example to a private host.
  printf "table inet vcubev { chain input { type filter hook input priority filter; ct state established accept; }; }\n" |
    nft -f -
  cut -d" " -f1,2 "$key.pub"
'
