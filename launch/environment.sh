# Sourced by the other scripts: a virtual environment with the tested versions and the extras given as arguments.
# Each set of extras is installed once; another python, pyproject.toml or other constraints install it again.
python=${PYTHON:-python3}
venv=${JAXASR_VENV:-.venv}
extras=$(IFS=,; echo "$*")
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || {
    echo "jaxasr needs Python 3.11 to 3.13; $("$python" --version) is ${python}. Set PYTHON to another one." >&2
    exit 1
}
stamp=$(cat pyproject.toml launch/constraints.txt | cksum; "$python" --version)
if [ "$(cat "$venv/.jaxasr-$extras" 2>/dev/null)" != "$stamp" ]; then
    echo "installing the tested versions into $venv ($extras)"
    [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c launch/constraints.txt -e ".[$extras]"
    echo "$stamp" > "$venv/.jaxasr-$extras"
fi
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac
export PATH="$venv/bin:$PATH" TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-3}"
