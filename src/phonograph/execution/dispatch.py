"""What every worker does with a task: find the function that its text names, and call it with that text.

A task is one line of JSON with an entry ``"entry": "module:function"`` beside whatever that function reads.  The text
comes from this machine's own driver, never from a file of someone else.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, cast

from phonograph.errors import ConfigurationError, describe_exception


def run(task: str) -> None:
    """Do a task; what its function raises is raised.

    Raises
    ------
    ConfigurationError
        An entry that cannot be found here.
    """
    found_entry(json.loads(task)["entry"])(task)


@cache
def found_entry(place: str) -> Callable[..., Any]:
    """Return the function ``module:function`` at the top level of a module.

    Raises
    ------
    ConfigurationError
        No such module or function.
    """
    module, _, name = place.partition(":")
    try:
        # A script's own functions live in __main__, which a spawned worker imports under that name too.
        holder = sys.modules[module] if module in sys.modules else importlib.import_module(module)
        found = getattr(holder, name) if name.isidentifier() else None
    except Exception as error:
        raise ConfigurationError(
            f"a worker cannot find the function {place!r} ({describe_exception(error)}); define it at the top level of "
            "a module that can be imported by its name"
        ) from error
    if not callable(found):
        raise ConfigurationError(f"{place!r} must name a function as 'module:function'; it names {found!r}")
    return cast(Callable[..., Any], found)
