"""Models on the Hugging Face hub: loaded from it, laid out for it, and sent to it.

A repository, or the folder that becomes one, holds `model.safetensors` (residiff's own file, whole), `config.json` (the
recipe and the card, for those who look without loading) and `README.md` (the model card).
"""

from __future__ import annotations

import json
from pathlib import Path

from residiff import __version__, files, models
from residiff.checkpoint import MODEL, ModelFile, load_model, save_model
from residiff.errors import ConfigError, ResourceError
from residiff.interop.cards import model_card
from residiff.models import HUB_ID, HubOptions
from residiff.models.hub import first_line
from residiff.restore import Restorer

CONFIG, CARD = "config.json", "README.md"


def from_pretrained(
    source: str | Path,
    *,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    device: str = "auto",
) -> Restorer:
    """A restorer of a hub id, a folder that `save_pretrained` wrote, or whatever `residiff.load` takes.

    Parameters
    ----------
    source : "owner/name" of the hub, a folder, a file or a bundled name
    revision, token, cache_dir, local_files_only : as of `residiff.models.HubOptions`
    device : as of `residiff.load`

    Raises
    ------
    ModelFileError
        If there is no such model, or its file is damaged.
    ResourceError
        If huggingface_hub is not installed, or the hub cannot be reached.
    """
    cache = None if cache_dir is None else Path(cache_dir)
    hub = HubOptions(revision, token, cache, local_files_only)
    return Restorer(load_model(models.find(source, hub)), device)


def save_pretrained(
    model: str | Path | ModelFile, folder: str | Path, *, licence: str | None = None, name: str | None = None
) -> tuple[Path, ...]:
    """Lay `model` out in `folder` as a repository of the hub; gives the files written.

    Parameters
    ----------
    model : a bundled name, a file, a folder or a hub id, whose file is copied as it is; or what a file held
    folder : made if need be; files of these names in it are replaced
    licence : of the weights, a name of the hub's list; a bundled model's is apache-2.0
    name : what its card tells people to load; the folder by default

    Raises
    ------
    ModelFileError
        If there is no such model, or its file is damaged.
    ConfigError
        If the licence is no name.
    ResourceError
        If the folder cannot be written.
    """
    place = Path(folder)
    source = None if isinstance(model, ModelFile) else models.find(model)
    held = model if isinstance(model, ModelFile) else load_model(models.find(model))
    card = model_card(held, name or place.as_posix(), licence)
    if source is None:
        save_model(place / MODEL, held)
    else:
        files.write_bytes(place / MODEL, source.read_bytes())
    files.write_bytes(place / CONFIG, _config(held).encode())
    files.write_bytes(place / CARD, card.encode())
    return place / MODEL, place / CONFIG, place / CARD


def push_to_hub(
    model: str | Path | ModelFile,
    repository: str,
    folder: str | Path,
    *,
    licence: str | None = None,
    private: bool = False,
    token: str | None = None,
    revision: str | None = None,
    message: str = "Model of residiff",
) -> str:
    """Lay `model` out in `folder` and send that to the hub; gives the address of what was made there.

    Parameters
    ----------
    model, licence : as of `save_pretrained`
    repository : "owner/name", made if there is none
    folder : where it is laid out, which is kept
    private : whether a new repository is open to its owner alone
    token : with the right to write; None takes the one that `hf auth login` has stored
    revision : the branch
    message : of the commit

    Raises
    ------
    ConfigError
        If `repository` is no "owner/name", or the licence no name.
    ResourceError
        If huggingface_hub is not installed, or the hub refuses or cannot be reached.
    """
    if not HUB_ID.fullmatch(repository):
        raise ConfigError(f"repository is {repository!r}; give owner/name")
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise ResourceError("to send models to the hub: pip install huggingface_hub") from error
    save_pretrained(model, folder, licence=licence, name=repository)
    api = HfApi(token=token)
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=repository,
            folder_path=str(folder),
            allow_patterns=[MODEL, CONFIG, CARD],
            commit_message=message,
            revision=revision,
        )
    except (OSError, ValueError) as error:
        raise _refusal(error, repository) from error
    return str(done.commit_url)


def _refusal(error: Exception, repository: str) -> ResourceError:
    from huggingface_hub import errors

    if isinstance(error, errors.OfflineModeIsEnabled):
        mend = "the hub is switched off here; unset HF_HUB_OFFLINE"
    elif isinstance(error, (errors.LocalTokenNotFoundError, errors.HfHubHTTPError)):
        mend = f"the hub refuses ({first_line(error)}); log in by `hf auth login` with a token that may write there"
    else:
        mend = f"{first_line(error)}; see the network and try again"
    return ResourceError(f"cannot send to {repository!r}: {mend}")


def _config(model: ModelFile) -> str:
    facts = {
        "library_name": "residiff",
        "residiff_version": __version__,
        "model_type": model.recipe.name,
        "task": model.recipe.task,
        "recipe": model.recipe.model_dump(mode="json", exclude_none=True),
        "card": model.card,
    }
    return json.dumps(facts, indent=2, sort_keys=True) + "\n"
