"""The package's version, for the handshake and for reports."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("sfumato")
except PackageNotFoundError:  # run from a source tree that was not installed
    VERSION = "0+unknown"
