"""Files are replaced whole or stay as they were."""

import os
import resource
import stat
import threading

import pytest

from tegula.files import install, is_stream, replacing, write_bytes, write_text

OLD, NEW = b"old content", b"new"


@pytest.fixture
def old(tmp_path):
    """A file with content."""
    path = tmp_path / "C.npy"
    path.write_bytes(OLD)
    return path


@pytest.fixture
def file_size_limit():
    """Files may have 64 bytes at most."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced(old):
    write_bytes(old, NEW)
    assert old.read_bytes() == NEW
    assert names(old.parent) == ["C.npy"]


def test_nobody_sees_half_a_file(old):
    with replacing(old) as file:
        file.write(NEW)
        file.flush()
        assert old.read_bytes() == OLD
        assert len(names(old.parent)) == 2
    assert old.read_bytes() == NEW
    assert names(old.parent) == ["C.npy"]


def test_content_is_on_the_disk_before_it_has_the_name(old, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        function = getattr(os, name)

        def spy(*args, name=name, function=function):
            calls.append((name, old.read_bytes()))
            return function(*args)

        monkeypatch.setattr(os, name, spy)
    write_bytes(old, NEW)
    assert calls == [("fsync", OLD), ("replace", OLD)]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_an_error_in_the_block_leaves_the_old_file_alone(old, error):
    with pytest.raises(error), replacing(old) as file:
        file.write(NEW)
        raise error("while writing")
    assert old.read_bytes() == OLD
    assert names(old.parent) == ["C.npy"]


def test_a_full_disk_leaves_the_old_file_and_is_named(old, file_size_limit):
    with pytest.raises(OSError, match="File too large") as caught:
        write_bytes(old, bytes(65))
    assert caught.value.filename == str(old)
    assert old.read_bytes() == OLD
    assert names(old.parent) == ["C.npy"]
    fresh = old.with_name("fresh")
    with pytest.raises(OSError, match="File too large"):
        write_bytes(fresh, bytes(1 << 20))
    assert names(old.parent) == ["C.npy"]


def test_a_rename_that_fails_leaves_the_old_file_and_is_named(old, monkeypatch):
    def refuse(source, target):
        raise OSError(16, "Device or resource busy", source, None, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="busy") as caught:
        write_bytes(old, NEW)
    assert caught.value.filename == str(old)
    assert old.read_bytes() == OLD
    assert names(old.parent) == ["C.npy"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_of_a_new_file_are_those_of_open(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_bytes(tmp_path / "ours", NEW)
        with open(tmp_path / "theirs", "wb"):
            pass
    finally:
        os.umask(before)
    assert mode(tmp_path / "ours") == mode(tmp_path / "theirs") == 0o666 & ~umask


@pytest.mark.parametrize("permissions", [0o600, 0o640, 0o755])
def test_permissions_of_an_old_file_are_kept(old, permissions):
    old.chmod(permissions)
    with replacing(old) as file:
        file.write(NEW)
        (beside,) = (path for path in old.parent.iterdir() if path != old)
        assert mode(beside) == permissions, "a private file must not be readable meanwhile"
    assert mode(old) == permissions


def test_a_file_that_may_not_be_written_is_not_replaced(old, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, what: False)  # root may write everything
    with pytest.raises(PermissionError) as caught:
        write_bytes(old, NEW)
    assert caught.value.filename == str(old)
    assert old.read_bytes() == OLD


@pytest.mark.parametrize("exists", [True, False], ids=["file", "dangling"])
def test_of_a_link_the_target_is_replaced(tmp_path, exists):
    target, link = tmp_path / "elsewhere" / "target", tmp_path / "link"
    target.parent.mkdir()
    if exists:
        target.write_bytes(OLD)
    link.symlink_to("elsewhere/target")
    write_bytes(link, NEW)
    assert link.is_symlink()
    assert target.read_bytes() == NEW
    assert names(tmp_path) == ["elsewhere", "link"] and names(target.parent) == ["target"]


def test_devices_are_written_to_in_place():
    before = os.stat("/dev/null")
    write_bytes("/dev/null", NEW)
    assert is_stream("/dev/null")
    assert os.path.samestat(before, os.stat("/dev/null"))
    with pytest.raises(OSError, match="No space left") as caught:
        write_bytes("/dev/full", NEW)
    assert caught.value.filename == "/dev/full"


def test_pipes_are_written_to_in_place(tmp_path):
    path, read = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    write_bytes(path, NEW)
    reader.join()
    assert read == [NEW]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_where_standard_output_leads_is_written_to_in_place(old, monkeypatch):
    assert not is_stream(old)
    with open(old, "ab") as file:
        saved = os.dup(1)
        os.dup2(file.fileno(), 1)
        try:
            assert is_stream(old) and is_stream("/dev/stdout")
            write_bytes("/dev/stdout", NEW)
        finally:
            os.dup2(saved, 1)
            os.close(saved)
    assert old.read_bytes() == NEW


@pytest.mark.parametrize("name", ["", "folder", "new/", "nowhere/C.npy", "file/C.npy"])
def test_paths_that_are_no_file_are_named(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(OSError) as caught:
        write_bytes(name, NEW)
    assert caught.value.filename == name
    assert names(tmp_path) == ["file", "folder"] and names(tmp_path / "folder") == []


def test_a_folder_that_takes_no_new_file_is_said_so(old, monkeypatch):
    monkeypatch.setattr("secrets.token_hex", lambda size: "x" * 300)
    with pytest.raises(OSError, match="no file can be made beside it: File name too long"):
        write_bytes(old, NEW)


def test_text_is_utf8_with_the_line_ends_it_has(tmp_path):
    write_text(tmp_path / "text", "é\n\r\n")
    assert (tmp_path / "text").read_bytes() == b"\xc3\xa9\n\r\n"


def test_a_finished_file_is_installed(old):
    made = old.with_name("made")
    made.write_bytes(NEW)
    install(made, old)
    assert old.read_bytes() == NEW
    assert names(old.parent) == ["C.npy"]
