"""Stand-ins for the official provider plugins `tls`, `command`, `aws`, `linode`, where those cannot be downloaded.

The engine finds `bin/NAME/pulumi-resource-NAME` on PATH, before what is installed; engine/get.py puts only those there
whose official plugin is lacking. They report the version of the SDK packages beside them, write the same property names
to the state, and follow the same rules on what a change does, so that a stack made with them goes on with the official
plugins, and the other way round.

Read for this (sources, at the tags these versions were built from):

* pulumi-command v1.2.1 `provider/pkg/provider/{local,remote}`, on pulumi-go-provider v1.3.0 `infer/resource.go`:
  defaults and secrets are written in Check, a changed input is an update that runs `update` or else `create`, only
  `triggers` replaces, `stdout` and `stderr` are plain unless the program names them in `additional_secret_outputs`.
* terraform-provider-tls d72d90e1 `internal/provider`, below pulumi-tls v5 and pulumi-terraform-bridge
  `pkg/pf/tfbridge` (v3.136-137):
  this bridge writes no `__defaults`, leaves null properties out, repeats `id` among the outputs, and writes `__meta`
  only where the Terraform schema has a version (PrivateKey). It also writes `__pulumi_raw_state_delta`, which we do
  not: without it the official plugin reads the state by its older rule, which is exact for these four types.
"""
