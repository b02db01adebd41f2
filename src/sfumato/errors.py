"""Every error that sfumato raises on purpose.

::

    SfumatoError
    ├── ModelError        a model folder is missing, incomplete or damaged
    ├── WireError         a message is truncated, altered, oversized or of another version
    ├── TransportError    a cloud cannot be reached, refused us, died or hung
    │   └── AccessRefused wrong token, wrong certificate, or too many sessions
    ├── WorkerError       a cloud answered that it could not compute
    ├── SpecMismatch      client and cloud disagree on protocol, spec, model or version
    ├── ClaimError        going on would break what the protocol promises
    ├── ExperimentError   a sweep had to stop; what it finished is kept
    ├── StorageError      what was kept on disk is missing, damaged, or can be read by others
    ├── LacksInput        an attack was not shown what it works on
    ├── BudgetSpent       an attack asked a network more often than it may
    └── Unsupported       this model or setting cannot run under this protocol; says what to use

Wrong arguments are ``ValueError``. Each message is one sentence that says what was wrong and what to do, and
never holds a prompt, a tensor or a key.
"""


class SfumatoError(Exception):
    """Base of all errors that end a run with exit code 1."""


class ModelError(SfumatoError):
    """A model folder is missing, incomplete or damaged."""


class WireError(SfumatoError):
    """A message is truncated, altered, oversized, unexpected or of another version."""


class TransportError(SfumatoError):
    """A cloud cannot be reached, died, or did not answer in time."""


class AccessRefused(TransportError):
    """A cloud refused the token or certificate, or has no free session."""


class WorkerError(SfumatoError):
    """A cloud answered that it could not do what was asked."""


class SpecMismatch(SfumatoError):
    """Client and cloud disagree on protocol, spec, model or version."""


class ClaimError(SfumatoError):
    """Going on would break what the protocol promises."""


class ExperimentError(SfumatoError):
    """A sweep had to stop; what it finished is kept."""


class StorageError(SfumatoError):
    """What was kept on disk is missing, damaged, or can be read by others."""


class LacksInput(SfumatoError):
    """An attack was not shown what it works on."""


class BudgetSpent(SfumatoError):
    """An attack asked a network more often than it may."""


class Unsupported(SfumatoError):
    """This model or setting cannot run under this protocol."""
