#!/usr/bin/env python3
"""The bootstrap command of a rendered Job, run as a kubelet would.

bootstrap.py MANIFEST                  against servers that misbehave; the client that they hand out is a small script,
                                       which prints what it was started with
bootstrap.py MANIFEST FOLDER SERVER    against a real one, FOLDER in the place of /cas; takes this process's place
"""
import hashlib, http.server, os, pathlib, subprocess, sys, tempfile, threading

import yaml

CLIENT = b"#!/bin/sh\nfor word in \"$@\"; do printf '<%s>' \"$word\"; done\n"
DIGEST = hashlib.sha256(CLIENT).hexdigest()


def expand(text, variables):
    """kubelet's expansion of commands: `$$` is `$`, `$(NAME)` a variable that is there."""
    output, index = "", 0
    while index < len(text):
        if text.startswith("$$", index):
            output, index = output + "$", index + 2
        elif text.startswith("$(", index) and ")" in text[index:]:
            end = text.index(")", index)
            name = text[index + 2:end]
            output, index = output + variables.get(name, f"$({name})"), end + 1
        else:
            output, index = output + text[index], index + 1
    return output


class Server(http.server.BaseHTTPRequestHandler):
    answers, asked = [], []

    def do_GET(self):
        type(self).asked.append((self.path, self.headers.get("authorization")))
        status, body, headers = type(self).answers.pop(0) if type(self).answers else (200, CLIENT, {})
        if status is None:
            return self.connection.close()
        self.send_response(status)
        self.send_header("content-length", str(len(body) if "length" not in headers else headers.pop("length")))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Check:
    def __init__(self, manifest):
        self.container = yaml.safe_load(pathlib.Path(manifest).read_text())["spec"]["template"]["spec"]["containers"][0]
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def run(self, answers, folder, *, status, says, digest=DIGEST, server=None):
        """Runs the command in a folder that stands for the pod's volume; the waits between attempts cost no time."""
        Server.answers, Server.asked = list(answers), []
        token = pathlib.Path(folder, "token")
        token.write_text("a-token\n")
        address = server or f"http://127.0.0.1:{self.server.server_port}"
        variables = {item["name"]: item["value"] for item in self.container["env"]}
        words = [expand(word, {**variables, "A": "WRONG", "date": "WRONG"}) for word in self.container["command"]]
        assert words[:2] == ["python3", "-c"], words[:2]
        script = "import time; time.sleep = lambda seconds: None\n" + words[2]
        words[3:5] = [digest, folder + "/bin"]
        result = subprocess.run(
            [sys.executable, "-c", script] + words[3:], capture_output=True, text=True, timeout=120,
            env={"PATH": os.environ["PATH"], "CAS_SERVER": address, "CAS_TOKEN_FILE": str(token)})
        text = result.stdout + result.stderr
        assert (result.returncode == 0) == (status == 0) and says in text, f"{result.returncode}: {text}"
        assert all(bearer == "Bearer a-token" for _, bearer in Server.asked), Server.asked
        left = sorted(path.name for path in pathlib.Path(folder, "bin").glob("*"))
        assert left in ([], ["cas-" + digest[:16]]), f"left behind: {left}"
        return words, result


def run(manifest, folder, server):
    container = yaml.safe_load(pathlib.Path(manifest).read_text())["spec"]["template"]["spec"]["containers"][0]
    variables = {item["name"]: item["value"] for item in container["env"]}
    words = [expand(word, variables) for word in container["command"]]
    words[4:6] = [folder + "/bin", folder + "/code"]
    os.execve(sys.executable, [sys.executable] + words[1:], {"PATH": os.environ["PATH"], "HOME": folder, "CAS_SERVER": server})


def main(manifest):
    check = Check(manifest)
    folder = tempfile.mkdtemp()
    busy = [(503, b"", {}), (429, b"", {}), (None, b"", {}), (200, CLIENT[:-5], {"length": len(CLIENT)})]
    words, result = check.run(busy, folder, status=0, says="trying again")
    code, reference, command = words[5], words[6], words[7:]
    started = ["run", "--force", "--dir", code, reference, "--"] + command
    assert result.stdout == "".join(f"<{word}>" for word in started), result.stdout
    assert command[-1] == '$(date) $HOME "é"\n', command
    assert Server.asked[0][0] == "/v1/client/linux-x86_64?digest=sha256:" + DIGEST, Server.asked
    assert len(Server.asked) == 5, Server.asked
    print("a busy server, a broken connection and half an answer are tried again; words arrive byte for byte")
    check.run([(500, b"", {})], folder, status=0, says="<run>")
    assert not Server.asked
    print("a client that is there is not asked for again")
    program = pathlib.Path(folder, "bin", "cas-" + DIGEST[:16])
    assert program.stat().st_mode & 0o777 == 0o700
    program.write_bytes(b"#!/bin/sh\necho WRONG\n")
    check.run([], folder, status=0, says="<run>")
    print("one that is there and is another is replaced")
    check.run([(200, b"#!/bin/sh\necho WRONG\n", {})] * 9, tempfile.mkdtemp(), status=1, says="gave up after 9 attempts")
    assert len(Server.asked) == 9, Server.asked
    print("a client with another digest never runs; nine attempts, then an end")
    for status, says in ((401, "does not accept this pod's token"), (403, "may not read"), (404, "render the job again")):
        check.run([(status, b"", {})], tempfile.mkdtemp(), status=1, says=says)
        assert len(Server.asked) == 1, Server.asked
    print("no rights, or no such client: an end at once, with what to do")
    check.run([(302, b"", {"location": "http://127.0.0.1:1/x"})], tempfile.mkdtemp(), status=1, says="302")
    print("a redirection is not followed with the token")
    check.run([], tempfile.mkdtemp(), status=1, says="gave up after 9 attempts", server="http://127.0.0.1:1")
    print("a server that is away is asked for a while, and no longer")


if __name__ == "__main__":
    run(*sys.argv[1:]) if len(sys.argv) > 2 else main(*sys.argv[1:])
