"""Runs commands of the official Python SDK, each in its own process.

The package takes several seconds to import. It is imported once, and each command runs in a fork, with the arguments and
the entry point of its console script.
"""

import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(__file__)


def prepare():
    """Set the variables of the SDK before it is imported, and return the home folder and the process of the proxy."""
    home = tempfile.mkdtemp()
    # The console follows the width of the terminal.
    os.environ.update({"HOME": home, "COLUMNS": "200", "XDG_CACHE_HOME": f"{home}/cache", "XDG_DATA_HOME": f"{home}/data"})
    # The emulator names another folder for the logins of this project's own command.
    os.environ["AIGNOSTICS_CACHE_DIR"] = f"{home}/cache"
    proxy = subprocess.Popen(
        [sys.executable, f"{HERE}/fixed_hosts.py", os.environ["AWS_ENDPOINT_URL_S3"], home],
        stdout=subprocess.PIPE, text=True,
    )
    os.environ["HTTPS_PROXY"] = f"http://127.0.0.1:{proxy.stdout.readline().strip()}"
    os.environ["NO_PROXY"] = "127.0.0.1,localhost"
    for name in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"]:
        os.environ[name] = f"{home}/authority.pem"
    sys.argv = ["aignostics"]
    return home, proxy


def command(*arguments, env=None):
    """Run a command in a fork, and return its exit code and its output."""
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            os.environ.update(env or {})
            os._exit(entry(arguments))
        _, status = os.waitpid(child, 0)
        output.seek(0)
        return os.waitstatus_to_exitcode(status), output.read().decode(errors="replace")


def entry(arguments):
    """Do what the console script does, and return the exit code."""
    from aignostics.cli import cli

    sys.argv = ["aignostics", *arguments]
    try:
        cli()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def leaves():
    """Return all commands of the SDK, such as `application run list`."""
    import typer.main
    from aignostics.cli import cli

    def walk(found, path):
        if hasattr(found, "commands"):
            for name, inner in found.commands.items():
                yield from walk(inner, [*path, name])
        else:
            yield " ".join(path)

    return sorted(walk(typer.main.get_command(cli), []))
