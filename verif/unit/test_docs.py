"""The documents: paths, names, commands and links in them exist."""

import ast
import re
import shlex
from importlib import import_module

import pytest

from tegula_sw import disassemble, preset
from tegula_sw.cli.parser import main
from verif import ROOT
from verif.support.cli_bench import COMMANDS

HISTORY = "CHANGELOG.md"
"""Names what there was."""

DOCUMENTS = sorted(
    path for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")] if path.name != HISTORY
)
FOLDERS = ("", "docs", "hw/tegula", "sw/tegula_sw", "model/tegula_golden", "verif", "verif/unit")
"""Where a path in a document may begin."""

SUFFIXES = ("py", "md", "toml", "txt", "h", "cpp", "vlt", "sh", "svg", "yml")
PATH = re.compile(rf"[\w.-]+(/[\w.-]+)*/?|[\w./-]+\.({'|'.join(SUFFIXES)})")
MODULE = re.compile(r"(tegula|tegula_sw|tegula_golden|verif|scripts)(\.\w+)+")
USERS_FILES = ("/dev/stdin", "p.bin", "build/")
"""Paths that are not the repository's: what commands read and write."""

TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
VARIABLES = set(re.findall(r"^(\w+) \?=", (ROOT / "Makefile").read_text(), re.MULTILINE))


def prose(text):
    """A document without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def quoted(document):
    """What stands in backticks outside of fenced blocks."""
    return re.findall(r"`([^`\n]+)`", prose(document.read_text()))


def is_path(text):
    """Whether it looks like a path: with a folder that is one here, or with a known suffix."""
    if text.startswith(USERS_FILES) or not PATH.fullmatch(text):
        return False
    if text.rpartition(".")[2] in SUFFIXES:
        return True
    return "/" in text and not any(part[:1].isdigit() for part in text.split("/"))


def command_lines(document):
    """Lines of shell in fenced blocks, and what stands in backticks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [*(line.partition("#")[0].strip() for line in lines), *quoted(document)]


def commands(document, word):
    """Command lines that begin with a word, as their arguments."""
    found = []
    for line in command_lines(document):
        words = line.replace("\\|", "|").partition("|")[0].split()
        words[:1] = [words[0].removeprefix(".venv/bin/")] if words else []
        if words[:1] == [word]:
            found.append(shlex.split(" ".join(words[1:])))
    return found


def anchors(text):
    """Anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in headings}


@pytest.fixture(params=DOCUMENTS, ids=lambda path: path.name)
def document(request):
    return request.param


def test_what_is_checked_is_not_empty():
    texts = [text for document in DOCUMENTS for text in quoted(document)]
    assert sum(map(is_path, texts)) > 60
    assert sum(MODULE.fullmatch(text) is not None for text in texts) > 10
    assert sum(len(commands(document, "make")) for document in DOCUMENTS) > 20
    assert sum(len(commands(document, "tegula")) for document in DOCUMENTS) > 15
    assert {"PRESET", "SEED", "TEST"} <= VARIABLES
    assert not is_path("K / N") and not is_path("L/2") and is_path("vector/lane.py")


def test_paths_exist(document):
    missing = [
        text
        for text in quoted(document)
        if is_path(text) and not any((ROOT / folder / text).exists() for folder in FOLDERS)
    ]
    assert not missing


def test_modules_and_their_names_exist(document):
    for text in quoted(document):
        if MODULE.fullmatch(text):
            value, rest = None, text.split(".")
            for count in range(len(rest), 0, -1):
                try:
                    value = import_module(".".join(rest[:count]))
                except ModuleNotFoundError:
                    continue
                rest = rest[count:]
                break
            for name in rest:
                assert hasattr(value, name), text
                value = getattr(value, name)


def test_links_lead_somewhere(document):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(document.read_text())):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = document if not path else document.parent / path
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text()), link


def test_make_has_the_targets_and_variables(document):
    for words in commands(document, "make"):
        for word in words:
            name, assigned, _ = word.partition("=")
            assert name in (VARIABLES if assigned else TARGETS), " ".join(["make", *words])


def test_modules_that_are_run_exist(document):
    for name in re.findall(r"python[\d.]* -m ([\w.]+)", document.read_text()):
        import_module(name)


def python_blocks(document):
    """Fenced blocks of Python."""
    text = document.read_text()
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def test_the_kernel_of_the_training_document_assembles():
    (block,) = python_blocks(ROOT / "docs" / "training.md")
    names = {"config": preset("tiny"), "address": 0, "result": 4096}
    exec(block, names)
    mnemonics = [line.split()[0] for line in disassemble(names["code"]).splitlines()]
    assert mnemonics.count("vector.compute") == 8
    assert {"load.dma", "store.dma"} < set(mnemonics)


def test_what_python_examples_import_exists(document):
    for node in (node for block in python_blocks(document) for node in ast.walk(ast.parse(block))):
        if isinstance(node, ast.ImportFrom):
            module = import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} {alias.name}"


def test_tegula_has_the_commands_and_options(document, capsys):
    for words in commands(document, "tegula"):
        command = [words[0].rstrip(":")] if words and not words[0].startswith("-") else []
        if command != ["COMMAND"]:
            assert set(command) <= set(COMMANDS), words
            with pytest.raises(SystemExit):
                main([*command, "--help"])
            known = re.findall(r"--[\w-]+", capsys.readouterr().out)
            options = {word.partition("=")[0] for word in words if word.startswith("--")}
            assert options <= set(known), words
