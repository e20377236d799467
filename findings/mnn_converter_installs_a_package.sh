#!/usr/bin/env bash
# MNN 3.6.1: importing its converter runs pip and installs a logging client of another vendor.
#
# MNN is an inference engine that could compute the frozen trunks. Its `MNN.tools.mnnconvert` turns an ONNX file into MNN's
# own format. `import MNN` alone changes nothing. Importing the converter, before any model is named, calls
# `pip install -U aliyun-log-python-sdk` for whichever pip is first on PATH, without asking and without a setting that
# turns it off. That pip need not belong to the Python that imports it: another environment may be the one that changes.
# The code behind it is written to send the arguments, the model's size and an identifier of the machine to a log service
# after each conversion. Whoever promises that nothing leaves the machine, or pins every package, should know it.
#
# Seen with Python 3.11 on Linux x86-64, mnn 3.6.1 and numpy 2.2.6:
#   after import MNN: not installed
#   after import of the converter: aliyun-log-python-sdk installed
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
export PATH="$folder/env/bin:$PATH"
pip install --quiet --disable-pip-version-check mnn==3.6.1 numpy==2.2.6
state() { if pip show --quiet aliyun-log-python-sdk 2>/dev/null; then echo installed; else echo "not installed"; fi; }

python -c 'import MNN' >/dev/null
after_engine="$(state)"
python -c 'import MNN.tools.mnnconvert' >/dev/null 2>&1
after_converter="$(state)"
echo "after import MNN: $after_engine"
echo "after import of the converter: aliyun-log-python-sdk $after_converter"
[ "$after_engine" = "not installed" ] && [ "$after_converter" = "installed" ]
