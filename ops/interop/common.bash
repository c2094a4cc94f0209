# Shared by the scripts here: source it, then call begin NAME PROGRAM...
# shellcheck shell=bash
# It makes a temporary directory ($work), isolates cas from the user's own settings and, on any exit,
# ends the processes that were started with `started PID` and removes the directory.

set -euo pipefail
interop_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
started_pids=()

fail() {
    echo "FAIL ${suite:-interop}: $*" >&2
    exit 1
}
ok() { echo "ok $suite: $*"; }
started() { started_pids+=("$1"); }
hook() { :; } # what else to clean up; a script may define its own

cleanup() {
    local status=$? pid
    trap '' INT TERM HUP
    trap - EXIT
    set +e
    hook
    for pid in "${started_pids[@]}"; do kill "$pid" 2>/dev/null; done
    for pid in "${started_pids[@]}"; do
        for _ in {1..50}; do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    done
    if [ "$status" -ne 0 ] && [ -f "$work/server.log" ]; then tail -n 15 "$work/server.log" >&2; fi
    rm -rf "$work"
    exit "$status"
}

begin() { # name program...
    suite=$1
    shift
    local program
    PATH=$PATH:/usr/sbin:/sbin
    for program in "$@"; do
        command -v "$program" >/dev/null || fail "$program is not installed; run ops/setup test"
    done
    if [ -z "${CAS_EXECUTABLE:-}" ]; then
        for program in debug release; do
            CAS_EXECUTABLE=$interop_root/.build/$program/cas
            [ -x "$CAS_EXECUTABLE" ] && break
        done
    fi
    [ -x "$CAS_EXECUTABLE" ] || fail "$CAS_EXECUTABLE is not there; swift build first"
    cas=$CAS_EXECUTABLE
    work=$(mktemp -d "${TMPDIR:-/tmp}/cas-$suite.XXXXXX")
    trap cleanup EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    unset CAS_SERVER CAS_STORE CAS_TOKEN CAS_TOKEN_FILE CAS_REF CAS_CA_FILE CI KUBERNETES_SERVICE_HOST \
        HTTPS_PROXY HTTP_PROXY https_proxy http_proxy ALL_PROXY all_proxy NO_PROXY no_proxy
    export HOME=$work/home XDG_CACHE_HOME=$work/cache XDG_CONFIG_HOME=$work/config XDG_DATA_HOME=$work/data
    mkdir -p "$HOME"
}

serve() { # arguments of cas serve; sets $address and $server
    rm -f "$work/server.out"
    "$cas" serve "$@" >"$work/server.out" 2>>"$work/server.log" &
    server=$!
    started "$server"
    address=
    for _ in {1..300}; do
        address=$(grep -ao 'https\?://[^ ]*:[0-9]\+' "$work/server.out" 2>/dev/null | tail -n 1) || true
        [ -n "$address" ] && break
        kill -0 "$server" 2>/dev/null || fail "cas serve ended: $(cat "$work/server.log")"
        sleep 0.1
    done
    [ -n "$address" ] || fail "cas serve did not say where it listens"
}

issuer() { # python: an issuer of identity tokens on loopback (issuer.py); sets $issuer
    "$1" "$interop_root/ops/interop/issuer.py" "$work/issuer" >"$work/issuer.out" 2>"$work/issuer.log" &
    local process=$!
    started "$process"
    issuer=
    for _ in {1..100}; do
        issuer=$(head -n 1 "$work/issuer.out" 2>/dev/null) || true
        [ -n "$issuer" ] && return
        kill -0 "$process" 2>/dev/null || break
        sleep 0.1
    done
    fail "the issuer did not start: $(cat "$work/issuer.log")"
}
mint() { # claims: prints a token of the issuer
    curl -sS -f --max-time 20 --data-binary "$1" "$issuer/mint" || fail "the issuer gives no token"
}

token() { # name scope store: prints the token's text
    "$cas" token create "$1" --scope "$2" --store "$3" 2>"$work/token.log" | grep -ao 'cas_[0-9a-f]\{32\}_[0-9a-f]\{64\}' |
        head -n 1
}

same() { # what expected got
    [ "$2" = "$3" ] || fail "$1: expected '$2', got '$3'"
    ok "$1"
}
either() { # what expected... got
    local what=$1 got=${*: -1}
    case " ${*:2:$#-2} " in
        *" $got "*) ok "$what" ;;
        *) fail "$what: expected one of '${*:2:$#-2}', got '$got'" ;;
    esac
}
has() { # what pattern file
    grep -qaE -- "$2" "$3" || fail "$1: no '$2' in: $(head -c 2000 "$3")"
    ok "$1"
}

# python_environment NAME REQUIREMENT...: prints the python of a virtual environment with these packages from PyPI,
# made once below .build and kept for the next run; the requirements name exact versions.
python_environment() {
    local name=$1 folder stamp
    shift
    folder=$interop_root/.build/interop/$name
    stamp=$(printf '%s\n' "$@" | sha256sum | cut -c1-64)
    if [ "$(cat "$folder/stamp" 2>/dev/null)" != "$stamp" ]; then
        rm -rf "$folder"
        mkdir -p "$(dirname "$folder")"
        python3 -m venv "$folder" >&2 || fail "python3 -m venv does not work; run ops/setup test"
        "$folder/bin/pip" install --quiet --disable-pip-version-check "$@" >&2 || fail "pip could not install: $*"
        echo "$stamp" >"$folder/stamp"
    fi
    echo "$folder/bin/python"
}
