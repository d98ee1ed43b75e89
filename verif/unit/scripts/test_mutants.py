"""The table of planted bugs: each is still a change of one place of its file."""

import tomllib
from collections import Counter

from scripts.mutants import ROOT, TABLE


def test_the_text_of_each_mutant_is_in_its_file_once():
    mutants = tomllib.loads(TABLE.read_text())["mutant"]
    assert len(mutants) > 100
    found = {
        mutant["name"]: (ROOT / mutant["file"]).read_text().count(mutant["old"])
        for mutant in mutants
    }
    assert {name: count for name, count in found.items() if count != 1} == {}


def test_mutants_have_names_of_their_own_and_tests_that_exist():
    mutants = tomllib.loads(TABLE.read_text())["mutant"]
    assert max(Counter(mutant["name"] for mutant in mutants).values()) == 1
    paths = {test.partition("::")[0] for mutant in mutants for test in mutant["tests"]}
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
