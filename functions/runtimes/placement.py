"""Placement: which functions run here, for a stack that is spread over several platforms.

The setting `placement` gives the place of a function, and `place` is the name of this deployment's place. A function
without a placement runs at every place; usually there is only one.
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
