"""pyarrow's compute functions, imported when the first of them is called.

pyarrow makes 300 of them at import, with signatures and texts, which takes longer than the rest of pyarrow; and what
only reads or writes Arrow files needs none.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    import pyarrow.compute

    return getattr(pyarrow.compute, name)
