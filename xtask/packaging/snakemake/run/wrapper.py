"""Uploads slides, runs an application on them, and downloads verified results. A repeated call resumes."""

import shutil
from pathlib import Path

from snakemake.shell import shell

log = snakemake.log_fmt_shell(stdout=True, stderr=True)
extra = snakemake.params.get("extra", "")
application = snakemake.params.application
slides = snakemake.params.slides
results = Path(snakemake.output.results)
table = results / "slides.csv"

results.mkdir(parents=True, exist_ok=True)
if not table.exists():
    shutil.copyfile(snakemake.input.table, table)
shell("aignostics run execute {application:q} {table:q} {slides:q} {extra} {log}")
