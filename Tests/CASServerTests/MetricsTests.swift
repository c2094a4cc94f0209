import CASClient
import CASCore
import CASTestSupport
import CASHTTP
import CASRepository
import CASServer
import CASWire
import Testing

@Suite struct MetricsTests {
    /// The samples of a page in Prometheus' text format 0.0.4; what is malformed becomes an issue.
    private static func parse(_ page: String) throws -> [String: Double] {
        var samples: [String: Double] = [:]
        var types: [String: String] = [:]
        var helped: Set<String> = []
        let form = /([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-z]+="[^"\\]*"(?:,[a-z]+="[^"\\]*")*\})? (\S+)/
        for line in page.split(separator: "\n") {
            let words = line.split(separator: " ")
            if line.hasPrefix("# HELP ") {
                #expect(helped.insert(String(words[2])).inserted, "\(line)")
            } else if line.hasPrefix("# TYPE ") {
                #expect(["counter", "gauge", "histogram"].contains(words[3]), "\(line)")
                types[String(words[2])] = String(words[3])
            } else {
                let match = try #require(line.wholeMatch(of: form), "\(line)")
                var name = String(match.1)
                for suffix in ["_bucket", "_sum", "_count"]
                where name.hasSuffix(suffix)
                    && types[String(name.dropLast(suffix.count))] == "histogram"
                {
                    name.removeLast(suffix.count)
                }
                #expect(types[name] != nil && helped.contains(name), "\(line)")
                let key = "\(match.1)\(match.2 ?? "")"
                let value = try #require(Double(match.3), "\(line)")
                #expect(samples.updateValue(value, forKey: key) == nil, "twice: \(line)")
            }
        }
        return samples
    }

    @Test func `the page parses and counts what happened`() async throws {
        try await onThread {
            let world = try ServerWorld()
            let bytes = content(seed: 7, count: 200_000)
            try world.write("a.bin", bytes)
            try world.withRemote { store in
                try world.push("team/project", store)
                try world.fetch("team/project", store)
            }
            let raw = try world.raw()
            let digest = bytes.withUnsafeBytes { Digest.of($0) }
            #expect(try raw.request("GET", "/v1/blobs/\(digest.hexadecimal)").body == bytes)
            #expect(try raw.request("GET", "/v1/refs/none/such").status == 404)
            let page = try raw.request("GET", "/metrics")
            #expect(page.headers["content-type"]?.hasPrefix("text/plain; version=0.0.4") == true)
            let samples = try Self.parse(page.text)
            #expect(samples["cas_http_requests_total{door=\"refs\",code=\"404\"}"] == 1)
            #expect(samples["cas_http_requests_total{door=\"blobs\",code=\"200\"}"] == 1)
            #expect(samples["cas_http_sent_bytes_total{door=\"blobs\"}"] == 200_000)
            #expect(
                ["commit", "upload"].compactMap {
                    samples["cas_http_received_bytes_total{door=\"\($0)\"}"]
                }.reduce(0, +) > 200_000)
            #expect(samples["cas_http_active_requests"] == 1)
            #expect(samples["cas_refs"] == 1)
            // Nothing was sealed yet; opening the store listed its objects, of which there are none.
            #expect(samples["cas_packs_waiting"] == 0)
            #expect(samples["cas_object_puts_total"] == 0)
            #expect(samples["cas_object_lists_total"] == 1)
            #expect(samples["cas_object_failures_total"] == 0)
            // Zero until something was due.
            for name in [
                "cas_last_collection_timestamp_seconds", "cas_collection_gaps",
                "cas_last_scrub_timestamp_seconds", "cas_last_scrub_findings",
                "cas_scrub_round_start_timestamp_seconds", "cas_scrub_round_done_bytes",
                "cas_scrub_round_bytes", "cas_scrub_round_findings",
            ] { #expect(samples[name] != nil, "\(name)") }
            #expect(samples["cas_reserve_released"] == 0)
            #expect(samples["cas_reserve_bytes"] != nil)
            let bounds = ["0.001", "0.005", "0.02", "0.1", "0.5", "2.0", "10.0", "60.0", "+Inf"]
            let buckets = try bounds.map { bound in
                try #require(
                    samples[
                        "cas_http_request_duration_seconds_bucket{door=\"blobs\",le=\"\(bound)\"}"])
            }
            #expect(buckets == buckets.sorted())
            #expect(
                buckets.last == samples["cas_http_request_duration_seconds_count{door=\"blobs\"}"])
        }
    }

    @Test func `what the store holds is not counted for every request`() async throws {
        try await onThread {
            let world = try ServerWorld()
            try world.write("a.txt", Array("hello".utf8))
            try world.withRemote { _ = try world.push("team/project", $0) }
            try world.stop()
            let repository = try StoreLocation.open(
                directory: world.configuration.storeDirectory, create: false, limits: .standard)
            let kept = ServerMetrics(usageAge: .seconds(3600))
            let fresh = ServerMetrics(usageAge: .zero)
            func refs(_ metrics: ServerMetrics) throws -> Double? {
                try Self.parse(metrics.text(repository, waitingBodies: 0))["cas_refs"]
            }
            #expect(try [refs(kept), refs(fresh)] == [1, 1])
            try repository.removeRef(
                try RefName("team/project"), .any, Provenance(), domain: .standard)
            #expect(try [refs(kept), refs(fresh)] == [1, 0])
            let scrub = repository.scrub(domain: .standard)
            while try scrub.step() {}
            let page = try Self.parse(fresh.text(repository, waitingBodies: 0))
            #expect(page["cas_last_scrub_timestamp_seconds"] ?? 0 > 1_700_000_000)
            try repository.close()
        }
    }
}
