"""Plug-ins: what other installed packages add to residiff's tables, by entry points of these groups.

| group | an entry is |
|---|---|
| `residiff.schedules` | a `Schedule` class, a frozen dataclass whose `kind` is the entry's name |
| `residiff.backbones` | settings of a network, a frozen dataclass whose `kind` is the entry's name, with `build` |
| `residiff.degradations` | a `residiff.data.degrade.Degradation` |
| `residiff.datasets` | a `residiff.data.catalog.Layout` |
| `residiff.metrics` | a `residiff.evaluate.Measure`, or a whole `Protocol` |

Nothing of a plug-in is imported before its name is asked for, or a table is listed. residiff's own names come first.
"""

from residiff.plugins.tables import (
    Group,
    Guarded,
    Plugin,
    PluginError,
    PluginWarning,
    Table,
    found,
    listed,
    settings_class,
)

__all__ = [
    "Group",
    "Guarded",
    "Plugin",
    "PluginError",
    "PluginWarning",
    "Table",
    "found",
    "listed",
    "settings_class",
]
