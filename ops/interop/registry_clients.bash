# Real clients on one registry at $host: source it after registry.bash. Each function is one client; names begin with $1.
# shellcheck shell=bash
# shellcheck disable=SC2154

tags_of() { timeout 60 skopeo list-tags "docker://$1" 2>"$work/log" | python3 -c 'import json, sys; print(*sorted(json.load(sys.stdin)["Tags"] or []))'; }
digest_of() { timeout 60 skopeo inspect --raw "docker://$1" 2>"$work/log" | sha256sum | sed 's/ .*//; s/^/sha256:/'; }
same_blobs() { # what layout layout: the second has every blob of the first
    local blob
    for blob in "$2"/blobs/sha256/*; do
        cmp -s "$blob" "$3/blobs/sha256/${blob##*/}" || fail "$1: ${blob##*/} differs or is missing"
    done
    ok "$1"
}

skopeo_part() { # prefix
    local at=$host/$1/skopeo
    # First: later it would know of layers there that hold the same.
    run "skopeo: copy in, zstd" skopeo copy --dest-compress-format zstd "oci:$work/images:plain" "docker://$at:zstd"
    has "skopeo: its media type" 'tar\+zstd' <(timeout 60 skopeo inspect --raw "docker://$at:zstd")
    run "skopeo: copy in, plain tar" skopeo copy --preserve-digests "oci:$work/images:plain" "docker://$at:plain"
    same "skopeo: the manifest is what was pushed" "$plain" "$(digest_of "$at:plain")"
    run "skopeo: copy in, gzip" skopeo copy "oci:$work/images:zipped" "docker://$at:zipped"
    same "skopeo: its digest" "$zipped" "$(digest_of "$at:zipped")"
    run "skopeo: copy in, an index with all images" skopeo copy --all --preserve-digests "oci:$work/images:many" "docker://$at:many"
    same "skopeo: its digest" "$many" "$(digest_of "$at:many")"
    run "skopeo: copy in, schema 2 of docker" skopeo copy --format v2s2 "oci:$work/images:zipped" "docker://$at:v2s2"
    has "skopeo: its media type" 'distribution.manifest.v2\+json' <(timeout 60 skopeo inspect --raw "docker://$at:v2s2")
    run "skopeo: inspect" skopeo inspect "docker://$at:zipped"
    has "skopeo: what it says" "\"Digest\": \"$zipped\"" "$work/out"
    same "skopeo: list-tags" "many plain v2s2 zipped zstd" "$(tags_of "$at")"
    rm -rf "$work/copied"
    run "skopeo: copy out" skopeo copy --preserve-digests "docker://$at:plain" "oci:$work/copied:plain"
    run "skopeo: copy out, gzip" skopeo copy --preserve-digests "docker://$at:zipped" "oci:$work/copied:zipped"
    run "skopeo: copy out, all of an index" skopeo copy --all --preserve-digests "docker://$at:many" "oci:$work/copied:many"
    same_blobs "skopeo: the same blobs came out" "$work/images" "$work/copied"
    run "skopeo: copy out, zstd" skopeo copy "docker://$at:zstd" "dir:$work/zstd"
    run "skopeo: copy by digest within the registry" skopeo copy "docker://$at@$zipped" "docker://$host/$1/second:zipped"
    same "skopeo: the copy" "$zipped" "$(digest_of "$host/$1/second:zipped")"
    rm -rf "$work/synced"
    run "skopeo: sync out" skopeo sync --src docker --dest dir "$at" "$work/synced"
    run "skopeo: sync in" skopeo sync --src dir --dest docker "$work/synced" "$host/$1/synced"
    same "skopeo: the synced tags" "many plain v2s2 zipped zstd" "$(tags_of "$host/$1/synced/skopeo")"
    run "skopeo: a second tag" skopeo copy --preserve-digests "oci:$work/images:plain" "docker://$at:again"
    run "skopeo: delete" skopeo delete "docker://$at:plain"
    same "skopeo: all tags of the deleted manifest are gone" "many v2s2 zipped zstd" "$(tags_of "$at")"
    refused "skopeo: it is not there any more" 'manifest unknown|not found' skopeo inspect "docker://$at:again"
    run "skopeo: the other name has what it had" skopeo inspect "docker://$host/$1/synced/skopeo:plain"
}

podman_part() { # prefix
    local at=$host/$1/podman mounted
    fresh_storage
    run "podman: an image for it" skopeo copy --preserve-digests "oci:$work/images:plain" "docker://$at:1"
    run "podman: pull" podman pull -q "$at:1"
    mounted=$(timeout 60 podman image mount "$at:1" 2>"$work/log") || fail "podman image mount: $(cat "$work/log")"
    diff -r --no-dereference "$work/merged" "$mounted" || fail "podman: the mounted tree differs"
    ok "podman: image mount, and the tree is the source's"
    run "podman: unmount" podman image unmount "$at:1"
    run "podman: tag" podman tag "$at:1" "$host/$1/podman-pushed:2"
    run "podman: push" podman push -q "$host/$1/podman-pushed:2"
    same "podman: it is listed" 2 "$(tags_of "$host/$1/podman-pushed")"
    fresh_storage
    run "podman: pull what it pushed" podman pull -q "$host/$1/podman-pushed:2"
    mounted=$(timeout 60 podman image mount "$host/$1/podman-pushed:2" 2>"$work/log") || fail "podman image mount: $(cat "$work/log")"
    diff -r --no-dereference "$work/merged" "$mounted" || fail "podman: the tree that came back differs"
    ok "podman: the same tree came back"
    run "podman: unmount" podman image unmount -a
    run "podman: pull another platform's of an index" podman pull -q --arch riscv64 "$host/$1/skopeo:many"
    same "podman: its architecture" riscv64 "$(timeout 60 podman image inspect --format '{{.Architecture}}' "$(cat "$work/out")")"
    run "podman: search of the catalog" podman search --list-tags "$host/$1/podman"
    has "podman: found" "podman +1" "$work/out"
}

buildah_part() { # prefix
    local at=$host/$1/built cache=$host/$1/cache/steps
    mkdir -p "$work/context"
    cp -a "$work/code" "$work/context/code"
    printf 'FROM %s\nCOPY code/main.sh /app/main.sh\nCOPY code/data.bin /app/data.bin\nLABEL step=last\n' "$host/$1/podman:1" >"$work/context/Dockerfile"
    build() {
        timeout 120 buildah build --layers --isolation chroot --cache-to "$cache" --cache-from "$cache" -t "$at:$1" "$work/context" \
            >"$work/build.$1" 2>&1 </dev/null || fail "buildah build: $(tail -n 8 "$work/build.$1")"
    }
    fresh_storage
    build 1
    has "buildah: the first build fills the cache" 'Pushing cache' "$work/build.1"
    run "buildah: push" buildah push -q "$at:1"
    fresh_storage
    build 2
    same "buildah: the second build takes every step from the cache" 3 "$(grep -c 'Cache pulled from remote' "$work/build.2")"
    grep -q 'Pushing cache' "$work/build.2" && fail "buildah: the second build pushed to the cache"
    ok "buildah: and pushes none"
    printf 'changed\n' >>"$work/context/code/main.sh"
    fresh_storage
    build 3
    same "buildah: after a change of the first step none is taken" 0 "$(grep -c 'Cache pulled from remote' "$work/build.3")"
    run "buildah: pull what it pushed" buildah pull -q "$at:1"
    rm -r "$work/context"
}

umoci_part() { # prefix
    local at=$host/$1/umoci
    rm -rf "$work/umoci" "$work/bundle" "$work/bundle2"
    run "umoci: an image for it" skopeo copy --preserve-digests "oci:$work/images:zipped" "docker://$at:1"
    run "umoci: from the registry" skopeo copy "docker://$at:1" "oci:$work/umoci:1"
    run "umoci: unpack" umoci unpack --image "$work/umoci:1" "$work/bundle"
    diff -r --no-dereference "$work/merged" "$work/bundle/rootfs" || fail "umoci: the tree differs"
    ok "umoci: the tree is the source's"
    echo more >"$work/bundle/rootfs/code/more"
    run "umoci: repack" umoci repack --image "$work/umoci:2" "$work/bundle"
    run "umoci: push what it packed" skopeo copy "oci:$work/umoci:2" "docker://$at:2"
    rm -rf "$work/umoci"
    run "umoci: and back" skopeo copy "docker://$at:2" "oci:$work/umoci:2"
    run "umoci: unpack it" umoci unpack --image "$work/umoci:2" "$work/bundle2"
    same "umoci: the file is there" more "$(cat "$work/bundle2/rootfs/code/more")"
    same "umoci: tags" "1 2" "$(tags_of "$at")"
}

ctr_part() { # prefix [options of ctr for the registry]
    local at=$host/$1/ctr
    shift
    run "ctr: an image for it" skopeo copy --preserve-digests "oci:$work/images:plain" "docker://$at:1"
    run "ctr: pull" ctr -a "$work/containerd/socket" images pull "${ctr_registry[@]}" "$@" --snapshotter native "$at:1"
    mkdir -p "$work/mounted"
    run "ctr: mount" ctr -a "$work/containerd/socket" images mount --snapshotter native "$at:1" "$work/mounted"
    diff -r --no-dereference "$work/merged" "$work/mounted" || fail "ctr: the mounted tree differs"
    ok "ctr: the tree is the source's"
    run "ctr: unmount" ctr -a "$work/containerd/socket" images unmount "$work/mounted"
    run "ctr: tag" ctr -a "$work/containerd/socket" images tag "$at:1" "$at-pushed:2"
    run "ctr: push" ctr -a "$work/containerd/socket" images push "${ctr_registry[@]}" "$@" "$at-pushed:2"
    same "ctr: the manifest is the same" "$plain" "$(digest_of "$at-pushed:2")"
    run "ctr: remove" ctr -a "$work/containerd/socket" images rm --sync "$at:1" "$at-pushed:2"
    run "ctr: pull what it pushed" ctr -a "$work/containerd/socket" images pull "${ctr_registry[@]}" "$@" --snapshotter native "$at-pushed:2"
    run "ctr: remove" ctr -a "$work/containerd/socket" images rm --sync "$at-pushed:2"
}

oras_part() { # prefix user password how: with a login if there is a user, by `token` or `basic`
    local python
    python=$(python_environment oras oras==0.2.43 requests==2.32.5)
    mkdir -p "$work/oras"
    cp "$work/code/data.bin" "$work/code/main.sh" "$work/oras"
    timeout 60 "$python" - "$host" "$1" "$work/oras" "${2:-}" "${3:-}" "${4:-token}" >"$work/out" 2>"$work/log" <<'PYTHON' || fail "oras: $(tail -n 5 "$work/log")"
import os, sys, oras.client
host, prefix, folder, user, password, how = sys.argv[1:]
secure = bool(user)
client = oras.client.OrasClient(hostname=host, insecure=not secure, tls_verify=secure, auth_backend=how)
if user:
    client.auth.set_basic_auth(user, password)
os.chdir(folder)
target = f"{host}/{prefix}/oras"
for tag in ("1", "2"):
    answer = client.push(target=f"{target}:{tag}", files=["data.bin:application/vnd.example.weights", "main.sh:text/plain"],
                         manifest_annotations={"tag": tag})
    assert answer.status_code == 201, answer.status_code
files = client.pull(target=f"{target}:1", outdir="pulled")
assert sorted(map(os.path.basename, files)) == ["data.bin", "main.sh"], files
for name in ("data.bin", "main.sh"):
    assert open(name, "rb").read() == open(f"pulled/{name}", "rb").read(), name
assert sorted(client.get_tags(target)) == ["1", "2"], client.get_tags(target)
manifest = client.get_manifest(f"{target}:2") if hasattr(client, "get_manifest") else client.remote.get_manifest(f"{target}:2")
assert manifest["annotations"]["tag"] == "2", manifest
deleted = client.delete_tags(target, ["2"])
assert deleted == ["2"], deleted
assert client.get_tags(target) == ["1"], client.get_tags(target)
PYTHON
    ok "oras: push, pull, tags, manifest and delete"
}
