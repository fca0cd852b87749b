internal import EdgeControl
internal import EdgeProxy

/// Which row of the workers' tables a site is counted in. A site is known by its view and its first
/// host there: as long as these are the same its row is, whatever else a reload changes. Numbers
/// are never given again, so what comes after `TrafficTable.sitesMax` different ones in the life of
/// the process is counted with all others. Control thread.
struct TrafficRows {
    struct Key: Hashable {
        /// Its name; empty: the only one.
        let view: String
        /// The site's first in that view.
        let host: String
    }

    private var numbers: [Key: Int32] = [:]
    /// By row.
    private var keys = [Key(view: "", host: "other")]
    /// By row.
    private var labels: [[UInt8]] = [TrafficText.labels([("site", "other")])]
    /// Rows of the newest configuration, and the one for all others.
    private(set) var current: [Int32] = [TrafficTable.other]

    /// Forgets which sites there are; rows stay.
    mutating func begin() { current = [TrafficTable.other] }

    /// The row of a site.
    ///
    /// - Parameters:
    ///   - view: its name; empty: the only one.
    ///   - host: the site's first in that view.
    mutating func number(view: String, host: String) -> Int32 {
        let key = Key(view: view, host: host)
        let number = numbers[key] ?? Int32(labels.count)
        guard number < TrafficTable.sitesMax else { return TrafficTable.other }
        if numbers.updateValue(number, forKey: key) == nil {
            keys.append(key)
            let name = ("site", host)
            labels.append(TrafficText.labels(view.isEmpty ? [name] : [name, ("view", view)]))
        }
        current.append(number)
        return number
    }

    /// The rows of a site by its first host, one per view at most. O(rows).
    func rows(ofHost host: String) -> [Int32] { current.filter { keys[Int($0)].host == host } }

    func key(_ row: Int32) -> Key { keys[Int(row)] }

    /// As they stand between the braces of a sample.
    func label(_ row: Int32) -> [UInt8] { labels[Int(row)] }
}
