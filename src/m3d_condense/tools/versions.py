"""Which version of a package is installed."""

from __future__ import annotations

from importlib import metadata

OWN = "m3d-condense"


def installed(package: str = OWN) -> str:
    """Return the version of a package, by default this one's, or "not installed"."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


__version__ = installed()
