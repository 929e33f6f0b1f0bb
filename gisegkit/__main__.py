"""``python -m gisegkit`` is ``giseg``, where the command is not on the path."""

from __future__ import annotations

from gisegkit.cli import main

if __name__ == "__main__":
    main()
