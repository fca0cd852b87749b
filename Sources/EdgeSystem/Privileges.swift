internal import CEdge
internal import EdgeCore
internal import Glibc

/// Giving up rights for good, and the descriptor limit.
package enum Privileges {
    /// Whether this process may become another user.
    package static var canChangeUser: Bool { geteuid() == 0 || hasCapability(CE_CAP_SETUID) }

    /// Whether this process may give interfaces addresses and speak for them.
    package static var canMoveAddresses: Bool {
        hasCapability(CE_CAP_NET_ADMIN) && hasCapability(CE_CAP_NET_RAW)
    }

    /// Becomes `user` (and `group`, else the user's own) with that user's supplementary groups and
    /// without any capability, now and after any exec. Call before the first thread is started:
    /// user and capabilities belong to a thread.
    ///
    /// - Throws: an unknown user or group, a call refused, or rights that could be regained.
    package static func drop(user: String, group: String?) throws(SystemError) {
        guard let entry = getpwnam(user)?.pointee else {
            throw SystemError(
                "getpwnam", code: 0, subject: user,
                hint: "no such user: useradd -r -s /usr/sbin/nologin \(user)")
        }
        let userID = entry.pw_uid
        let groupID = try group.map { name throws(SystemError) in try Self.groupID(name) }
        let primary = groupID ?? entry.pw_gid
        guard initgroups(user, primary) == 0 else { throw refused("initgroups", user) }
        guard ce_setresgid(primary) == 0 else { throw refused("setresgid", user) }
        guard ce_setresuid(userID) == 0 else { throw refused("setresuid", user) }
        try dropCapabilities()
        if userID != 0, ce_setresuid(0) == 0 {
            throw SystemError(
                "setresuid", code: 0, subject: user, hint: "root could be regained: refused")
        }
    }

    /// Clears every capability set and forbids gaining rights by exec.
    package static func dropCapabilities() throws(SystemError) {
        guard ce_prctl(PR_SET_NO_NEW_PRIVS, 1, 0) == 0 else {
            throw SystemError(errnoOf: "prctl(PR_SET_NO_NEW_PRIVS)")
        }
        // EINVAL: a kernel without ambient capabilities has none to clear.
        ce_prctl(PR_CAP_AMBIENT, UInt(PR_CAP_AMBIENT_CLEAR_ALL), 0)
        var header: (version: UInt32, pid: Int32) = (0x2008_0522, 0)
        var sets = [UInt32](repeating: 0, count: 6)
        guard ce_capset(&header, &sets) == 0 else { throw SystemError(errnoOf: "capset") }
        guard ce_capget(&header, &sets) == 0, sets.allSatisfy({ $0 == 0 }) else {
            throw SystemError("capset", code: 0, hint: "capabilities remained: refused")
        }
    }

    /// How many descriptors this process may have now: somebody may have changed it.
    package static func descriptorLimit() -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            return 1024
        }
        return Int(min(limit.rlim_cur, UInt(Int32.max)))
    }

    /// Raises the soft descriptor limit to the hard one; returns it.
    @discardableResult
    package static func raiseDescriptorLimit() -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            return 1024
        }
        if limit.rlim_cur < limit.rlim_max {
            limit.rlim_cur = limit.rlim_max
            setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        }
        return Int(min(limit.rlim_cur, UInt(Int32.max)))
    }

    private static func groupID(_ name: String) throws(SystemError) -> gid_t {
        guard let entry = getgrnam(name) else {
            throw SystemError(
                "getgrnam", code: 0, subject: name, hint: "no such group: groupadd -r \(name)")
        }
        return entry.pointee.gr_gid
    }

    private static func hasCapability(_ number: Int32) -> Bool {
        var header: (version: UInt32, pid: Int32) = (0x2008_0522, 0)
        var sets = [UInt32](repeating: 0, count: 6)
        guard ce_capget(&header, &sets) == 0 else { return false }
        // Effective, permitted, inheritable for capabilities 0–31, then the same for 32–63.
        return sets[Int(number) / 32 * 3] >> UInt32(number % 32) & 1 == 1
    }

    private static func refused(_ call: String, _ user: String) -> SystemError {
        SystemError(
            errnoOf: call, subject: user,
            hint: "needs root or CAP_SETUID and CAP_SETGID; leave out `user` to run as one user")
    }
}
