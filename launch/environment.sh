# Sourced by the other scripts: a virtual environment with the tested versions and the extras given as arguments.
# It is made once; another python, other extras or other constraints make it again.
python=${PYTHON:-python3}
venv=${JAXASR_VENV:-.venv}
extras=$(IFS=,; echo "$*")
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || {
    echo "jaxasr needs Python 3.11 to 3.13; $("$python" --version) is ${python}. Set PYTHON to another one." >&2
    exit 1
}
stamp=$(cat pyproject.toml launch/constraints.txt | cksum; "$python" --version; echo "$extras")
if [ "$(cat "$venv/.jaxasr" 2>/dev/null)" != "$stamp" ]; then
    echo "installing the tested versions into $venv"
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c launch/constraints.txt -e ".[$extras]"
    echo "$stamp" > "$venv/.jaxasr"
fi
export PATH="$PWD/$venv/bin:$PATH" TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-3}"
