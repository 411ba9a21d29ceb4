//go:build tools

// Package wireguard pins the wireguard-go that bench/dataplane measures.
package wireguard

import _ "golang.zx2c4.com/wireguard"
