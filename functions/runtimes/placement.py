"""Placement: which of the functions run here, where a stack is spread over several platforms.

The settings' `placement` names for a function the place where it runs; each deployment has its own `place`. A function
that `placement` does not name runs at every place: there usually is one.
"""

from shared.settings import Settings
from shared.topology import FUNCTIONS, Function, function_named


def placed_here(settings: Settings) -> tuple[Function, ...]:
    """Return the functions that run at this place. Raises: ConfigurationError: `placement` names no such function."""
    for name in settings.placement:
        function_named(name)
    return tuple(
        function for function in FUNCTIONS if settings.placement.get(function.name, settings.place) == settings.place
    )
