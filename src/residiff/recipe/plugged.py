"""Tables of a recipe that name their kind, among residiff's own and those of plug-ins."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, Union, get_args

from pydantic import Discriminator, GetCoreSchemaHandler, GetJsonSchemaHandler, Tag, TypeAdapter
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticOmit, core_schema
from torch import nn

from residiff.nn import AnyBackbone
from residiff.plugins import Group, Plugin, Table, found, settings_class
from residiff.recipe.base import Settings
from residiff.schedule import AnySchedule, Schedule

_PLUGGED = "a plug-in's"


def _schedule(plugin: Plugin, value: object) -> type:
    kind = settings_class(plugin, value)
    if not issubclass(kind, Schedule):
        raise plugin.fault("it is no subclass of residiff.schedule.Schedule")
    return kind


def _backbone(plugin: Plugin, value: object) -> type:
    kind = settings_class(plugin, value)
    if not callable(getattr(kind, "build", None)):
        raise plugin.fault("it has no method build")
    return kind


# The plug-ins' classes by kind
CLASSES: dict[Group, Table[type]] = {
    Group.SCHEDULES: Table({}, Group.SCHEDULES, _schedule),
    Group.BACKBONES: Table({}, Group.BACKBONES, _backbone),
}


@dataclass(frozen=True)
class _OfPlugin:
    """The member of a union that stands for the classes of plug-ins."""

    group: Group

    def __get_pydantic_core_schema__(self, source: type, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        dumped = core_schema.plain_serializer_function_ser_schema(self._dumped, info_arg=True)
        return core_schema.with_info_plain_validator_function(self._read, serialization=dumped)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        # They are put there one by one
        raise PydanticOmit

    def _read(self, value: object, info: core_schema.ValidationInfo) -> object:
        name = str(_kind_of(value))
        kind, plugin = CLASSES[self.group][name], found(self.group)[name]
        if isinstance(value, kind):
            return value
        if info.mode == "json":
            (made,) = _adapter(kind).validate_json(json.dumps([value]), strict=True)
        else:
            (made,) = _adapter(kind).validate_python([value])
        if isinstance(made, Schedule):
            # Its coefficients are computed here, where an error is told of the plug-in
            plugin.call(lambda: len(made))
        return made

    def _dumped(self, value: Any, info: core_schema.SerializationInfo) -> object:  # noqa: ANN401
        adapter: TypeAdapter[Any] = TypeAdapter(type(value))
        return adapter.dump_python(
            value, mode="json" if info.mode == "json" else "python", exclude_none=info.exclude_none
        )


@lru_cache(maxsize=64)
def _adapter(kind: type) -> TypeAdapter[tuple[Any]]:
    """Reads a tuple of one value as a recipe's tables are read; a dataclass alone takes no configuration."""
    return TypeAdapter(tuple[kind], config=Settings.model_config)  # type: ignore[valid-type, arg-type]


def _kind_of(value: object) -> object:
    return value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)


def _tag(own: frozenset[str], group: Group) -> Callable[[object], str | None]:
    """What tells the member of the union for a value."""

    def tag(value: object) -> str | None:
        name = _kind_of(value)
        if not isinstance(name, str):
            return None
        # residiff's own come first, so that nobody looks through what is installed for them
        return _PLUGGED if name not in own and name in CLASSES[group] else name

    return tag


def _extended(union: Any, group: Group) -> Any:  # noqa: ANN401  types, made as the program runs
    """`union` of classes with a `kind` each, and beside them those of plug-ins."""
    own = {kind.kind: kind for kind in get_args(union)}
    members = [Annotated[kind, Tag(name)] for name, kind in own.items()]
    members.append(Annotated[object, _OfPlugin(group), Tag(_PLUGGED)])
    return Annotated[Union[tuple(members)], Discriminator(_tag(frozenset(own), group))]  # noqa: UP007


if TYPE_CHECKING:
    ScheduleTable: TypeAlias = AnySchedule
    BackboneTable: TypeAlias = AnyBackbone
else:
    ScheduleTable = _extended(AnySchedule, Group.SCHEDULES)
    BackboneTable = _extended(AnyBackbone, Group.BACKBONES)


def built(backbone: AnyBackbone, in_channels: int, heads: int, out_channels: int = 3) -> nn.Module:
    """The network of `backbone`, `out_channels` a head; a `PluginError` where a plug-in's is none or says too little.

    Besides being called it is asked for its `size_multiple`, `in_channels` and `heads`.
    """
    plugin = None if isinstance(backbone, AnyBackbone) else found(Group.BACKBONES).get(backbone.kind)
    if plugin is None:
        return backbone.build(in_channels, out_channels, heads)
    network = plugin.call(lambda: backbone.build(in_channels, out_channels, heads))
    if not isinstance(network, nn.Module):
        raise plugin.fault(f"build gives a {type(network).__name__}, no torch.nn.Module")
    for name in ("size_multiple", "in_channels", "heads"):
        if not isinstance(getattr(network, name, None), int):
            raise plugin.fault(f"its network has no whole number {name}")
    return network
