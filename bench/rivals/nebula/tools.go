//go:build tools

// Package nebula pins the nebula that bench/dataplane measures.
package nebula

import (
	_ "github.com/slackhq/nebula/cmd/nebula"
	_ "github.com/slackhq/nebula/cmd/nebula-cert"
)
