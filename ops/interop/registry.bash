# What the tests of the registry share: source it after common.bash. Clients with storage of their own below $work, images to
# move, containerd, and docker-registry to compare with.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154

registry_programs=(python3 curl openssl skopeo podman runc buildah umoci containerd ctr docker-registry)
layout() { "$interop_root/ops/interop/oci_layout.py" "$@"; }
conformance() { timeout 300 "$interop_root/ops/interop/oci_conformance.py" "$@"; }

# run WHAT COMMAND...: a client's command, which ends well within a minute.
run() {
    local what=$1
    shift
    timeout 60 "$@" >"$work/out" 2>"$work/log" </dev/null || fail "$what: status $? of '$*': $(tail -n 5 "$work/log" "$work/out")"
    ok "$what"
}
refused() { # what pattern command...: a command that fails, and says why
    local what=$1 pattern=$2
    shift 2
    timeout 60 "$@" >"$work/out" 2>"$work/log" </dev/null && fail "$what: '$*' was allowed"
    cat "$work/out" >>"$work/log"
    grep -qaiE -- "$pattern" "$work/log" || fail "$what: no '$pattern' in: $(tail -n 5 "$work/log")"
    ok "$what"
}

# client_settings: storage, runtime and credentials of podman, buildah and skopeo are below $work.
client_settings() {
    mkdir -p "$work/run"
    cat >"$work/containers.conf" <<CONF
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "$work/run/libpod"
CONF
    fresh_storage
    export CONTAINERS_CONF=$work/containers.conf CONTAINERS_STORAGE_CONF=$work/storage.conf REGISTRY_AUTH_FILE=$work/auth.json
    echo '{}' >"$REGISTRY_AUTH_FILE"
}
# clients_begin: two trees, images of them, and the settings of all clients.
clients_begin() {
    [ "$(id -u)" -eq 0 ] || fail "this needs root, as podman and containerd do here"
    mkdir -p "$work"/{tree,code,run}
    cp -a /usr/lib/python3*/{json,email,asyncio,http} "$work/tree"
    find "$work/tree" -name __pycache__ -prune -exec rm -r {} +
    printf '#!/bin/sh\necho hello\n' >"$work/code/main.sh"
    chmod 755 "$work/code/main.sh"
    ln -s main.sh "$work/code/link"
    : >"$work/code/empty"
    openssl rand 700000 >"$work/code/data.bin"
    mkdir "$work/merged"
    cp -a "$work/tree" "$work/merged/lib"
    cp -a "$work/code" "$work/merged/code"
    plain=$(layout --name plain "$work/images" "$work/tree=lib" "$work/code=code") || fail "oci_layout.py"
    zipped=$(layout --gzip --name zipped "$work/images" "$work/tree=lib" "$work/code=code") || fail "oci_layout.py"
    many=$(layout --platforms 3 --name many "$work/images" "$work/tree=lib" "$work/code=code") || fail "oci_layout.py"
    client_settings
    export CONTAINERS_REGISTRIES_CONF=$work/registries.conf
}
# fresh_storage: podman and buildah on a machine that has no image yet, and has not heard of any.
fresh_storage() {
    storage=$((${storage:-0} + 1))
    printf '[storage]\ndriver = "vfs"\ngraphroot = "%s"\nrunroot = "%s"\n' "$work/storage.$storage" "$work/run/storage.$storage" >"$work/storage.conf"
}
clients_end() { # for a script's hook
    [ -z "${containerd:-}" ] || containerd_end
    [ -n "${CONTAINERS_STORAGE_CONF:-}" ] || return 0
    timeout 60 podman image unmount -a >/dev/null 2>&1
    timeout 60 podman rm -f -a -t 0 >/dev/null 2>&1
}

# registry_at HOST [insecure]: where the clients find it; plain HTTP if insecure.
registry_at() {
    host=$1
    mkdir -p "$HOME/.config/containers" # where skopeo looks
    printf '[[registry]]\nlocation = "%s"\ninsecure = %s\n' "$host" "$([ "${2:-}" = insecure ] && echo true || echo false)" |
        tee "$HOME/.config/containers/registries.conf" >"$work/registries.conf"
    # ctr speaks plain HTTP with what is called localhost, unless a file says otherwise.
    mkdir -p "$work/hosts/$host"
    printf 'server = "https://%s"\n[host."https://%s"]\ncapabilities = ["pull", "resolve", "push"]\nca = "%s"\n' \
        "$host" "$host" "$work/certificate.pem" >"$work/hosts/$host/hosts.toml"
    ctr_registry=(--hosts-dir "$work/hosts")
    [ "${2:-}" != insecure ] || ctr_registry=(--plain-http)
}

# peer_begin: docker-registry on a port of its own; sets $peer.
peer_begin() {
    local port
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    cat >"$work/peer.yml" <<CONF
version: 0.1
log: {level: error}
storage:
  filesystem: {rootdirectory: $work/peer}
  delete: {enabled: true}
http: {addr: "127.0.0.1:$port"}
CONF
    # Variables that begin with REGISTRY_ are settings of its own.
    env -u REGISTRY_AUTH_FILE docker-registry serve "$work/peer.yml" >"$work/peer.log" 2>&1 &
    started $!
    peer=127.0.0.1:$port
    for _ in {1..100}; do
        curl -s -o /dev/null --max-time 5 "http://$peer/v2/" && return
        sleep 0.1
    done
    fail "docker-registry did not start: $(cat "$work/peer.log")"
}

# containerd_begin: a containerd of this test's own.
containerd_begin() {
    mkdir -p "$work/containerd"
    cat >"$work/containerd.toml" <<CONF
version = 2
root = "$work/containerd/root"
state = "$work/containerd/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
    "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs", "io.containerd.internal.v1.opt"]
[grpc]
address = "$work/containerd/socket"
[ttrpc]
address = "$work/containerd/socket.ttrpc"
CONF
    containerd -c "$work/containerd.toml" >"$work/containerd.log" 2>&1 &
    containerd=$!
    started "$containerd"
    for _ in {1..200}; do
        timeout 10 ctr -a "$work/containerd/socket" version >/dev/null 2>&1 && return
        kill -0 "$containerd" 2>/dev/null || break
        sleep 0.1
    done
    fail "containerd did not start: $(tail -n 5 "$work/containerd.log")"
}
containerd_end() {
    umount "$work/mounted" 2>/dev/null
    kill "$containerd" 2>/dev/null
    wait "$containerd" 2>/dev/null
    awk -v "below=$work/containerd/" 'index($2, below) == 1 { print $2 }' /proc/mounts | sort -r | while read -r at; do umount "$at"; done
}
