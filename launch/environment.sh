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
    release='import sys; print("%d.%d" % sys.version_info[:2])'
    has=$("$venv/bin/python" -c "$release" 2> /dev/null || true)
    if [ -n "$has" ] && [ "$has" != "$("$python" -c "$release")" ]; then
        echo "$venv has Python $has; $python is $("$python" --version): remove $venv, or set JAXASR_VENV to another folder" >&2
        exit 1
    elif [ -z "$has" ] && [ -f "$venv/pyvenv.cfg" ]; then # its Python is gone, as after an upgrade of the system
        "$python" -m venv --clear "$venv"
    elif ! "$venv/bin/python" -m pip --version > /dev/null 2>&1; then # new, or left half made where ensurepip was missing
        "$python" -m venv "$venv"
    fi
    echo "installing the versions tested with $("$venv/bin/python" --version) into $venv ($extras)"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c launch/constraints.txt -e ".[$extras]"
    "$venv/bin/python" -c 'from jaxasr import report; print("installed:", *report.version_lines(), sep="\n  ")'
    echo "$stamp" > "$venv/.jaxasr-$extras"
fi
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac
export PATH="$venv/bin:$PATH" TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-3}"
