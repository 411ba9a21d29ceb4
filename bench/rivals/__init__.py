"""Other networks, in lab machines that are plain Debian."""
