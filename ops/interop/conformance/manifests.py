"""Manifests, tags and referrers, with the checks of the acceptance table."""
import json

from .client import INDEX, MANIFEST, Problem, expect, expect_body, expect_digest, expect_header, with_query

ACCEPT = [("Accept", INDEX), ("Accept", MANIFEST)]


class Manifests:
    def __init__(self, client, digest_header):
        self.client, self.digest_header = client, digest_header

    def url(self, repository, reference):
        return self.client.url(f"/v2/{repository}/manifests/{reference}")

    def put(self, repository, reference, digest, data, bad=False, tags=()):
        """Returns the tags that the registry says it set besides."""
        body = json.loads(data)
        media_type = body["mediaType"]
        url = with_query(self.url(repository, reference), *[("tag", tag) for tag in tags])
        reply = self.client.send("PUT", url, [("Content-Type", media_type)], data, chunked=True)
        problems = []

        def check(what, *arguments):
            try:
                return what(*arguments)
            except Problem as problem:
                problems.append(problem)

        check(expect, reply, 400 if bad else 201)
        if "subject" in body and not bad:
            check(expect_header, reply, "OCI-Subject", body["subject"]["digest"])
        if not bad:
            check(expect_digest, reply, digest, self.digest_header)
            check(self.look_behind, reply, data, media_type)
        if problems:
            raise Problem("; ".join(map(str, problems)))
        return [tag.strip() for line in reply.all("OCI-Tag") for tag in line.split(",")]

    def look_behind(self, reply, data, media_type):
        answer = self.client.send("GET", reply.location(), ACCEPT)
        try:
            self.check_headers(expect(answer, 200), data, media_type)
            expect_body(answer, data)
        except Problem as problem:
            raise Problem(f"GET of the returned location: {problem}") from None

    @staticmethod
    def check_headers(reply, data, media_type):
        expect_header(reply, "Content-Type", media_type)
        expect_header(reply, "Content-Length", str(len(data)))

    def head(self, repository, reference, digest, data):
        reply = expect(self.client.send("HEAD", self.url(repository, reference), ACCEPT), 200)
        expect_digest(reply, digest, self.digest_header)
        self.check_headers(reply, data, json.loads(data)["mediaType"])

    def get(self, repository, reference, digest, data):
        reply = expect(self.client.send("GET", self.url(repository, reference), ACCEPT), 200)
        expect_body(reply, data)
        expect_digest(reply, digest, self.digest_header)
        self.check_headers(reply, data, json.loads(data)["mediaType"])

    def get_status(self, repository, reference, *statuses):
        expect(self.client.send("GET", self.url(repository, reference), ACCEPT), *statuses)

    def gone(self, repository, reference):
        expect(self.client.send("HEAD", self.url(repository, reference), ACCEPT), 404)

    def delete(self, repository, reference):
        reply = expect(self.client.send("DELETE", self.url(repository, reference)), 202, 404, 400, 405)
        if reply.status in (400, 405):
            raise Problem(f"not deleted: {reply.status}", "unsupported")

    def tags(self, repository, *pairs):
        """The tags, or none where there is no such repository."""
        url = with_query(self.client.url(f"/v2/{repository}/tags/list"), *pairs)
        reply = expect(self.client.send("GET", url), 200, 404)
        return (reply.json().get("tags") or []) if reply.status == 200 else []

    def list_tags(self, repository, wanted):
        found = self.tags(repository)
        problems = [f"tag '{tag}' is missing" for tag in wanted if tag not in found]
        if len(found) >= 2:
            ordered = sorted(found)
            half = len(ordered) // 2
            last = ordered[half - 1]
            rest = self.tags(repository, ("last", last))
            problems += [f"'{tag}' is in the list after '{last}'" for tag in ordered[:half] if tag in rest]
            problems += [f"'{tag}' is not in the list after '{last}'" for tag in ordered[half:] if tag not in rest]
        if problems:
            raise Problem("; ".join(problems))

    def referrers(self, repository, subject, *pairs):
        url = with_query(self.client.url(f"/v2/{repository}/referrers/{subject}"), *pairs)
        reply = expect(self.client.send("GET", url), 200)
        expect_header(reply, "Content-Type", INDEX)
        found = reply.json()
        if found.get("mediaType") != INDEX or found.get("schemaVersion") != 2:
            raise Problem("the referrers are no index")
        return reply, found.get("manifests") or []

    def check_referrers(self, repository, subject, goals):
        """All referrers, then those of each type alone."""
        problems, unsupported = [], False

        def missing(found, wanted):
            for goal in wanted:
                if not any(self.matches(entry, goal) for entry in found):
                    problems.append(f"referrer {goal['digest']} of {subject} is missing")

        try:
            missing(self.referrers(repository, subject)[1], goals)
        except Problem as problem:
            problems.append(str(problem))
        for kind in sorted({goal["artifactType"] for goal in goals}):
            try:
                reply, found = self.referrers(repository, subject, ("artifactType", kind))
            except Problem as problem:
                problems.append(str(problem))
                continue
            applied = [name.strip() for name in reply.header("OCI-Filters-Applied").split(",")]
            if "artifactType" not in applied:
                problems.append("no OCI-Filters-Applied: artifactType")
                unsupported = True
                missing(found, goals)
                continue
            missing(found, [goal for goal in goals if goal["artifactType"] == kind])
            problems.extend(f"{entry.get('digest')} is not of the type {kind}"
                            for entry in found if entry.get("artifactType", "") != kind)
        if problems:
            raise Problem("; ".join(problems), "unsupported" if unsupported else "fail")

    @staticmethod
    def matches(entry, goal):
        same = all(entry.get(name, "") == goal[name] for name in ("digest", "mediaType", "size", "artifactType"))
        notes = entry.get("annotations") or {}
        return same and all(notes.get(name) == value for name, value in goal["annotations"].items())
