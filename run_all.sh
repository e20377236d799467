#!/usr/bin/env bash
# The whole study with one command: environment, notebooks 01 to 08, report.
#
#   ./run_all.sh                              the embedded synthetic X-rays (study "phantom")
#   ./run_all.sh quick                        the same in about two minutes, on 30 knees: numbers mean nothing
#   ./run_all.sh STUDY [--data DIR]           a study of config/: phantom, quick, smoke, knee744, knee744_full
#   ./run_all.sh own --data DIR --name NAME   your own X-rays; DIR holds normal/ and osteoporosis/
#   ./run_all.sh audit DIR [--split TABLE]    copies, conflicts and leaks in any folder of films
#   ./run_all.sh claims FILE                  check the numbers of a printed classification report
#   ./run_all.sh predict STUDY FILE ...       read films with the networks of a study that was run
#   ./run_all.sh figures STUDY                draw the paper's figures anew from the results of a study
#   ./run_all.sh compare STUDY STUDY          what differs between two runs; folders are allowed
#   ./run_all.sh kaggle                       download the real set, then run knee744
#   ./run_all.sh publish STUDY                copy what may be shown to reports/published/STUDY
#   ./run_all.sh student DIR                  notebooks and exercises without solutions, into a new folder
#   ./run_all.sh site STUDY [--source URL]    one static site: notebooks, report and pages, with search
#   ./run_all.sh test [--all] [PYTEST ...]    lint and tests; --all adds the long ones
#   ./run_all.sh lab [DIR] [JUPYTER ...]      open JupyterLab on the notebooks, or on a student's folder
#
# Options
#   --classes CLASS=FOLDER ...   own: folders with other names, such as normal="Normal Knee" osteoporosis=OP
#   --external DIR     films of another source, with the same two folders: scored, never trained on
#   --osteopenia RULE  films in a folder osteopenia/: exclude (default), or count as normal or osteoporosis
#   --source URL       site: where links to code lead, such as https://github.com/OWNER/NAME/blob/main
#   --cores N          processor cores to use (default: all); without --all, tests use two
#   --force            run every notebook again
#   --debug            with an unexpected error, show where in the program it arose
#   --help             this text; audit, claims, predict, figures, compare and student have a help of their own
#   -- ...             everything after it goes to Snakemake, for example: ./run_all.sh phantom -- --dry-run
#
# Exit codes: 0 done, nothing found; 1 a finding (audit: a leak; claims: a contradiction; predict: an unreadable film;
#   figures: a mixture of runs; compare: numbers differ; student: a folder in use) or a failed run;
#   2 it cannot be done as it was asked; 3 another run is at work; 128 and more: stopped by a signal
#
# Environment variables
#   OSTEO_HOME     folder of data/ and reports/ (default: this folder)
#   OSTEO_ENV      conda or venv; none = use OSTEO_PYTHON as it is and install nothing
#                  (default: conda, mamba or micromamba if there is one, else venv)
#   OSTEO_PYTHON   the Python to start from, 3.11 to 3.13
#   OSTEO_LOCK     cpu or gpu (default: gpu if nvidia-smi lists one)
#   OSTEO_DRY_RUN  1 = say which environment would be used, and stop

set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
log="$root/.install.log"
export PYTHONNOUSERSITE=1  # packages in ~/.local would shadow the locked ones
# Container images often set it. Every notebook would then compile TensorFlow anew, which takes six seconds.
unset PYTHONDONTWRITEBYTECODE
export PYTHONUTF8=1        # in another locale the names of files would be read wrongly

say() { printf '%s\n' "$*" >&2; }
fail() { explain "$@"; exit 2; }
explain() { say "run_all.sh: $1"; shift; for line in "$@"; do say "  $line"; done; }
have() { command -v "$1" >/dev/null 2>&1; }

show_help() { sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

choose_lock() {
    local wanted="${OSTEO_LOCK:-}"
    if [ -z "$wanted" ]; then
        wanted=cpu
        # Not with grep -q: it would close the pipe early and pipefail would take that for a failure.
        if have nvidia-smi && [ -n "$(nvidia-smi -L 2>/dev/null | grep '^GPU [0-9]')" ]; then wanted=gpu; fi
    fi
    case "$wanted" in
        cpu) lock="$root/requirements.lock" ;;
        gpu) lock="$root/requirements-gpu.lock" ;;
        *) fail "OSTEO_LOCK is '$wanted'; expected cpu or gpu" ;;
    esac
}

right_version() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

find_python() {
    if [ -n "${OSTEO_PYTHON:-}" ]; then
        right_version "$OSTEO_PYTHON" && base="$OSTEO_PYTHON" && return
        fail "OSTEO_PYTHON is '$OSTEO_PYTHON', which is not a working Python 3.11, 3.12 or 3.13"
    fi
    base=""
    local candidate
    for candidate in python3.11 python3.12 python3.13 python3 python; do
        have "$candidate" && right_version "$candidate" && base="$candidate" && return
    done
    return 0
}

find_conda() {
    local candidate
    for candidate in micromamba mamba conda "${MAMBA_EXE:-}" "${CONDA_EXE:-}"; do
        if [ -n "$candidate" ] && have "$candidate"; then conda="$candidate"; return; fi
    done
    conda=""
}

choose_environment() {
    find_conda
    kind="${OSTEO_ENV:-}"
    if [ -z "$kind" ]; then
        if [ -f "$root/.venv/osteo-stamp" ]; then kind=venv
        elif [ -n "$conda" ] || [ "${CONDA_DEFAULT_ENV:-}" = osteo ]; then kind=conda
        else kind=venv; fi
    fi
    case "$kind" in
        venv) prefix="$root/.venv" ;;
        conda)
            prefix="$root/.conda"
            # An environment made from environment.yml and activated is the one that is meant.
            if [ "${CONDA_DEFAULT_ENV:-}" = osteo ]; then prefix="$CONDA_PREFIX"
            # Binder has made it from environment.yml, under a name of its own.
            elif [ -n "${NB_PYTHON_PREFIX:-}" ]; then prefix="$NB_PYTHON_PREFIX"
            elif [ -z "$conda" ]; then fail "OSTEO_ENV is 'conda', but there is no conda, mamba or micromamba"; fi ;;
        none)
            find_python
            [ -n "$base" ] || fail "OSTEO_ENV is 'none', but there is no Python 3.11, 3.12 or 3.13"
            python="$base"
            return ;;
        *) fail "OSTEO_ENV is '$kind'; expected conda, venv or none" ;;
    esac
    python="$prefix/bin/python"
}

# What an environment must have been made from to be good as it is: this lock, this folder, this Python.
stamp() {
    "$python" -I -S -c 'import hashlib, sys
print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest(), sys.version_info[:2], sys.argv[2])' "$lock" "$root"
}

ready() {
    [ "$kind" = none ] && return
    [ -x "$python" ] && [ -f "$prefix/osteo-stamp" ] && [ "$(cat "$prefix/osteo-stamp")" = "$(stamp 2>/dev/null)" ]
}

logged() { "$@" >>"$log" 2>&1; }

no_python() {
    fail "Python 3.11, 3.12 or 3.13 is needed, and $(python3 --version 2>/dev/null || echo 'no python3') was found." \
        "Install one (Debian, Ubuntu: sudo apt install python3 python3-venv), or name it in OSTEO_PYTHON," \
        "or install uv or conda, which bring their own."
}

new_venv() {
    rm -rf "$prefix"
    if [ "$installer" = uv ]; then
        logged uv venv --python "${base:-3.11}" "$prefix" && touch "$prefix/osteo-unfinished" && return
        say "uv could not make the environment (see .install.log); trying with Python's own venv"
        installer=pip
    fi
    [ -n "$base" ] || no_python
    "$base" -c 'import venv, ensurepip' >/dev/null 2>&1 || fail "$base has no venv or no ensurepip." \
        "Debian, Ubuntu: sudo apt install python3-venv. Or install uv or conda."
    rm -rf "$prefix"
    logged "$base" -m venv "$prefix" || broken "making the environment failed"
    touch "$prefix/osteo-unfinished"
}

new_conda() {
    [ "$prefix" = "$root/.conda" ] || fail "the active environment $prefix has no Python 3.11, 3.12 or 3.13" \
        "Make it again from environment.yml, or leave it (conda deactivate)."
    rm -rf "$prefix"
    # Unregistered: conda would otherwise note this folder in the user's home.
    logged env CONDA_REGISTER_ENVS=false "$conda" create -y -q -p "$prefix" --override-channels -c conda-forge \
        python=3.11 pip && touch "$prefix/osteo-unfinished" && return
    say "$conda could not make an environment (see .install.log); going on with .venv instead"
    kind=venv prefix="$root/.venv" python="$root/.venv/bin/python"
    new_venv
}

install_packages() {
    if [ "$installer" = uv ]; then
        logged uv pip install --python "$python" --no-deps -r "$lock" &&
            logged uv pip install --python "$python" --no-deps --no-build-isolation -e "$root" && return
        say "uv could not install (see .install.log); trying with pip"
    fi
    "$python" -m pip --version >/dev/null 2>&1 || logged "$python" -m ensurepip || broken "there is no pip in $prefix"
    # The lock names every package, so pip need not look for more; the project's builder is among them.
    # Byte code is left to the first import: compiling all of it takes longer than the installation.
    logged "$python" -m pip install --no-deps --no-compile -r "$lock" || broken "installing the packages failed"
    logged "$python" -m pip install --no-deps --no-build-isolation -e "$root" || broken "installing the project failed"
}

broken() {
    tail -n 15 "$log" >&2
    explain "$1; the lines above are the end of .install.log." \
        "Is the network there, and the disk not full? Then run the same command again."
    exit 1
}

one_installation_at_a_time() {
    if ! mkdir "$root/.install.lock" 2>/dev/null; then
        local other
        other="$(cat "$root/.install.lock/pid" 2>/dev/null || true)"
        if [ -n "$other" ] && kill -0 "$other" 2>/dev/null; then
            say "run_all.sh: another run (process $other) is making the environment; run this again when it is done"
            exit 3
        fi
        mkdir -p "$root/.install.lock"
    fi
    echo "$$" >"$root/.install.lock/pid"
    trap 'rm -rf "$root/.install.lock"' EXIT
}

make_environment() {
    local began=$SECONDS
    installer=pip
    have uv && installer=uv
    [ -n "$base" ] || [ "$installer" = uv ] || [ "$kind" = conda ] || no_python
    one_installation_at_a_time
    : >"$log"
    say "Making the environment in ${prefix#"$root"/} from ${lock##*/} ($installer); this takes one to five minutes, once."
    # One of ours is made anew. One that somebody else made, as with environment.yml, is only completed.
    if [ ! -x "$python" ] || ! right_version "$python" || [ -f "$prefix/osteo-unfinished" ] ||
        { [ -f "$prefix/osteo-stamp" ] && [ "${prefix%/*}" = "$root" ]; }; then
        "new_$kind"
    fi
    install_packages
    stamp >"$prefix/osteo-stamp"
    rm -rf "$prefix/osteo-unfinished" "$root/.install.lock"
    trap - EXIT
    say "The environment is ready ($((SECONDS - began)) s)."
}

for argument in "$@"; do
    case "$argument" in
        --help | -h)
            case "$1" in audit | claims | predict | figures | compare | student)
                find_python
                # Any Python can explain these, so that help costs no installation.
                [ -z "$base" ] || exec "$base" "$root/workflow/command_line.py" "$@" ;;
            esac
            show_help
            exit 0 ;;
        --) break ;;
    esac
done

choose_lock
choose_environment
if [ "${OSTEO_DRY_RUN:-}" = 1 ]; then
    find_python
    echo "environment: $kind"
    echo "python: $python"
    echo "made with: ${base:-none found}"
    echo "lock: ${lock##*/}"
    if ready; then echo "state: ready"; else echo "state: to be made"; fi
    exit 0
fi
if ! ready; then
    find_python
    # A mistyped word should not cost an installation first.
    if [ -n "$base" ]; then "$base" "$root/workflow/command_line.py" "$@" || exit $?; fi
    make_environment
fi
exec "$python" "$root/workflow/run.py" "$@"
