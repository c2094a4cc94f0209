import CASWire
import CASCore
package import CASRepository
import CASStorage
import Synchronization

/// What the server counts, in Prometheus' text format 0.0.4.
package final class ServerMetrics: Sendable {
    /// Upper bounds of the duration histogram, in milliseconds.
    private static let bounds = [1, 5, 20, 100, 500, 2_000, 10_000, 60_000]

    private struct Key: Hashable {
        let door: String
        let code: Int
    }

    private struct Door {
        var requests: [Int: UInt64] = [:]
        var receivedBytes: UInt64 = 0
        var sentBytes: UInt64 = 0
        var buckets = [UInt64](repeating: 0, count: bounds.count + 1)
        var milliseconds: Double = 0
    }
    private let doors = Mutex<[String: Door]>([:])
    private let identities = Mutex<[String: UInt64]>([:])
    private let active = Atomic<Int>(0)

    /// What the store held when somebody looked last, as that takes a look at every ref.
    private struct Usage {
        var report: UsageReport?
        var since: ContinuousClock.Instant?
        var isBeingMade = false
    }
    private let usage = Mutex(Usage())
    private let usageAge: Duration

    /// Nothing counted yet; what the store holds is looked at again when it is so old.
    package init(usageAge: Duration = .seconds(15)) { self.usageAge = usageAge }

    func begin() { active.add(1, ordering: .relaxed) }
    func end() { active.subtract(1, ordering: .relaxed) }

    func count(door: String, code: Int, received: Int, milliseconds: Double) {
        doors.withLock { doors in
            doors[door, default: Door()].requests[code, default: 0] += 1
            doors[door, default: Door()].receivedBytes += UInt64(received)
            doors[door, default: Door()].milliseconds += milliseconds
            let bucket =
                ServerMetrics.bounds.firstIndex { milliseconds <= Double($0) }
                ?? ServerMetrics.bounds.count
            doors[door, default: Door()].buckets[bucket] += 1
        }
    }

    /// Counts an identity token by what became of it.
    package func count(identity outcome: String) {
        identities.withLock { $0[outcome, default: 0] += 1 }
    }

    func count(door: String, sent: Int) {
        doors.withLock { $0[door, default: Door()].sentBytes += UInt64(sent) }
    }

    /// The whole page.
    package func text(_ repository: Repository, waitingBodies: Int) -> String {
        var page = Page()
        let doors = doors.withLock { $0 }.sorted { $0.key < $1.key }
        page.begin("cas_http_requests_total", "counter", "Requests answered, by door and status.")
        for (name, door) in doors {
            for (code, count) in door.requests.sorted(by: { $0.key < $1.key }) {
                page.add("{door=\"\(name)\",code=\"\(code)\"}", count)
            }
        }
        page.begin("cas_http_received_bytes_total", "counter", "Bytes of request bodies, by door.")
        for (name, door) in doors { page.add("{door=\"\(name)\"}", door.receivedBytes) }
        page.begin("cas_http_sent_bytes_total", "counter", "Bytes of response bodies, by door.")
        for (name, door) in doors { page.add("{door=\"\(name)\"}", door.sentBytes) }
        page.begin(
            "cas_http_request_duration_seconds", "histogram",
            "Time to the start of an answer, by door.")
        for (name, door) in doors { page.add(histogram: name, door.buckets, door.milliseconds) }
        page.begin(
            "cas_identity_tokens_total", "counter", "Identity tokens looked at, by outcome.")
        for (outcome, count) in identities.withLock({ $0 }).sorted(by: { $0.key < $1.key }) {
            page.add("{outcome=\"\(outcome)\"}", count)
        }
        page.gauge(
            "cas_http_active_requests", "Requests being answered.",
            UInt64(max(0, active.load(ordering: .relaxed))))
        page.gauge("cas_http_waiting_bodies", "Bodies that wait for memory.", UInt64(waitingBodies))
        page.add(repository, usage(of: repository))
        return page.text
    }

    /// What the store holds, of a moment ago; nil where that is not known yet.
    private func usage(of repository: Repository) -> UsageReport? {
        let known = usage.withLock { usage -> (report: UsageReport?, isMade: Bool) in
            let isOld = usage.since.map { .now - $0 >= usageAge } ?? true
            guard isOld, !usage.isBeingMade else { return (usage.report, false) }
            usage.isBeingMade = true
            return (usage.report, true)
        }
        guard known.isMade else { return known.report }
        // A store that can not be read leaves these lines out; the page is for the others too.
        let report = try? repository.usage(domain: .standard)
        usage.withLock { $0 = Usage(report: report, since: .now) }
        return report
    }

    private struct Page {
        var text = ""
        var name = ""

        mutating func begin(_ name: String, _ type: String, _ help: String) {
            self.name = name
            text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
        }

        mutating func add(_ labels: String, _ value: UInt64) {
            text += "\(name)\(labels) \(value)\n"
        }

        mutating func gauge(_ name: String, _ help: String, _ value: UInt64) {
            begin(name, "gauge", help)
            add("", value)
        }

        mutating func counter(_ name: String, _ help: String, _ value: UInt64) {
            begin(name, "counter", help)
            add("", value)
        }

        mutating func add(histogram door: String, _ buckets: [UInt64], _ milliseconds: Double) {
            var sum: UInt64 = 0
            for (index, bound) in ServerMetrics.bounds.enumerated() {
                sum += buckets[index]
                text += "\(name)_bucket{door=\"\(door)\",le=\"\(Double(bound) / 1000)\"} \(sum)\n"
            }
            sum += buckets[ServerMetrics.bounds.count]
            text += "\(name)_bucket{door=\"\(door)\",le=\"+Inf\"} \(sum)\n"
            text += "\(name)_sum{door=\"\(door)\"} \(milliseconds / 1000)\n"
            text += "\(name)_count{door=\"\(door)\"} \(sum)\n"
        }

        private mutating func addKeeping(_ counters: StoreCounters) {
            counter("cas_collections_total", "Collections finished.", counters.collections)
            counter(
                "cas_condemned_blobs_total", "Blobs that nothing kept when a collection looked.",
                counters.condemnedBlobs)
            counter("cas_deleted_blobs_total", "Of these, deleted.", counters.deletedBlobs)
            counter(
                "cas_freed_bytes_total", "Bytes of packs given back, without what was copied.",
                counters.freedBytes)
            counter("cas_moved_records_total", "Records copied forward.", counters.movedRecords)
            counter(
                "cas_scrubbed_bytes_total", "Bytes read by the scrub that goes on by itself.",
                counters.scrubbedBytes)
        }

        private mutating func addObjects(_ repository: Repository) {
            let counters = repository.counters
            let objects = counters.objects
            gauge(
                "cas_packs_waiting", "Sealed packs that the object backend does not have yet.",
                UInt64(repository.waitingPacks))
            counter("cas_packs_stored_total", "Packs handed over.", counters.storedPacks)
            counter("cas_packs_stored_bytes_total", "Bytes of these.", counters.storedBytes)
            counter("cas_object_puts_total", "Objects put.", objects.puts)
            counter("cas_object_reads_total", "Ranges of objects read.", objects.reads)
            counter("cas_object_read_bytes_total", "Bytes of these.", objects.readBytes)
            counter("cas_object_lists_total", "Pages of objects listed.", objects.lists)
            counter("cas_object_deletes_total", "Objects deleted.", objects.deletes)
            counter("cas_object_failures_total", "Calls that failed.", objects.failures)
        }

        private mutating func add(_ health: StoreHealth) {
            gauge(
                "cas_last_collection_timestamp_seconds",
                "When a collection ended last, 0 for never.",
                Page.seconds(health.collected))
            gauge(
                "cas_collection_gaps", "Trees with a gap, for which that deleted nothing.",
                health.gaps)
            gauge(
                "cas_last_scrub_timestamp_seconds",
                "When everything had been read and checked the last time, 0 for never.",
                Page.seconds(health.scrubbed))
            gauge("cas_last_scrub_findings", "What that found.", health.findings)
            gauge(
                "cas_scrub_round_start_timestamp_seconds",
                "When the present round of the scrub began, 0 between two rounds.",
                Page.seconds(health.roundBegan))
            gauge(
                "cas_scrub_round_done_bytes", "Bytes of packs that it has read.",
                health.roundDoneBytes)
            gauge("cas_scrub_round_bytes", "Bytes that it has to read.", health.roundBytes)
            gauge("cas_scrub_round_findings", "What it found so far.", health.roundFindings)
            gauge(
                "cas_reserve_bytes", "Bytes kept for collection on a full disk.",
                health.reserveBytes)
            gauge(
                "cas_reserve_released", "1 while these are given up.",
                health.isReserveReleased ? 1 : 0)
        }

        private static func seconds(_ time: Timestamp?) -> UInt64 {
            UInt64(max(0, time?.seconds ?? 0))
        }

        mutating func add(_ repository: Repository, _ usage: UsageReport?) {
            let counters = repository.counters
            gauge("cas_pushes_active", "Pushes in progress.", UInt64(repository.activePushes))
            gauge("cas_commits_waiting", "Commits in the queue.", UInt64(repository.waitingCommits))
            counter("cas_commits_total", "Commits answered.", counters.commits)
            counter("cas_transactions_total", "Catalog transactions.", counters.transactions)
            counter("cas_syncs_total", "Syncs of packs.", counters.synchronizations)
            counter("cas_pack_written_bytes_total", "Bytes appended to packs.", counters.packBytes)
            counter("cas_records_received_total", "Records uploaded.", counters.receivedRecords)
            counter("cas_record_bytes_received_total", "Bytes uploaded.", counters.receivedBytes)
            counter("cas_record_bytes_served_total", "Bytes served.", counters.servedBytes)
            counter("cas_digests_asked_total", "Digests asked about.", counters.asked)
            counter("cas_digests_present_total", "Of these, there already.", counters.present)
            counter("cas_refs_renewed_total", "Refs prolonged by fetches.", counters.renewedRefs)
            counter(
                "cas_ref_renewals_failed_total", "Times that this failed.",
                counters.failedRenewals)
            counter("cas_records_quarantined_total", "Damaged records.", counters.quarantined)
            addKeeping(counters)
            addObjects(repository)
            guard let usage else { return }
            gauge("cas_refs", "Refs.", usage.refs)
            gauge("cas_packs", "Packs.", usage.packs)
            gauge("cas_stored_bytes", "Bytes of all packs.", usage.storedBytes)
            gauge("cas_raw_bytes", "Bytes of all records once decoded.", usage.rawBytes)
            gauge("cas_logical_bytes", "Bytes of the trees of all refs.", usage.logicalBytes)
            gauge("cas_free_bytes", "Bytes free on the store's disk.", usage.freeBytes)
            if let health = usage.health { add(health) }
        }
    }
}
