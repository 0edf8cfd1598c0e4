"""Run cookiecutter, with one line for each wrong answer and no traceback.

A hook that fails has said what is wrong; names and choices that cookiecutter ignores or trips over are checked here.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from pathlib import Path

from cookiecutter.cli import main
from cookiecutter.prompt import YesNoPrompt

QUESTIONS = json.loads((Path(__file__).resolve().parent.parent / "cookiecutter.json").read_text(encoding="utf-8"))
YES_OR_NO = [*YesNoPrompt.yes_choices, *YesNoPrompt.no_choices]


def problems(arguments: list[str]) -> list[str]:
    """Return what is wrong with the names of answers and with choices of menus, a line each."""
    found = []
    asked = [name for name in QUESTIONS if not name.startswith("_")]
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals or not re.fullmatch(r"\w+", name):
            continue
        default = QUESTIONS.get(name)
        if name not in asked:
            found.append(f"{name}: is no question; they are {', '.join(asked)}")
        elif isinstance(default, list) and value not in default:
            found.append(f"{name}: {value!r} is not one of {', '.join(default)}; for example {default[0]!r}")
        elif isinstance(default, bool) and value.lower() not in YES_OR_NO:
            found.append(f"{name}: {value!r} is neither yes nor no, for example 'yes'")
    return found


if __name__ == "__main__":
    logging.getLogger("cookiecutter.hooks").disabled = True
    if wrong := problems(sys.argv[1:]):
        sys.exit("\n".join(wrong))
    main(prog_name="cookiecutter")
