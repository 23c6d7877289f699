"""A model file fetched from the Hugging Face hub, and what goes wrong there in words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from residiff.errors import ModelFileError, ResidiffError, ResourceError

MODEL = "model.safetensors"
# ./model and ../model are paths
HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_WITH_REVISION = re.compile(rf"({HUB_ID.pattern})(?:@([\w./-]+))?")


@dataclass(frozen=True)
class HubOptions:
    """How the hub is asked, as huggingface_hub takes it.

    Parameters
    ----------
    revision : a branch, tag or commit; the id may hold it instead, "owner/name@v1"
    token : of a private repository; None takes the one that `hf auth login` has stored
    cache_dir : where files are kept; huggingface_hub's folder by default
    local_files_only : whether nothing is fetched, and what is in the cache is taken
    """

    revision: str | None = None
    token: str | None = None
    cache_dir: Path | None = None
    local_files_only: bool = False


def is_hub_id(source: str) -> bool:
    """Whether `source` reads as "owner/name" or "owner/name@revision"."""
    return Path(source.partition("@")[0]).suffix == "" and _WITH_REVISION.fullmatch(source) is not None


def fetch(source: str, options: HubOptions) -> Path:
    """The model file of the repository `source`, from the cache or the hub.

    Raises
    ------
    ModelFileError
        If there is no such repository, revision or file in it, or it is not open to this user.
    ResourceError
        If huggingface_hub is not installed, or the hub cannot be reached.
    """
    repository, at, revision = source.partition("@")
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise ResourceError(
            f"{source!r} is no file here; to fetch it from the hub: pip install huggingface_hub"
        ) from error
    try:
        return Path(
            hf_hub_download(
                repository,
                MODEL,
                revision=revision if at else options.revision,
                token=options.token,
                cache_dir=options.cache_dir,
                local_files_only=options.local_files_only,
            )
        )
    except (OSError, ValueError) as error:
        raise in_words(error, source) from error


def in_words(error: Exception, source: str) -> ResidiffError:
    """What huggingface_hub's `error` about the repository `source` means, with the mend."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return ModelFileError(f"{source!r} asks for consent: give it on its page, then log in by `hf auth login`")
    if isinstance(error, errors.RevisionNotFoundError):
        return ModelFileError(f"{source!r} has no such revision; leave it out, or see the branches on its page")
    if isinstance(error, errors.RepositoryNotFoundError):
        return ModelFileError(f"the hub has no {source!r}, or it is private: see the name, or `hf auth login`")
    if isinstance(error, (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError)):
        return ResourceError(
            f"{source!r} is not in the cache and the hub is out of reach; connect and unset HF_HUB_OFFLINE, or give a "
            "file or a folder that was copied here"
        )
    if isinstance(error, errors.EntryNotFoundError):
        return ModelFileError(
            f"{source!r} has no {MODEL}; if it is a diffusers' one, `residiff models import {source}`"
        )
    return ResourceError(f"cannot fetch {source!r} from the hub: {first_line(error)}; try again later")


def first_line(error: Exception) -> str:
    """The first line of what `error` says, or its kind where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
