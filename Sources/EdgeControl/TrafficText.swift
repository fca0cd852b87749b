internal import EdgeCore

/// Writes what is counted per site, upstream and view in the Prometheus text format. There may be
/// 10,000 sites: bytes, not strings, and rows without traffic are not to be given at all.
package struct TrafficText {
    package private(set) var bytes: [UInt8] = []

    package init() {}

    /// Labels as they stand between the braces, escaped.
    package static func labels(_ pairs: [(name: String, value: String)]) -> [UInt8] {
        let list = pairs.map { "\($0.name)=\"\(MetricsText.escaped($0.value, quotes: true))\"" }
        return Array(list.joined(separator: ",").utf8)
    }

    // MARK: - Families

    /// - Parameters:
    ///   - labels: of each row.
    ///   - cells: `SiteCells.count` per row, summed over the workers.
    package mutating func sites(_ labels: [[UInt8]], _ cells: [UInt64]) {
        let stride = SiteCells.count
        invariant(cells.count == labels.count * stride, "every row has its cells")
        // Pages that are not needed are not touched.
        bytes.reserveCapacity(bytes.count + labels.count * 3072)
        let classes = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"]
        family("edged_site_requests_total", "counter", "Requests by site and class of status.")
        perLabel("edged_site_requests_total", "class", classes, labels) { row, index in
            cells[row * stride + SiteCells.classes + index]
        }
        let blames = SiteCells.blames.map(\.rawValue)
        family(
            "edged_site_failures_total", "counter",
            "Requests that ended badly, by site and whose fault it was.")
        perLabel("edged_site_failures_total", "blame", blames, labels) { row, index in
            cells[row * stride + SiteCells.failures + index]
        }
        counter(
            "edged_site_received_bytes_total", "Bytes of requests' content, by site.", labels,
            cells, stride, SiteCells.received)
        counter(
            "edged_site_sent_bytes_total", "Bytes of answers' content, by site.", labels, cells,
            stride, SiteCells.sent)
        histogram(
            "edged_site_request_duration_seconds",
            "From a request's first byte until it was over, by site.", labels, cells, stride,
            SiteCells.durations, sum: SiteCells.durationSum, every: 2)
    }

    /// - Parameter cells: `UpstreamCells.count` per row, summed over the workers.
    package mutating func upstreams(_ labels: [[UInt8]], _ cells: [UInt64]) {
        let stride = UpstreamCells.count
        invariant(cells.count == labels.count * stride, "every row has its cells")
        counter(
            "edged_upstream_attempts_total",
            "Times that a request or TCP connection was given a connection, by upstream.", labels,
            cells, stride, UpstreamCells.attempts)
        counter(
            "edged_upstream_connections_begun_total", "Connections begun, by upstream.", labels,
            cells, stride, UpstreamCells.connects)
        counter(
            "edged_upstream_connections_failed_total",
            "Connections that could not be made, by upstream.", labels, cells, stride,
            UpstreamCells.connectFailures)
        counter(
            "edged_upstream_failures_total",
            "Requests that failed on a connection that was there, by upstream.", labels, cells,
            stride, UpstreamCells.failures)
        counter(
            "edged_upstream_requests_active",
            "Requests and TCP connections under way, by upstream.", labels, cells, stride,
            UpstreamCells.active, kind: "gauge")
        histogram(
            "edged_upstream_first_byte_seconds",
            "From a request's last byte until the answer's first, by upstream.", labels, cells,
            stride, UpstreamCells.responses, sum: UpstreamCells.responseSum, every: 1)
    }

    /// Open connections of clients, by view.
    package mutating func views(_ counts: [(labels: [UInt8], count: UInt64)]) {
        counter(
            "edged_view_connections", "Open connections of clients, by view.",
            counts.map(\.labels), counts.map(\.count), 1, 0, kind: "gauge")
    }

    // MARK: - Parts

    private mutating func family(_ name: String, _ kind: String, _ help: String) {
        bytes += "# HELP \(name) \(help)\n# TYPE \(name) \(kind)\n".utf8
    }

    private mutating func counter(
        _ name: String, _ help: String, _ labels: [[UInt8]], _ cells: [UInt64], _ stride: Int,
        _ cell: Int, kind: String = "counter"
    ) {
        family(name, kind, help)
        let start = Array("\(name){".utf8)
        let middle = Array("} ".utf8)
        for (row, label) in labels.enumerated() {
            line(start, label, middle, cells[row * stride + cell])
        }
    }

    /// One sample per row and value of a label, those that are zero left out.
    private mutating func perLabel(
        _ name: String, _ label: String, _ values: [String], _ labels: [[UInt8]],
        _ count: (_ row: Int, _ index: Int) -> UInt64
    ) {
        let start = Array("\(name){".utf8)
        let middles = values.map { Array(",\(label)=\"\($0)\"} ".utf8) }
        for row in labels.indices {
            for index in values.indices {
                let count = count(row, index)
                if count > 0 { line(start, labels[row], middles[index], count) }
            }
        }
    }

    /// - Parameter every: which bounds are shown; the last one always is.
    private mutating func histogram(
        _ name: String, _ help: String, _ labels: [[UInt8]], _ cells: [UInt64], _ stride: Int,
        _ first: Int, sum: Int, every: Int
    ) {
        family(name, "histogram", help)
        let start = Array("\(name)_bucket{".utf8)
        let sumStart = Array("\(name)_sum{".utf8)
        let countStart = Array("\(name)_count{".utf8)
        let middle = Array("} ".utf8)
        let bounds = (0..<Timing.bucketCount).map { bucket in
            let bound = Timing.bound(of: bucket).map(MetricsText.seconds) ?? "+Inf"
            return Array(",le=\"\(bound)\"} ".utf8)
        }
        for (row, label) in labels.enumerated() {
            var total: UInt64 = 0
            for bucket in 0..<Timing.bucketCount {
                total &+= cells[row * stride + first + bucket]
                if bucket % every == every - 1 { line(start, label, bounds[bucket], total) }
            }
            bytes += sumStart
            bytes += label
            bytes += middle
            seconds(cells[row * stride + sum])
            bytes.append(0x0A)
            line(countStart, label, middle, total)
        }
    }

    private mutating func line(
        _ start: [UInt8], _ labels: [UInt8], _ middle: [UInt8], _ value: UInt64
    ) {
        bytes += start
        bytes += labels
        bytes += middle
        decimal(value)
        bytes.append(0x0A)
    }

    // MARK: - Numbers

    private mutating func decimal(_ value: UInt64) {
        guard value >= 10 else {
            bytes.append(0x30 + UInt8(truncatingIfNeeded: value))
            return
        }
        var digits: InlineArray<20, UInt8> = .init(repeating: 0)
        var rest = value
        var index = 20
        while rest > 0 {
            index -= 1
            digits[index] = 0x30 + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        }
        for position in index..<20 { bytes.append(digits[position]) }
    }

    /// Nanoseconds as seconds, without trailing zeros.
    private mutating func seconds(_ nanoseconds: UInt64) {
        let (whole, rest) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
        decimal(whole)
        guard rest > 0 else { return }
        bytes.append(UInt8(ascii: "."))
        var left = rest
        var unit: UInt64 = 100_000_000
        while left > 0 {
            bytes.append(0x30 + UInt8(truncatingIfNeeded: left / unit))
            left %= unit
            unit /= 10
        }
    }
}
