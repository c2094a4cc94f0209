import CASClient
import CASCore
import CASWire

/// What `cas doctor` says of space, collections and scrubs.
extension DoctorCommand {
    /// Bytes below which a disk is about to be full.
    private static let fewBytes: UInt64 = 1 << 30

    func careFindings(_ store: any StoreConnection) -> [Finding] {
        let report: UsageReport
        do {
            report = try store.usage()
        } catch let error as CASError where error.code == .permissionDenied {
            // What the token may do was said.
            return []
        } catch {
            return [DoctorCommand.finding("space", error)]
        }
        let isShort = report.freeBytes < DoctorCommand.fewBytes
        var findings = [
            Finding(
                state: isShort ? .bad : .good, subject: "space",
                text: "\(ByteCount.text(report.freeBytes)) free"
                    + (store.isLocal ? "" : " on the server's disk"),
                hint: isShort
                    ? "cas rm what is not needed and cas gc, or a larger volume" : nil,
                figures: [("freeBytes", .count(report.freeBytes))])
        ]
        guard let health = report.health else { return findings }
        findings.append(reserve(health))
        findings.append(collection(health))
        findings.append(scrub(health))
        return findings
    }

    private func reserve(_ health: StoreHealth) -> Finding {
        let text: String
        if health.isReserveReleased {
            text = "given up to collection, as the disk is full"
        } else if health.reserveBytes == 0 {
            text = "none; a server keeps one"
        } else {
            text = "\(ByteCount.text(health.reserveBytes)) kept for a full disk"
        }
        return Finding(
            state: health.isReserveReleased ? .bad : .good, subject: "reserve", text: text,
            hint: health.isReserveReleased
                ? "pushes wait for space: cas rm what is not needed, or a larger volume" : nil,
            figures: [("reserveBytes", .count(health.reserveBytes))])
    }

    private func collection(_ health: StoreHealth) -> Finding {
        var text = health.collected.map { "the last one ended \($0.iso8601)" } ?? "none yet"
        let hasGaps = health.gaps > 0
        if hasGaps {
            text +=
                "; it deleted nothing, as \(counted(health.gaps, "tree")) "
                + "\(health.gaps == 1 ? "has" : "have") a gap"
        }
        return Finding(
            state: hasGaps ? .bad : .good, subject: "collection", text: text,
            hint: hasGaps
                ? "cas gc names them: push them again, cas repair --from DIR, or cas rm" : nil,
            figures: [
                ("lastEnded", .optional(health.collected?.iso8601)),
                ("gaps", .count(health.gaps)),
            ])
    }

    private func scrub(_ health: StoreHealth) -> Finding {
        var text = "none yet"
        if let scrubbed = health.scrubbed {
            text =
                "the last one ended \(scrubbed.iso8601) with "
                + (health.findings == 0 ? "no findings" : counted(health.findings, "finding"))
        }
        let percent = health.roundFraction.map { UInt64($0 * 100) }
        if let percent {
            text += "; the present one has read \(percent) %"
            if health.roundFindings > 0 {
                text += ", with \(counted(health.roundFindings, "finding"))"
            }
        }
        let isBad = health.findings > 0 || health.roundFindings > 0
        return Finding(
            state: isBad ? .bad : .good, subject: "scrub", text: text,
            hint: isBad
                ? "cas scrub --report names refs that lack something; once a cas scrub finds "
                    + "nothing this ends" : nil,
            figures: [
                ("lastEnded", .optional(health.scrubbed?.iso8601)),
                ("findings", .count(health.findings)),
                ("roundBegan", .optional(health.roundBegan?.iso8601)),
                ("roundFindings", .count(health.roundFindings)),
                ("roundDoneBytes", .count(health.roundDoneBytes)),
                ("roundBytes", .count(health.roundBytes)),
            ])
    }
}
