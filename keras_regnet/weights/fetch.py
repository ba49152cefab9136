"""Fetching published files: whole, verified, once, or not at all.

huggingface-hub downloads, from its hub and from plain URLs: unlike
`keras.utils.get_file`, it resumes where a connection was cut and gives up on a
server that falls silent. Files of plain URLs lie where Keras keeps those of
`keras.applications` (`~/.keras/models`, or `$KERAS_HOME/models`), so that one
fetched by Keras 2 is found again; files of the hub lie in the hub's own cache.
"""

import hashlib
import os
import re
import urllib.parse
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from typing import BinaryIO
from typing import cast

import filelock

from keras_regnet.weights.records import WeightRecord

# "hf:", Keras's "hf://" (of which a path keeps one slash) and timm's "hf-hub:"
_HUB_PREFIX = re.compile(r"hf:/{0,2}|hf[-_]hub:")
# "owner/name" and "owner/name@revision"
_REPOSITORY = re.compile(
    r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?"
)
# The files of a repository that hold weights, the safest first.
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
# The hub's own cache has a folder for each revision in this one.
_SNAPSHOTS = "snapshots"
_SHA256_LENGTH = 64
# How often a server may begin a file anew.
_MAX_RESTARTS = 5
# What an md5 digest is marked with, as 32 digits may also begin a sha256.
_MD5 = "md5:"


def fetch(record: WeightRecord, include_top: bool = True) -> Path:
    """Returns the local copy of a published set of weights."""
    if record.hub_id:
        return from_hub(f"hf:{record.hub_id}", [record.file])
    if record.notop_url and not include_top:
        return from_url(record.notop_url, record.notop_sha256)
    published = f"{_MD5}{record.md5}" if record.md5 else record.sha256
    return from_url(record.url, published, record.file)


def cached(record: WeightRecord) -> Path | None:
    """Returns the copy of a published file that is here already, or None."""
    if record.hub_id:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(record.hub_id, record.file)
        return Path(found) if isinstance(found, str) else None
    path = cache_folder() / record.file
    return path if path.is_file() else None


def is_hub_source(source: str | os.PathLike) -> bool:
    """Returns whether a source names a repository of the Hugging Face hub.

    Example:
    >>> is_hub_source("hf://timm/regnety_016.tv2_in1k"), is_hub_source("a.pth")
    (True, False)
    """
    return bool(_HUB_PREFIX.match(str(source)))


def hub_repository(
    source: str, argument: str = "weights"
) -> tuple[str, str | None]:
    """Returns the repository that a source names, and its revision or None.

    Example:
    >>> hub_repository("hf-hub:timm/regnety_016.tv2_in1k@main")
    ('timm/regnety_016.tv2_in1k', 'main')
    """
    match = _REPOSITORY.fullmatch(_HUB_PREFIX.sub("", str(source), count=1))
    if not match:
        raise ValueError(
            f"`{argument}` must be spelled 'hf:owner/name' or "
            "'hf:owner/name@revision' for a repository of the Hugging Face "
            "hub; 'hf://' and 'hf-hub:' are allowed, too. "
            f"Received: {argument}={str(source)!r}"
        )
    return match["repo"], match["revision"]


def cache_folder() -> Path:
    """Returns the folder for files of plain URLs."""
    home = os.environ.get("KERAS_HOME") or "~/.keras"
    return Path(home).expanduser() / "models"


def sha256(path: str | os.PathLike) -> str:
    """Returns the hash of a file."""
    return _digest(path, "sha256")


def md5(path: str | os.PathLike) -> str:
    """Returns the older hash of a file, for publishers that know no other."""
    return _digest(path, "md5")


def _digest(path, algorithm):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def from_url(url: str, published_hash: str = "", name: str = "") -> Path:
    """Returns the local copy of a file, fetching it if there is none.

    The file appears under its name only when it is whole and its hash is the
    published one; a broken download is resumed next time. Of several
    processes one downloads and the others wait.

    Args:
      url: where the file is.
      published_hash: the file's sha256, or the first digits of it, or "md5:"
        and its md5; empty if none is published.
      name: name of the copy; by default the last part of the URL.

    Returns:
      Path of the copy.

    Raises:
      OSError: if the file can be neither found nor fetched.
      ValueError: if it is not the published one.
    """
    name = name or Path(urllib.parse.urlsplit(url).path).name
    target = cache_folder() / name
    if _is_published(target, published_hash):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Beside, not inside: the lock outlives every file it guards.
        lock = filelock.FileLock(target.with_name(f".{name}.lock"))
        with lock:
            if not _is_published(target, published_hash):
                _download(url, target, published_hash)
    except OSError as error:
        raise OSError(
            f"Cannot fetch {url!r} to {str(target.parent)!r}: "
            f"{reason(error)} Without a network put the file there as "
            f"{name!r}, or give its path as `weights`."
        ) from error
    return target


def _is_published(path, published_hash):
    if not path.is_file():
        return False
    return _hash(path, published_hash).startswith(published_hash.lower())


def _hash(path, published_hash):
    """Returns a file's digest in the form in which one was published."""
    if published_hash.lower().startswith(_MD5):
        return _MD5 + md5(path)
    return sha256(path)


def _download(url, target, published_hash):
    """Fetches a file, beginning with what an earlier attempt has left."""
    part = target.with_name(f"{target.name}.part")
    resumes = part.exists()
    _append(url, part)
    if not _is_published(part, published_hash) and resumes:
        # What was left may be of another file: from the beginning, then.
        part.unlink()
        _append(url, part)
    if not _is_published(part, published_hash):
        actual = _hash(part, published_hash)
        part.unlink()
        kind, _, actual = actual.rpartition(":")
        raise ValueError(
            f"{url!r} is not the published file: its {kind or 'sha256'} is "
            f"{actual}, that of the published one {_begins(published_hash)}. "
            "It was deleted."
        )
    os.replace(part, target)


def _begins(published_hash):
    if published_hash.startswith(_MD5):
        return published_hash.removeprefix(_MD5)
    start = "" if len(published_hash) == _SHA256_LENGTH else "starts with "
    return f"{start}{published_hash}"


class _Part:
    """An open file that can be begun again only so many times.

    A download resumes as long as every attempt brings something. At a
    server that begins anew each time and cuts each time, that is for ever.
    """

    def __init__(self, file):
        self._file = file
        self._restarts = 0
        self.write = file.write
        self.tell = file.tell
        self.seek = file.seek

    def truncate(self):
        self._restarts += 1
        if self._restarts > _MAX_RESTARTS:
            raise OSError(
                "The connection was cut again and again, and the server does "
                f"not send the rest alone ({self._restarts} attempts)."
            )
        return self._file.truncate()


def _append(url, part):
    """Fetches what is missing at the end of a file.

    `http_get` is what downloads within huggingface-hub itself; by its name
    it is public, and the hub's documentation does not list it. It resumes
    with a range where a connection was cut, gives up when five attempts in a
    row brought nothing, knows when a server is silent, and shows progress.
    `keras.utils.get_file` does none of the first three. `fetch_test` holds
    all of this, so that a release of the hub that changes it is noticed.
    """
    # Not at the top: this import would double the time that ours takes.
    from huggingface_hub import errors
    from huggingface_hub import file_download

    try:
        with open(part, "ab") as file:
            # All that `http_get` calls of a file is in `_Part`.
            resumed = cast(BinaryIO, _Part(file))
            file_download.http_get(url, resumed, resume_size=file.tell())
    except errors.HfHubHTTPError as error:
        # 416: there is nothing beyond what we have.
        if error.response.status_code != 416:
            raise _as_os_error(error) from error
    except Exception as error:
        # The hub's errors for networks are of whichever HTTP client it
        # uses, and have no other base in common.
        raise _as_os_error(error) from error
    finally:
        if not part.stat().st_size:
            part.unlink()
    if not part.exists():
        raise OSError("The file is empty.")


def _as_os_error(error):
    return OSError(reason(error))


def reason(error):
    """Returns what went wrong as one sentence of one line."""
    text = str(error).strip().split("\n")[0] or type(error).__name__
    return text if text.endswith(".") else f"{text}."


def from_hub(
    source: str,
    names: Sequence[str] = HUB_FILES,
    endpoint: str | None = None,
) -> Path:
    """Returns the local copy of a repository's weights.

    Args:
      source: "hf:owner/name" or "hf:owner/name@revision"; also with "hf://" as
        Keras writes it, or "hf-hub:" as timm does.
      names: the files that would do, in order of preference.
      endpoint: URL of the hub; by default what `HF_ENDPOINT` says.

    Returns:
      Path of the first of the files that the repository has.

    Raises:
      OSError: if no such file can be found in the cache or fetched.
      ValueError: if `source` is not spelled so, or the file is damaged.
    """
    repo, revision = hub_repository(source)
    from huggingface_hub import errors

    options: dict[str, Any] = {"revision": revision, "endpoint": endpoint}
    missing: Exception | None = None
    for name in names:
        try:
            return _from_hub(repo, name, options)
        except errors.LocalEntryNotFoundError as error:
            # The hub does not answer; do not wait for that twice.
            options["local_files_only"] = True
            missing = missing or error
        except errors.EntryNotFoundError as error:
            missing = error
        except OSError as error:
            raise _hub_error(source, endpoint, error) from error
    raise _hub_error(source, endpoint, missing) from missing


def beside_on_hub(
    source: str, path: Path, name: str, endpoint: str | None = None
) -> Path | None:
    """Returns the local copy of another file of a repository, None for none.

    Args:
      source: as of `from_hub`.
      path: the copy of a file that `from_hub` returned; the other file is of
        the same revision, and lies beside it.
      name: of the other file.
      endpoint: as of `from_hub`.
    """
    beside = path.with_name(name)
    if beside.is_file() or path.parent.parent.name != _SNAPSHOTS:
        return beside if beside.is_file() else None
    from huggingface_hub import errors

    repo, _ = hub_repository(source)
    options = {"revision": path.parent.name, "endpoint": endpoint}
    try:
        return _from_hub(repo, name, options)
    except errors.LocalEntryNotFoundError:
        # No answer, and no copy: there may be one.
        warnings.warn(
            f"The file {name!r} of {source!r} could not be looked for: class "
            "names and normalization are those of published networks.",
            stacklevel=2,
        )
        return None
    except errors.EntryNotFoundError:
        return None
    except OSError as error:
        raise _hub_error(source, endpoint, error) from error


def _from_hub(repo, name, options):
    import huggingface_hub

    try:
        path = huggingface_hub.hf_hub_download(repo, name, **options)
    except (OSError, ValueError):
        raise
    except Exception as error:
        raise _as_os_error(error) from error
    path = Path(path)
    # Files above some size are stored under their sha256.
    stored = path.resolve()
    if len(stored.name) == _SHA256_LENGTH and sha256(path) != stored.name:
        path.unlink()
        stored.unlink(missing_ok=True)
        raise ValueError(
            f"{name!r} of 'hf:{repo}' is not the file on the hub: its sha256 "
            f"is not {stored.name}. It was deleted."
        )
    return path


def _hub_error(source, endpoint, error):
    from huggingface_hub import constants

    # The hub says "an error happened"; the cause says which.
    why = reason(error.__cause__ or error)
    return OSError(
        f"Cannot fetch {source!r} from {endpoint or constants.ENDPOINT!r} to "
        f"{constants.HF_HUB_CACHE!r}: {why} Without a network copy that "
        "folder from a machine that has the files, or give the path of a file "
        "as `weights`."
    )
