#!/usr/bin/env bash
# pdfua 0.1.3 with pikepdf: a tagged PDF by typst passes, although the rule on the order of headings was never evaluated.
#
# The checker's rule UA-14-001 (heading levels) raises ValueError on the structure tree that typst writes: it asks an array
# whether it is an integer, which pikepdf 10 takes for the look-up of a key. The error is caught, the rule is listed as [skip], and the result is PASS with exit code 0: a
# gate that looks at the result or at the exit code takes the headings for checked. Read the list of skipped rules, or
# fail where it is not empty.
#
# Seen with pdfua 0.1.3, pikepdf 10.18.0, typst 0.15.2, Python 3.11, Linux x86-64, on two headings and a paragraph:
#   result: PASS (no findings)   errors=0 warnings=0 info=0
#   [skip ] UA-14-001  not evaluated: rule raised ValueError: ...
#   exit code 0
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check pdfua==0.1.3 pikepdf==10.18.0 typst==0.15.2
env/bin/python - <<'PYTHON'
from pathlib import Path

import typst

text = '#set document(title: "Two headings")\n#set text(lang: "en")\n= One\n\nText.\n\n== Two\n\nMore text.\n'
Path("headings.typ").write_text(text, "utf-8")
typst.compile("headings.typ", output="headings.pdf", pdf_standards="ua-1")
PYTHON
code=0
env/bin/pdfua check headings.pdf >said.txt || code=$?
grep -E "result|skip" said.txt
echo "exit code $code"
grep -q "result: PASS (no findings)" said.txt
grep -q "\[skip \] UA-14-001  not evaluated: rule raised ValueError" said.txt
test "$code" = 0
echo "as described"
