"""One mesh, as the stack file describes it."""

import pulumi

from components import lean
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
mesh = Mesh(pulumi.get_stack(), MeshArgs(topology, sign_in(topology)))
pulumi.run(lean.once_begun(mesh.stack_outputs()))
