/// What `python3 -c` runs in a pod: the standard library alone, no shell, words as arguments.
///
/// They hold no `$`, which Kubernetes would read.
package enum PythonScripts {
    /// Goes to a directory and becomes a command: for a TrainJob, which can not say where its command runs.
    package static let enter = """
        # Written by cas. Arguments: the directory with the code, then the command.
        import os, sys
        folder, command = sys.argv[1], sys.argv[2:]
        try:
            os.chdir(folder)
        except OSError as error:
            sys.exit("error: there is no code in %s: %s" % (folder, error.strerror))
        try:
            os.execvp(command[0], command)
        except OSError as error:
            sys.exit("error: can not run %r: %s" % (command[0], error.strerror))

        """

    /// Fetches the client by its digest and becomes `cas run`.
    package static let bootstrap = #"""
        # Written by cas. Arguments: the client's SHA-256, where to keep it, where the code goes, the reference,
        # then the command. The client comes from CAS_SERVER, is verified, and takes this process's place.
        import hashlib, http.client, os, ssl, sys, tempfile, time, urllib.error, urllib.request

        digest, folder, code, reference = sys.argv[1:5]
        command = sys.argv[5:]
        server = os.environ["CAS_SERVER"].rstrip("/")
        program = os.path.join(folder, "cas-" + digest[:16])
        attempts, limit = 9, 512 << 20


        class Refused(Exception):
            pass


        class Stay(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *arguments):
                return None  # a token goes to its own server only


        def is_whole(path):
            sha = hashlib.sha256()
            try:
                with open(path, "rb") as file:
                    for piece in iter(lambda: file.read(1 << 20), b""):
                        sha.update(piece)
            except OSError:
                return False
            return sha.hexdigest() == digest


        def ask():
            trust = ssl.create_default_context()
            if os.environ.get("CAS_CA_FILE"):
                trust.load_verify_locations(os.environ["CAS_CA_FILE"])
            request = urllib.request.Request(server + "/v1/client/linux-x86_64?digest=sha256:" + digest)
            if os.environ.get("CAS_TOKEN_FILE"):
                with open(os.environ["CAS_TOKEN_FILE"]) as file:
                    request.add_header("Authorization", "Bearer " + file.read().strip())
            opener = urllib.request.build_opener(Stay, urllib.request.HTTPSHandler(context=trust))
            try:
                return opener.open(request, timeout=60)
            except urllib.error.HTTPError as error:
                if error.code in (408, 429) or error.code >= 500:
                    raise
                advice = {
                    401: "the server does not accept this pod's token",
                    403: "this pod's token may not read there",
                    404: "it no longer offers the client that this job was made with; render the job again",
                }.get(error.code, error.reason)
                raise Refused("%s answered %d: %s" % (server, error.code, advice))


        def download():
            sha, size = hashlib.sha256(), 0
            try:
                handle, temporary = tempfile.mkstemp(dir=folder)
            except OSError as error:
                raise Refused("can not write to %s: %s" % (folder, error.strerror))
            try:
                with os.fdopen(handle, "wb") as file, ask() as answer:
                    for piece in iter(lambda: answer.read(1 << 20), b""):
                        size += len(piece)
                        if size > limit:
                            raise Refused("the client is larger than %d bytes" % limit)
                        sha.update(piece)
                        file.write(piece)
                    os.fchmod(file.fileno(), 0o700)
                if sha.hexdigest() != digest:
                    raise OSError("%d bytes came, and their SHA-256 is not %s" % (size, digest))
                os.rename(temporary, program)
            except BaseException:
                os.unlink(temporary)
                raise


        def fetch():
            if os.uname().machine != "x86_64":
                raise Refused("the client is for x86_64, this node is " + os.uname().machine)
            try:
                os.makedirs(folder, exist_ok=True)
            except OSError as error:
                raise Refused("can not write to %s: %s" % (folder, error.strerror))
            for attempt in range(1, attempts + 1):
                try:
                    return download()
                except (OSError, http.client.HTTPException) as error:
                    if attempt == attempts:
                        raise Refused("gave up after %d attempts: %s" % (attempts, error))
                    wait = min(2 ** (attempt - 1), 15)
                    text = "cas: %s: %s; trying again in %d s (%d of %d)\n"
                    sys.stderr.write(text % (server, error, wait, attempt, attempts))
                    sys.stderr.flush()
                    time.sleep(wait)


        try:
            if not is_whole(program):
                fetch()
            os.execv(program, [program, "run", "--force", "--dir", code, reference, "--"] + command)
        except Refused as error:
            sys.exit("error: no cas client: %s" % error)
        except OSError as error:
            sys.exit("error: can not run the client %s: %s" % (program, error.strerror))

        """#
}
