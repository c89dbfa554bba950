"""Checks the descriptions for other package managers, and the workflows, with the tools of their formats.

Usage: descriptions.py PACKAGING MIRROR WORKFLOWS FOLDER. PACKAGING contains the descriptions of a release, MIRROR its archive,
its installer and SHA256SUMS. FOLDER is empty. The studies run in an emulator, and nothing is downloaded.
"""

import os
import pathlib
import re
import subprocess
import sys
import textwrap

import rattler_build
import yaml

BIN = pathlib.Path(sys.executable).parent
# An application of the emulator.
APPLICATION = "tissue"


def run(*command, **options):
    """Runs a command, and returns its output. Fails with its output if the command fails."""
    ran = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if ran.returncode != 0:
        sys.exit(f"{command[0]} failed with {ran.returncode}:\n{ran.stdout}{ran.stderr}")
    return ran.stdout


def workflows(packaging, folder):
    """The workflows and the Action have the members and values of their formats, and no known weakness."""
    action = packaging / "action/action.yml"
    run(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *folder.glob("*.yml"))
    run(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-actions", action)
    run(BIN / "zizmor", "--offline", "--no-progress", "--persona=pedantic", folder, action)


def action(packaging, mirror, folder):
    """The steps of the Action install the command into a folder of the path. Returns this folder."""
    path = folder / "path"
    path.touch()
    for step in yaml.safe_load((packaging / "action/action.yml").read_text())["runs"]["steps"]:
        values = {"inputs.from": f"file://{mirror}", "runner.temp": str(folder)}
        expand = lambda text: re.sub(r"\$\{\{ ([\w.]+) \}\}", lambda found: values[found[1]], text)
        variables = {name: expand(value) for name, value in step["env"].items()}
        variables |= {"RUNNER_TEMP": str(folder), "GITHUB_PATH": str(path), "PATH": os.environ["PATH"]}
        run("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"], env=variables)
    return path.read_text().strip()


def conda(packaging, folder):
    """The recipe builds a package that passes its own tests."""
    recipe = rattler_build.Stage0Recipe.from_file(packaging / "conda/recipe.yaml")
    recipe.run_build(output_dir=folder, channels=[])
    [package] = folder.glob("linux-64/*.conda")
    package = rattler_build.Package.from_file(package)
    tests = package.run_tests(channel=[f"file://{folder}"])
    if not tests or not all(test.success for test in tests):
        sys.exit("the conda package fails its tests:\n" + "\n".join(line for test in tests for line in test.output))
    if "bin/aignostics" not in package.files:
        sys.exit(f"the conda package has no command: {package.files}")


def inputs(folder):
    """Creates a folder with slides and their table."""
    folder.mkdir()
    run("aignostics", "demo", "--keep-slides", folder / "slides", "--output", folder / "demo")
    run("aignostics", "run", "prepare", APPLICATION, folder / "table.csv", folder / "slides")
    return folder


def verified(results):
    """Fails unless a folder contains verified results."""
    run("aignostics", "run", "verify", results)
    if not list(results.rglob("*.geojson")):
        sys.exit(f"{results} contains no results")


def snakemake(packaging, folder):
    """A workflow with the wrapper creates verified results."""
    (folder / "Snakefile").write_text(textwrap.dedent(f"""\
        rule study:
            input:
                table="table.csv",
            output:
                results=directory("results"),
            params:
                application="{APPLICATION}",
                slides="slides",
                extra="--timeout 10m",
            log:
                "study.log",
            wrapper:
                "file://{packaging}/snakemake/run"
        """))
    variables = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    run(BIN / "snakemake", "--lint", cwd=folder, env=variables)
    run(BIN / "snakemake", "--cores", "1", cwd=folder, env=variables)
    verified(folder / "results")


def nextflow(packaging, folder):
    """The scripts of the module create verified results. Nextflow itself is not run: this replaces its placeholders."""
    text = (packaging / "nf-core/aignostics/run/main.nf").read_text()
    values = {"table": "table.csv", "application": APPLICATION, "args": "--timeout 10m", "{task.process}": "AIGNOSTICS_RUN"}
    for script in re.findall(r'"""\n(.*?)"""', text.split("script:")[1], re.DOTALL):
        script = textwrap.dedent(script)
        script = re.sub(r"(?<!\\)\$(\w+|\{[\w.]+\})", lambda found: values[found[1]], script).replace("\\$", "$")
        run("bash", "-euo", "pipefail", "-c", script, cwd=folder)
        versions = yaml.safe_load((folder / "versions.yml").read_text())
        printed = run("aignostics", "--version").split()[1]
        if versions != {"AIGNOSTICS_RUN": {"aignostics": printed}}:
            sys.exit(f"versions.yml of the module: {versions}")
        (folder / "results").rename(folder / f"results-{len(list(folder.glob('results*')))}")
    verified(folder / "results-1")


def studies(packaging, folder):
    """The checks that need the emulator."""
    snakemake(packaging, inputs(folder / "snakemake"))
    nextflow(packaging, inputs(folder / "nextflow"))


if __name__ == "__main__":
    packaging, *folders = [pathlib.Path(name).absolute() for name in sys.argv[1:]]
    if len(folders) == 1:
        studies(packaging, *folders)
    else:
        mirror, source, folder = folders
        workflows(packaging, source)
        command = action(packaging, mirror, folder)
        conda(packaging, folder / "conda")
        home = {"HOME": str(folder), "PATH": f"{command}:{os.environ['PATH']}"}
        run("aignostics", "--quiet", "emulator", "exec", "--", sys.executable, __file__, packaging, folder, env=os.environ | home)
