# Real clients on one registry at $host: source it after registry.bash. Each function is one client; names begin with $1.
# shellcheck shell=bash
# shellcheck disable=SC2154
#
# What each can do in a registry, and does here:
#   skopeo   push, pull, copy, sync, list, delete, login
#   podman   push, pull, copy (a push to another name), list, search, login; no command deletes
#   buildah  push, pull, copy, commit, build caches, login; no command lists or deletes
#   umoci    nothing by itself: its layouts go and come by skopeo
#   ctr      push, pull, copy (a push to another name), all platforms of an index; no command lists or deletes
#   oras     push, push in parts, pull, copy, list, delete

tags_of() { timeout 60 skopeo list-tags "docker://$1" 2>"$work/log" | python3 -c 'import json, sys; print(*sorted(json.load(sys.stdin)["Tags"] or []))'; }
digest_of() { timeout 60 skopeo inspect --raw "docker://$1" 2>"$work/log" | sha256sum | sed 's/ .*//; s/^/sha256:/'; }
# deleted WHAT REFERENCE PATTERN COMMAND...: once skopeo deleted it, since this client has no command for that, it is gone for the client too.
deleted() {
    local what=$1 reference=$2 pattern=$3
    shift 3
    run "$what: skopeo deletes it" skopeo delete "docker://$reference"
    refused "$what: it is not there any more" "$pattern" "$@"
}
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
    run "podman: list of tags" podman search --list-tags "$host/$1/podman"
    has "podman: found" "podman +1" "$work/out"
    run "podman: search of the catalog" podman search --limit 100 "$host/$1/podman"
    has "podman: found" "$1/podman-pushed" "$work/out"
    run "podman: an index of its own" podman manifest create "localhost/$1-list:1"
    run "podman: of an image" podman manifest add "localhost/$1-list:1" "docker://$at:1"
    run "podman: push of an index with its images" podman manifest push --all "localhost/$1-list:1" "docker://$host/$1/podman-list:1"
    rm -rf "$work/listed"
    run "podman: the index comes back with all it names" skopeo copy --all "docker://$host/$1/podman-list:1" "oci:$work/listed:1"
    deleted podman "$host/$1/podman-pushed:2" 'manifest unknown|not found' podman pull -q "$host/$1/podman-pushed:2"
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
    run "buildah: copy to another name" buildah push -q "$at:1" "docker://$host/$1/built-copy:1"
    same "buildah: it is listed" 1 "$(tags_of "$host/$1/built-copy")"
    run "buildah: a container of what is pulled" buildah from --name "$1-container" "$host/$1/built-copy:1"
    run "buildah: commit of it to the registry" buildah commit -q "$1-container" "docker://$host/$1/built-copy:2"
    same "buildah: both are listed" "1 2" "$(tags_of "$host/$1/built-copy")"
    run "buildah: removed" buildah rm "$1-container"
    deleted buildah "$host/$1/built-copy:2" 'manifest unknown|not found' buildah pull -q "$host/$1/built-copy:2"
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
    run "umoci: another tag of its layout" umoci tag --image "$work/umoci:2" 3
    run "umoci: copy to another name" skopeo copy "oci:$work/umoci:3" "docker://$at-copy:3"
    same "umoci: the copy" "$(digest_of "$at:2")" "$(digest_of "$at-copy:3")"
    deleted umoci "$at:2" 'manifest unknown|not found' skopeo copy "docker://$at:2" "oci:$work/umoci:gone"
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
    # All of an index: each of its images is in the registry before the index is.
    run "ctr: an index for it" skopeo copy --all --preserve-digests "oci:$work/images:many" "docker://$at:many"
    run "ctr: pull of all platforms" ctr -a "$work/containerd/socket" content fetch --all-platforms "${ctr_registry[@]}" "$@" "$at:many"
    run "ctr: tag of an index" ctr -a "$work/containerd/socket" images tag "$at:many" "$at-pushed:many"
    run "ctr: push of an index" ctr -a "$work/containerd/socket" images push "${ctr_registry[@]}" "$@" "$at-pushed:many"
    same "ctr: the index is the same" "$many" "$(digest_of "$at-pushed:many")"
    same "ctr: tags" "2 many" "$(tags_of "$at-pushed")"
    run "ctr: remove" ctr -a "$work/containerd/socket" images rm --sync "$at:many" "$at-pushed:many"
    deleted ctr "$at-pushed:many" 'not found' \
        ctr -a "$work/containerd/socket" images pull "${ctr_registry[@]}" "$@" --snapshotter native "$at-pushed:many"
}

# oras_part prefix [how user password]: `basic` logs in and sends that, `bearer` sends the password as a bearer token. `login` logs in
# and asks for tokens, of which this client keeps the first that it gets: that of one request is enough for what reads.
oras_part() {
    local python
    python=$(python_environment oras oras==0.2.43 requests==2.32.5)
    rm -rf "$work/oras"
    mkdir -p "$work/oras"
    cp "$work/code/data.bin" "$work/code/main.sh" "$work/oras"
    timeout 60 "$python" - "$host" "$1" "$work/oras" "${2:-}" "${3:-}" "${4:-}" >"$work/out" 2>"$work/log" <<'PYTHON' || fail "oras ${2:-}: $(tail -n 5 "$work/log")"
import os, sys, oras.client
host, prefix, folder, how, user, password = sys.argv[1:]
secure = bool(how)
def client():
    made = oras.client.OrasClient(hostname=host, insecure=not secure, tls_verify=secure, auth_backend="basic" if how == "basic" else "token")
    if how == "bearer":
        made.auth.set_token_auth(password)
    elif how:
        made.auth.set_basic_auth(user, password)
    return made
def manifest_of(name):
    return client().get_manifest(name)
os.chdir(folder)
target, copy = f"{host}/{prefix}/oras", f"{host}/{prefix}/oras-copy"
files = ["data.bin:application/vnd.example.weights", "main.sh:text/plain"]
if how != "login":
    for tag in ("1", "2"):
        answer = client().push(target=f"{target}:{tag}", files=files, manifest_annotations={"tag": tag})
        assert answer.status_code == 201, answer.status_code
    # In parts, as it does with large files.
    answer = client().push(target=f"{target}:3", files=files, do_chunked=True, chunk_size=200_000)
    assert answer.status_code == 201, answer.status_code
found = client().pull(target=f"{target}:1", outdir="pulled")
assert sorted(map(os.path.basename, found)) == ["data.bin", "main.sh"], found
for name in ("data.bin", "main.sh"):
    assert open(name, "rb").read() == open(f"pulled/{name}", "rb").read(), name
assert manifest_of(f"{target}:1")["annotations"]["tag"] == "1", manifest_of(f"{target}:1")
if how == "login":
    assert client().get_tags(target) == ["1", "3"], client().get_tags(target)
    print("read")
    sys.exit()
assert sorted(client().get_tags(target)) == ["1", "2", "3"], client().get_tags(target)
os.chdir("pulled")
answer = client().push(target=f"{copy}:1", files=files, manifest_annotations={"tag": "1"})
assert answer.status_code == 201, answer.status_code
os.chdir("..")
assert manifest_of(f"{copy}:1")["layers"] == manifest_of(f"{target}:1")["layers"], manifest_of(f"{copy}:1")
deleted = client().delete_tags(target, ["2"])
assert deleted == ["2"], deleted
assert client().get_tags(target) == ["1", "3"], client().get_tags(target)
try:
    manifest_of(f"{target}:2")
    sys.exit("what was deleted is there")
except ValueError:
    pass
print("push, push in parts, pull, copy, tags, manifest and delete")
PYTHON
    ok "oras ${2:+($2)}: $(tail -n 1 "$work/out")"
}
