"""Runs programs that access the storage, and fails if they fail."""

import os
import subprocess

from redaction import redacted


class ProgramError(Exception):
    """A program has failed."""


def run(command, *, env, stdin=None, cwd=None):
    """Run a program, and return its output."""
    ended = subprocess.run(command, env={**os.environ, **env}, input=stdin, cwd=cwd, capture_output=True, check=False)
    if ended.returncode:
        text = redacted(ended.stderr.decode(errors="replace"))[-400:]
        raise ProgramError(f"exit code {ended.returncode}: {text}")
    return ended.stdout


def write(path, content):
    """Write a file, and return its path."""
    with open(path, "wb") as file:
        file.write(content)
    return path


def read(path):
    """Return the content of a file."""
    with open(path, "rb") as file:
        return file.read()
