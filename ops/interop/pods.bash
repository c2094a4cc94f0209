# Pods by podman: source it after common.bash, then call pods_begin. It isolates podman's storage and networks below
# $work, loads the image of cas as localhost/cas:test and has functions for images with Python and for pods.
# shellcheck shell=bash

# shellcheck disable=SC2034,SC2154
pods_programs=(podman runc skopeo busybox python3 zstd awk)

# pods_begin: the executable for the image is CAS_PORTABLE's, else what ops/package made or makes now.
pods_begin() {
    [ "$(id -u)" -eq 0 ] || fail "this needs root, as podman does here"
    [ -x /usr/bin/python3 ] || fail "Debian's python3 is not installed; run ops/setup test"
    portable=${CAS_PORTABLE:-$interop_root/.build-package/cas}
    [ -x "$portable" ] || "$interop_root/ops/package" || fail "ops/package failed"
    IMAGE_ZSTD_LEVEL=${IMAGE_ZSTD_LEVEL:-3} IMAGE_ANY_SIZE=1 IMAGE_BUILDER=$cas "$interop_root/ops/image" "$work/image" "$portable" >"$work/image.log" ||
        fail "ops/image: $(cat "$work/image.log")"
    mkdir -p "$work/run"
    cat >"$work/containers.conf" <<CONF
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "$work/run/libpod"
[network]
network_config_dir = "$work/networks"
CONF
    pods_storage vfs
    : >"$work/registries.conf"
    export CONTAINERS_CONF=$work/containers.conf CONTAINERS_STORAGE_CONF=$work/storage.conf \
        CONTAINERS_REGISTRIES_CONF=$work/registries.conf
    timeout 120 skopeo copy -q "oci:$work/image:cas" containers-storage:localhost/cas:test >"$work/podman.log" 2>&1 ||
        fail "skopeo copy: $(cat "$work/podman.log")"
}
pods_storage() { # driver
    printf '[storage]\ndriver = "%s"\ngraphroot = "%s"\nrunroot = "%s"\n' "$1" "$work/storage" "$work/run/storage" >"$work/storage.conf"
}
pods_end() { # for a script's hook
    [ -n "${CONTAINERS_STORAGE_CONF:-}" ] || return 0
    timeout 60 podman pod rm -f -a -t 0 >/dev/null 2>&1
    timeout 60 podman rm -f -a -t 0 >/dev/null 2>&1
    timeout 60 podman system reset -f >/dev/null 2>&1
}
pod() { timeout 120 podman "$@"; }

# python_image NAME [PACKAGE==VERSION]: an image of this machine's python3 with its library, busybox as a shell, and a
# package from PyPI with what it needs. The root is kept below .build for the next run.
python_image() {
    local name=$1 package=${2:-} kept=$interop_root/.build/interop/$1 stamp
    stamp=$(printf '%s\n' 4 "$(/usr/bin/python3 -VV)" "$package" | sha256sum | cut -c 1-64)
    if [ "$(cat "$kept/stamp" 2>/dev/null)" != "$stamp" ]; then
        rm -rf "$kept"
        mkdir -p "$kept/root"/{usr/bin,usr/lib,bin,tmp,work,cas,proc,sys,dev,etc}
        chmod 1777 "$kept/root"/{tmp,work,cas}
        python_root "$kept/root" "$package"
        tar -C "$kept/root" -cf "$kept/root.tar" .
        rm -rf "$kept/root"
        echo "$stamp" >"$kept/stamp"
    fi
    pod import -q --change ENV=PATH=/usr/local/bin:/usr/bin:/bin "$kept/root.tar" "localhost/$name:test" >"$work/podman.log" 2>&1 || fail "podman import: $(cat "$work/podman.log")"
}
python_root() { # root package
    local root=$1 library
    echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
    cp -L /usr/bin/python3 "$root/usr/bin/python3"
    cp "$(command -v busybox)" "$root/bin/busybox"
    ln -s busybox "$root/bin/sh"
    cp -a /usr/lib/python3.*/ "$root/usr/lib/"
    rm -rf "$root"/usr/lib/python3*/{test,idlelib,ensurepip,config-*,lib2to3,pydoc_data,tkinter}
    if [ -n "$2" ]; then
        /usr/bin/python3 -m venv "$root/tmp/venv" >&2 || fail "python3 -m venv does not work; run ops/setup test"
        "$root/tmp/venv/bin/pip" install --quiet --disable-pip-version-check "$2" >&2 || fail "pip could not install $2"
        mkdir -p "$root/usr/lib/python3/dist-packages"
        rm -rf "$root"/tmp/venv/lib/python3*/site-packages/{pip*,setuptools*,_distutils_hack,distutils*}
        find "$root"/tmp/venv/lib -depth -type d -name tests -exec rm -rf {} +
        cp -a "$root"/tmp/venv/lib/python3*/site-packages/. "$root/usr/lib/python3/dist-packages/"
        rm -rf "$root/tmp/venv"
    fi
    # What packages from PyPI take for granted (PEP 600), besides what is needed here.
    {
        ldd /usr/bin/python3
        find "$root/usr/lib" -name '*.so*' -exec ldd {} + 2>/dev/null
        ldconfig -p | awk '/x86-64|AArch64/ && $1 ~ /^lib(dl|pthread|rt|util|m|gcc_s|stdc\+\+)\.so\.[0-9]+$/ { print $1, "=>", $NF }'
    } |
        awk '$2 == "=>" && $3 ~ /^\// { print $3 } $1 ~ /^\// && $1 !~ /:$/ { print $1 }' | sort -u |
        while read -r library; do
            case "$library" in "$root"*) continue ;; esac
            install -D "$library" "$root$library"
        done
}

# python_packages NAME PACKAGE==VERSION...: prints a folder of packages for this machine's python3, from PyPI, kept below
# .build for the next run: for pods that mount it, where it is too large for an image.
python_packages() {
    local folder=$interop_root/.build/interop/$1 stamp
    shift
    stamp=$(printf '%s\n' "$(/usr/bin/python3 -VV)" "$@" | sha256sum | cut -c 1-64)
    if [ "$(cat "$folder/stamp" 2>/dev/null)" != "$stamp" ]; then
        rm -rf "$folder"
        mkdir -p "$folder"
        /usr/bin/python3 -m venv "$folder/venv" >&2 || fail "python3 -m venv does not work; run ops/setup test"
        "$folder/venv/bin/pip" install --quiet --no-cache-dir --disable-pip-version-check "$@" >&2 || fail "pip could not install: $*"
        echo "$stamp" >"$folder/stamp"
    fi
    echo "$folder"/venv/lib/python3*/site-packages
}

# As a kubelet restarts a pod: its init containers run again (podman pod restart leaves them out).
restart() { # name
    pod pod stop -t 1 "$1" >"$work/podman.log" 2>&1 || fail "stop: $(cat "$work/podman.log")"
    pod pod start "$1" >"$work/podman.log" 2>&1 || fail "start: $(cat "$work/podman.log")"
}

# The address by which a pod sees this host.
pods_host() {
    local host
    host=$(hostname -I 2>/dev/null | awk '{ print $1 }')
    echo "${host:-127.0.0.1}"
}
