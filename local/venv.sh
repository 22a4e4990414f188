#!/usr/bin/env bash
# Make the virtual environment $1 with everything that is pinned, from a Python 3.13 or newer:
# python3.13 on PATH, one of pyenv's, or one that uv fetches.
set -euo pipefail

fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 13))' >/dev/null 2>&1; }

find_python() {
  local candidate
  for candidate in python3.13 python3.14 python3 python "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[3-9].*/bin/python; do
    if fits "$candidate"; then echo "$candidate"; return; fi
  done
}

# uv from PATH, or from PyPI by whatever Python there is.
find_uv() {
  if command -v uv; then return; fi
  python3 -m venv "$1-uv" >&2 && "$1-uv"/bin/pip install --quiet uv==0.13.9 >&2 && echo "$1-uv/bin/uv"
}

python=$(find_python)
if [ -n "$python" ]; then
  "$python" -m venv --clear "$1"
else
  uv=$(find_uv "$1") || { echo "Python 3.13 or newer is missing, and uv, which could fetch it, cannot be had" >&2; exit 1; }
  "$uv" venv --clear --seed --python 3.13 "$1"
fi

"$1"/bin/pip install --quiet --disable-pip-version-check 'pip==26.3'
"$1"/bin/pip install --quiet -r requirements.txt --group dev -c constraints.txt
