#!/usr/bin/env python3
"""podman.py FOLDER [--image FROM=TO]... [--claim NAME=DIRECTORY]... [--secret NAME=DIRECTORY]... [--volume NAME=DIRECTORY]...
[--mount PATH=DIRECTORY]... [--issuer URL] [--port N] FILE: fits pods to what `podman kube play` can do, one file for each in FOLDER.

Does what a kubelet does and podman 4.3 does not, and says each thing once on standard error: identity tokens, variables
from fields, $(VARIABLE) in commands, the pod's user for its containers, host names of the other pods. What is left
out stands in DROPPED; a field that neither podman nor this knows ends it with an error. Prints the pods' names.
"""
import argparse, json, os, pathlib, re, sys, urllib.request

import yaml

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("folder")
parser.add_argument("file")
for option in ("image", "claim", "secret", "volume", "mount"):
    parser.add_argument(f"--{option}", action="append", default=[], type=lambda text: text.split("=", 1))
parser.add_argument("--issuer")
parser.add_argument("--port", help="instead of 29500, which is the machine's on its own network")
options = parser.parse_args()
images, claims, secrets, volumes = (dict(getattr(options, name)) for name in ("image", "claim", "secret", "volume"))
folder = pathlib.Path(options.folder).resolve()
folder.mkdir(parents=True, exist_ok=True)

# Fields without an effect on one machine, or that podman has no word for.
DROPPED = {
    "pod": {"automountServiceAccountToken", "serviceAccountName", "serviceAccount", "nodeSelector", "affinity", "tolerations",
            "topologySpreadConstraints", "schedulingGates", "priorityClassName", "enableServiceLinks", "subdomain", "hostname",
            "setHostnameAsFQDN", "imagePullSecrets", "terminationGracePeriodSeconds", "activeDeadlineSeconds"},
    "container": {"ports", "readinessProbe", "livenessProbe", "startupProbe", "lifecycle", "terminationMessagePolicy"},
    "podSecurity": {"fsGroup", "fsGroupChangePolicy", "seccompProfile", "supplementalGroups"},
    "security": {"seccompProfile"},
    "mount": {"recursiveReadOnly"},
}
KEPT = {
    "pod": {"volumes", "initContainers", "containers", "restartPolicy", "securityContext", "hostNetwork", "dnsPolicy"},
    "container": {"name", "image", "command", "args", "env", "volumeMounts", "resources", "securityContext", "workingDir", "imagePullPolicy"},
    "podSecurity": {"runAsNonRoot", "runAsUser", "runAsGroup"},
    "security": {"runAsNonRoot", "runAsUser", "runAsGroup", "readOnlyRootFilesystem", "allowPrivilegeEscalation", "capabilities", "privileged"},
    "mount": {"name", "mountPath", "readOnly", "subPath"},
}
said = set()


def say(text):
    if text not in said:
        said.add(text)
        print(f"note: {text}", file=sys.stderr)


def take(kind, value):
    """The fields that podman knows; says which are left out."""
    unknown = set(value) - KEPT[kind] - DROPPED[kind]
    if unknown:
        sys.exit(f"error: fields of {kind} that are not known here: {sorted(unknown)}")
    for key in sorted(set(value) & DROPPED[kind]):
        say(f"{kind}: {key} is left out")
    return {key: value[key] for key in value if key in KEPT[kind]}


def token_folder(pod, projected, volume):
    """As kubelet does: a token for this pod and audience, in a file with the volume's mode."""
    target = folder / f"{pod['metadata']['name']}-{volume}"
    target.mkdir(exist_ok=True)
    for source in projected["sources"]:
        wanted = source.get("serviceAccountToken")
        if wanted is None:
            sys.exit(f"error: a projected source that is not known here: {sorted(source)}")
        namespace, account = pod["metadata"]["namespace"], pod["spec"].get("serviceAccountName", "default")
        claims = {"aud": [wanted["audience"]], "sub": f"system:serviceaccount:{namespace}:{account}", "kubernetes.io": {
            "namespace": namespace, "serviceaccount": {"name": account, "uid": "0"}, "pod": {"name": pod["metadata"]["name"], "uid": "0"}}}
        (folder / f"{pod['metadata']['name']}-{volume}.claims").write_text(json.dumps(claims))
        with urllib.request.urlopen(f"{options.issuer}/mint", json.dumps(claims).encode(), timeout=20) as answer:
            new = target / f".{wanted['path']}"
            new.write_bytes(answer.read())
            new.chmod(projected.get("defaultMode", 0o644))
            new.rename(target / wanted["path"])
    say("a projected token is a file that the issuer on loopback signed")
    return str(target)


def volume_source(pod, volume):
    """The volume as podman knows it, and its name, which is one of all pods there."""
    name = f"{pod['metadata']['name']}-{volume['name']}"
    kind = next(key for key in volume if key != "name")
    source = volume[kind] or {}
    if volume["name"] in volumes:
        say(f"{volume['name']}: a directory instead of {kind}")
        return name, {"hostPath": {"path": volumes[volume["name"]], "type": "Directory"}}
    if kind == "emptyDir":
        for key in source:
            say(f"emptyDir: {key} is left out")
        return name, {"emptyDir": {}}
    if kind == "projected":
        return name, {"hostPath": {"path": token_folder(pod, source, volume["name"]), "type": "Directory"}}
    if kind == "persistentVolumeClaim":
        if source["claimName"] not in claims:
            sys.exit(f"error: no directory for the claim '{source['claimName']}'")
        return name, {"hostPath": {"path": claims[source["claimName"]], "type": "Directory"}}
    if kind == "secret":
        return name, {"hostPath": {"path": secrets[source["secretName"]], "type": "Directory"}}
    if kind in ("configMap", "hostPath"):
        return name, {kind: source}
    sys.exit(f"error: a volume that is not known here: {kind}")


def field(pod, path):
    """A variable from a field of the pod, as kubelet sets it."""
    match = re.fullmatch(r"metadata\.(annotations|labels)\['(.+)'\]", path)
    if match:
        return pod["metadata"].get(match.group(1), {}).get(match.group(2), "")
    known = {"metadata.name": pod["metadata"]["name"], "metadata.namespace": pod["metadata"]["namespace"], "status.podIP": "127.0.0.1",
             "spec.nodeName": "localhost", "metadata.uid": "0", "status.hostIP": "127.0.0.1"}
    return known[path]


def expand(text, variables):
    """$(NAME) is the variable, $$ is $, what is not set stays (Kubernetes' third_party/forked/golang/expansion)."""
    return re.sub(r"\$(\$|\(([^)]*)\))", lambda m: "$" if m.group(1) == "$" else variables.get(m.group(2), m.group(0)), text)


def container(pod, each, init, sources):
    result = take("container", each)
    result["image"] = images.get(each["image"], each["image"])
    result["imagePullPolicy"] = "Never"
    variables = {}
    for variable in each.get("env", []):
        if "valueFrom" in variable:
            value = field(pod, variable["valueFrom"]["fieldRef"]["fieldPath"])
            say("variables from fields have their values")
        else:
            value = expand(variable.get("value", ""), variables)
        if variable["name"] == "PET_MASTER_PORT" and options.port:
            say(f"on the machine's network the master's port is {options.port}, not {value}")
            value = options.port
        variables[variable["name"]] = str(value)
    result["env"] = [{"name": name, "value": value} for name, value in variables.items()]
    for key in ("command", "args"):
        if key in each:
            result[key] = [expand(text, variables) for text in each[key]]
    security = {**take("podSecurity", pod["spec"].get("securityContext") or {}), **take("security", each.get("securityContext") or {})}
    if security:
        result["securityContext"] = security
    resources = {}
    for kind, listed in each.get("resources", {}).items():
        resources[kind] = {key: value for key, value in listed.items() if key in ("cpu", "memory")}
        for key in set(listed) - {"cpu", "memory"}:
            say(f"resources: {key} is left out")
    result["resources"] = {"limits": {key: value for key, value in resources.get("limits", {}).items() if key == "memory"}}
    mounts = []
    for mount in each.get("volumeMounts", []):
        mount = take("mount", mount)
        name, source = sources[mount["name"]]
        if "subPath" in mount:
            # podman 4.3 has no subPath; a folder of a hostPath is a hostPath.
            path = os.path.join(source["hostPath"]["path"], mount.pop("subPath"))
            if not os.path.isdir(path):
                sys.exit(f"error: there is no '{path}'")
            name = f"{name}-{len(sources)}"
            sources[name] = (name, {"hostPath": {"path": path, "type": "Directory"}})
            say("subPath: the folder itself is mounted")
        mounts.append({**mount, "name": name})
    if mounts:
        result["volumeMounts"] = mounts
    return result


def adapt(pod, hosts):
    spec = pod["spec"]
    sources = {volume["name"]: volume_source(pod, volume) for volume in spec.get("volumes", [])}
    fitted = {key: value for key, value in take("pod", spec).items() if key in ("restartPolicy", "dnsPolicy")}
    # A Job's pod that failed is made anew by its controller; here it stays as it ended.
    fitted["restartPolicy"] = "Never"
    fitted["hostNetwork"] = True
    say("pods share the machine's network")
    for kind in ("initContainers", "containers"):
        if kind in spec:
            fitted[kind] = [container(pod, each, kind == "initContainers", sources) for each in spec[kind]]
    fitted["volumes"] = [{"name": name, **source} for name, source in sources.values()]
    if hosts:
        # podman 4.3 reads hostAliases only where a pod has a network of its own.
        file = folder / f"{pod['metadata']['name']}.hosts"
        file.write_text(f"127.0.0.1 localhost {' '.join(hosts)}\n")
        fitted["volumes"].append({"name": f"{pod['metadata']['name']}-hosts", "hostPath": {"path": str(file), "type": "File"}})
        for each in fitted.get("initContainers", []) + fitted["containers"]:
            each.setdefault("volumeMounts", []).append({"name": f"{pod['metadata']['name']}-hosts", "mountPath": "/etc/hosts", "readOnly": True})
        say("names of the other pods are in a file of hosts")
    for number, (path, directory) in enumerate(options.mount):
        name = f"{pod['metadata']['name']}-mount-{number}"
        fitted["volumes"].append({"name": name, "hostPath": {"path": directory, "type": "Directory"}})
        for each in fitted["containers"]:
            each.setdefault("volumeMounts", []).append({"name": name, "mountPath": path, "readOnly": True})
        say(f"{path} is a directory of this machine, as a layer of the image would be")
    annotations = {"io.podman.annotations.init.container.type": "always"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod["metadata"]["name"], "annotations": annotations}, "spec": fitted}


documents = [document for document in yaml.safe_load_all(open(options.file)) if document]
others = [document for document in documents if document["kind"] != "Pod"]
pods = [document for document in documents if document["kind"] == "Pod"]
for pod in pods:
    pod["metadata"].setdefault("namespace", "default")
hosts = [f"{pod['spec']['hostname']}{suffix}" for pod in pods if "hostname" in pod["spec"] for suffix in ("", f".{pod['spec'].get('subdomain', '')}")]
for pod in pods:
    with open(folder / f"{pod['metadata']['name']}.yaml", "w") as file:
        yaml.safe_dump_all([*others, adapt(pod, hosts)], file, sort_keys=False)
    print(pod["metadata"]["name"])
