"""One mesh, as the stack file describes it."""

import pulumi

from components import lean, targeted
from components.clouds import known_clouds, sign_in
from components.mesh import Mesh, MeshArgs
from components.model.config import config_values
from components.model.errors import StackErrors
from components.model.stackfile import load

lean.begin()
try:
    topology = load(config_values(pulumi.runtime.config.CONFIG.get()), known_clouds())
except StackErrors as errors:
    raise pulumi.RunError(str(errors)) from None
only = targeted.hosts_of_this_run(pulumi.get_stack(), topology.hosts)
mesh = Mesh(pulumi.get_stack(), MeshArgs(topology, sign_in(topology), only))
pulumi.run(lean.once_begun(mesh.stack_outputs() if only is None else mesh.outputs_with_others()))
