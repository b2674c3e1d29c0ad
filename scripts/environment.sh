# Set-up that the scripts share; sourced, not run. Afterwards the working directory is the root of the repository,
# `python` is the one of .venv with requirements/dev.txt installed, `prepare_java` finds a Java for Spark, and
# `prepare_browser` a browser for the tests of pages.
# shellcheck shell=bash

set -euo pipefail

root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"

# Another Spark, another Python path or another Python home would win over what is installed here.
unset SPARK_HOME SPARK_CONF_DIR PYSPARK_SUBMIT_ARGS PYTHONPATH PYTHONHOME

export PYSPARK_PYTHON="$root/.venv/bin/python"
export PYSPARK_DRIVER_PYTHON="$PYSPARK_PYTHON"
export PYTHONUNBUFFERED=1
export KERAS_BACKEND="${KERAS_BACKEND:-tensorflow}"
# Everything runs on this machine, so Spark need not ask what the host name resolves to.
export SPARK_LOCAL_IP="${SPARK_LOCAL_IP:-127.0.0.1}"
export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-2}"
export GRPC_VERBOSITY="${GRPC_VERBOSITY:-ERROR}"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore

say() { printf '%s\n' "$@" >&2; }

die() {
    say "$@"
    exit 1
}

is_debian_root() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

find_python() {
    # 3.11 first: it is the one that every supported Spark, from 3.5 on, supports. A candidate is run and not only looked
    # up, because version managers put commands on the PATH that do nothing but complain.
    local name
    for name in python3.11 python3.12 python3.13 python3.10 python3 python; do
        if "$name" -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
            >/dev/null 2>&1 </dev/null; then
            printf '%s\n' "$name"
            return
        fi
    done
    die "No Python 3.10 to 3.13 with the modules venv and ensurepip was found on the PATH." \
        "Install one (on Debian or Ubuntu: apt-get install python3 python3-venv) and run this script again."
}

# What the environment is made of, as one line: the pins, the project's metadata and the Python.
environment_hash() {
    .venv/bin/python - <<'PYTHON'
import hashlib
import pathlib
import sys

digest = hashlib.sha256(sys.version.encode())
for path in [*sorted(pathlib.Path("requirements").glob("*.txt")), pathlib.Path("pyproject.toml")]:
    digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
# A folder that was moved keeps the old place in its scripts and in the link to the project.
digest.update(sys.prefix.encode())
print(digest.hexdigest())
PYTHON
}

prepare_python() {
    local python stamp=.venv/requirements.sha256 hash
    if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        python=$(find_python)
        say "Making .venv with $("$python" --version 2>&1)"
        "$python" -m venv --clear .venv
    fi
    hash=$(environment_hash)
    if [ "$(cat "$stamp" 2>/dev/null || true)" != "$hash" ]; then
        say "Installing requirements/dev.txt into .venv (3 GB on disk; takes minutes the first time)"
        rm -f "$stamp"
        # Some packages come as source only; building them the standard way does not depend on what .venv contains.
        .venv/bin/python -m pip install --quiet --use-pep517 -r requirements/dev.txt
        .venv/bin/python -m pip install --quiet --no-deps --editable .
        printf '%s\n' "$hash" >"$stamp"
    fi
    export PATH="$root/.venv/bin:$PATH" VIRTUAL_ENV="$root/.venv"
}

# Prints "<version> <home>" of the Java at $1, and nothing where it does not run.
describe_java() {
    "$1" -XshowSettings:properties -version 2>&1 </dev/null | awk -F ' = ' '
        $1 ~ /^ *java\.home$/ { home = $2 }
        $1 ~ /^ *java\.specification\.version$/ { version = $2 }
        END { if (home != "" && version != "") print version, home }' || true
}

# Sets JAVA_HOME to a Java of version $1 to $2, where there is one.
find_java() {
    local lowest=$1 highest=$2 candidate version home
    for candidate in ${JAVA_HOME:+"$JAVA_HOME/bin/java"} java /usr/lib/jvm/*/bin/java; do
        command -v "$candidate" >/dev/null || continue
        read -r version home <<<"$(describe_java "$candidate")"
        case $version in '' | *[!0-9]*) continue ;; esac
        if [ "$version" -ge "$lowest" ] && [ "$version" -le "$highest" ]; then
            export JAVA_HOME=$home
            return 0
        fi
    done
    return 1
}

prepare_java() {
    # The older Sparks start on no Java newer than 21; a newer one is better than none.
    if find_java 17 21 || find_java 22 99; then return; fi
    if is_debian_root; then
        say "Installing Java"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq </dev/null >&2
        # A release of the system has the one or the other.
        apt-get install -y -qq --no-install-recommends openjdk-17-jre-headless </dev/null >&2 ||
            apt-get install -y -qq --no-install-recommends openjdk-21-jre-headless </dev/null >&2 || true
        if find_java 17 99; then return; fi
    fi
    die "Spark needs Java 17 or newer, and none was found in JAVA_HOME, on the PATH or in /usr/lib/jvm." \
        "Install one (on Debian or Ubuntu: apt-get install openjdk-17-jre-headless; on macOS: brew install openjdk@17)," \
        "or set JAVA_HOME to where it is, and run this script again."
}

# Sets CHROMIUM to a headless-capable browser, for the tests of pages.
find_browser() {
    local candidate
    for candidate in ${CHROMIUM:+"$CHROMIUM"} chromium chromium-browser google-chrome-stable google-chrome \
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" /Applications/Chromium.app/Contents/MacOS/Chromium; do
        # Run and not only looked up: some systems have a command that only tells how to install one.
        if "$candidate" --version >/dev/null 2>&1 </dev/null; then
            CHROMIUM=$(command -v "$candidate")
            export CHROMIUM
            return 0
        fi
    done
    return 1
}

prepare_browser() {
    if find_browser; then return; fi
    if is_debian_root; then
        say "Installing Chromium"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq </dev/null >&2
        apt-get install -y -qq --no-install-recommends chromium </dev/null >&2 || true
        if find_browser; then return; fi
    fi
    die "The tests of pages need Chromium or Chrome, and none was found in CHROMIUM or on the PATH." \
        "Install one (on Debian: apt-get install chromium; on macOS: brew install --cask google-chrome)," \
        "or set CHROMIUM to where it is, and run this script again."
}
