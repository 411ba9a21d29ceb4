//go:build tools

// Package languagepython pins the newest sdk module that still holds the Python language host.
package languagepython

import _ "github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python"
