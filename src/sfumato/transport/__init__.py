"""How messages reach the clouds: in process, over gRPC with TLS both ways, and recorded."""

import os

# gRPC's C core reads this when it is imported; it would write every refused handshake to the terminal.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
