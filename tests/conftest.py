"""For all tests."""

import os

# An Output that becomes text by mistake raises here instead of shipping "Calling __str__ on an Output[T]...".
os.environ["PULUMI_ERROR_OUTPUT_STRING"] = "true"
