"""Run cookiecutter, without the traceback that it logs after a hook has said what is wrong."""

from __future__ import annotations

import logging

from cookiecutter.cli import main

logging.getLogger("cookiecutter.hooks").disabled = True
main(prog_name="cookiecutter")
