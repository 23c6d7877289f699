"""All that can be said against a recipe before it is trained by."""

from __future__ import annotations

from collections.abc import Iterator

from residiff.data.pairs import check_degradation
from residiff.data.settings import Degrade
from residiff.errors import ConfigError
from residiff.recipe.documents import Document, NotTomlError
from residiff.recipe.experiment import Recipe
from residiff.recipe.faults import Fault, RecipeError, dotted, named
from residiff.recipe.lines import Place
from residiff.recipe.reading import gathered, validated


def check(name: str) -> tuple[Fault, ...]:
    """The faults of a recipe, by a preset's name or a .toml file; none where it is fine."""
    try:
        whole = gathered(name)
        recipe = validated(whole)
    except RecipeError as error:
        return error.faults
    except NotTomlError as error:
        return (Fault(error.spot, "", error.cause),)
    except ConfigError as error:
        return (Fault(None, "", str(error)),)
    return tuple(fault for chosen, place in _degradations(recipe) for fault in _of_degradation(chosen, place, whole))


def _degradations(recipe: Recipe) -> Iterator[tuple[Degrade, Place]]:
    """Every degradation of a recipe, and where it stands."""
    yield recipe.data.degrade, ("data", "degrade")
    for number, source in enumerate(recipe.data.mixture):
        if source.degrade is not None:
            yield source.degrade, ("data", "mixture", number, "degrade")


def _of_degradation(chosen: Degrade, place: Place, whole: Document) -> Iterator[Fault]:
    try:
        check_degradation(chosen)
    except ConfigError as error:
        parameters = (*place, "parameters")
        found = named(str(error), parameters, whole)
        found = (*place, "name") if found == parameters else found
        yield Fault(whole.where(found), dotted(found), f"{dotted(found)}: {error}")
