#!/usr/bin/env bash
# IPython 9.18.1: code that asks for the number of its own cell gets the number of the next one.
#
# A notebook that records which cell saved a result reads get_ipython().execution_count. Under IPython 9.4.0 that is the
# number which the cell shows as In [n]. Under 9.18.1 the count is raised before the cell runs, so the record names the cell
# after it, and every later look at "the cell that made this number" shows another one. Nothing fails. The number of the
# running cell is in get_ipython().displayhook.prompt_count, under both versions.
#
# Seen with ipykernel 7.4.0, nbclient 0.10.4, Python 3.11, Linux x86-64; in a notebook of three cells that print both:
#   IPython 9.4.0: shown 1 2 3, execution_count 1 2 3, prompt_count 1 2 3
#   IPython 9.18.1: shown 1 2 3, execution_count 2 3 4, prompt_count 1 2 3
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat >count.py <<'PYTHON'
import IPython
import nbclient
import nbformat

cell = "shell = get_ipython(); print(shell.execution_count, shell.displayhook.prompt_count)"
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for _ in range(3)])
nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
shown = [str(one.execution_count) for one in notebook.cells]
counted, prompted = zip(*("".join(out.text for out in one.outputs if out.get("name") == "stdout").split() for one in notebook.cells))
print(f"IPython {IPython.__version__}: shown {' '.join(shown)}, execution_count {' '.join(counted)}, prompt_count {' '.join(prompted)}")
PYTHON
for version in 9.4.0 9.18.1; do
    python3 -m venv "env-$version"
    "env-$version/bin/pip" install --quiet --disable-pip-version-check \
        "ipython==$version" ipykernel==7.4.0 nbclient==0.10.4 nbformat==5.10.4
    PATH="$folder/env-$version/bin:$PATH" "env-$version/bin/python" count.py 2>/dev/null | tee -a said.txt
done
grep -qx "IPython 9.4.0: shown 1 2 3, execution_count 1 2 3, prompt_count 1 2 3" said.txt
grep -qx "IPython 9.18.1: shown 1 2 3, execution_count 2 3 4, prompt_count 1 2 3" said.txt
echo "as described"
