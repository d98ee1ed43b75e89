"""Files that are replaced whole: after an error the old one is as it was.

What is written goes to a temporary file in the same folder, which takes the name of the old one
when all of it is on the disk (POSIX: `rename` is atomic). Free of HDL; whatever writes a file calls
this. The libraries that replace files know neither devices nor symbolic links, so it is ours.
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

__all__ = ["install", "is_stream", "replacing", "write_bytes", "write_text"]

_PREFIX, _SUFFIX = ".tegula-", ".part"
_PERMISSIONS = 0o777


def is_stream(path: Path | str) -> bool:
    """Whether `path` can only be written in place: a device, a pipe, or an output of this process.

    Raises
    ------
    OSError
        If the path cannot be followed.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(found.st_mode):
        return False
    if not stat.S_ISREG(found.st_mode):
        return True
    return not os.path.exists(os.path.realpath(path)) or any(_leads_to(i, found) for i in (1, 2))


def _leads_to(stream: int, found: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.fstat(stream), found)
    except OSError:  # the stream is closed
        return False


@contextmanager
def replacing(path: Path | str) -> Iterator[BinaryIO]:
    """A binary file to write, which replaces `path` when the block ends without an error.

    Permissions are those that `open` would give: of the old file, or what the umask leaves. Of a
    symbolic link the target is replaced; further hard links keep the old content. A device or a
    pipe is written to in place.

    Raises
    ------
    OSError
        If it cannot be written; `filename` is `path`. A file that was there is as before.
    """
    try:
        target = Path(os.path.realpath(path))
        if is_stream(path) or target.is_dir() or os.fspath(path).endswith(os.sep):
            with open(path, "wb") as file:  # of a folder, `open` says what is wrong
                yield file
        else:
            yield from _replaced(target)
    except OSError as error:
        name = os.path.basename(error.filename or "")
        if error.filename is None or (name.startswith(_PREFIX) and name.endswith(_SUFFIX)):
            reason = error.strerror or str(error)
            raise OSError(error.errno, reason, os.fspath(path)) from error
        raise


def _replaced(target: Path) -> Iterator[BinaryIO]:
    """The temporary file, which becomes `target`."""
    old = target.stat() if target.exists() else None
    if old is not None and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    beside = target.with_name(f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}")
    try:
        file = open(beside, "xb")
    except OSError as error:
        if old is None:
            raise
        reason = f"no file can be made beside it: {error.strerror}"
        raise OSError(error.errno, reason) from error
    try:
        with file:
            if old is not None:
                _take_after(old, file.fileno())
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _take_after(old: os.stat_result, file: int) -> None:
    """Permissions of the old file, and its owner where that is allowed."""
    for owner, group in ((old.st_uid, -1), (-1, old.st_gid)):
        with suppress(OSError):
            os.fchown(file, owner, group)
    os.fchmod(file, old.st_mode & _PERMISSIONS)


def write_bytes(path: Path | str, content: bytes | memoryview) -> None:
    """Replace a file; see `replacing`."""
    with replacing(path) as file:
        file.write(content)


def write_text(path: Path | str, text: str) -> None:
    """Replace a file by text in UTF-8; see `replacing`."""
    write_bytes(path, text.encode())


def install(made: Path, path: Path) -> None:
    """Give a finished file of the same folder the name `path`, in place of what had it before."""
    with made.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(made, path)
