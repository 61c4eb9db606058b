"""Every error that sadcodec raises on purpose, and its warnings.

Messages are one line and name no file: whoever knows the file (the command line) puts its name in
front.
"""

from __future__ import annotations


class SadError(Exception):
    """Root of all errors of this package."""


class InputError(SadError):
    """An image that cannot be read or is of a kind that is not supported."""


class BitstreamError(SadError):
    """A ``.sad`` file that is corrupt, cut short, or uses a feature this version does not know."""


class LimitError(SadError):
    """An image, a site count or a file beyond a size limit."""


class OutputError(SadError):
    """A result that cannot be written."""


class OptionError(SadError, ValueError):
    """An argument with a value outside its range, or arguments that exclude each other."""


class TargetError(SadError):
    """A target of rate or quality that an image cannot be encoded to."""


class BackendError(SadError):
    """A backend or an optional library that is not available on this machine, or that failed."""


class ClusterError(SadError):
    """A Dask cluster that cannot be reached, lacks what it needs, or failed."""


class SiteError(SadError):
    """Site parameters of the wrong shape, type or range."""


class CompositionError(SadError):
    """Bitmap primitives or templates of the wrong shape, type or range."""


class BackendWarning(UserWarning):
    """A GPU that was to be used by default and cannot be: the CPU is used instead."""


class DamageWarning(UserWarning):
    """A damaged file of which a part was drawn, because that was asked for."""
