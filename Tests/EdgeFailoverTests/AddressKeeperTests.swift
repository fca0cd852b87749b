import EdgeCore
import EdgeNet
import EdgeSystem
import EdgeTesting
import Foundation
import Testing

@testable import EdgeFailover

/// A keeper on a thread of one host, and what it has reported.
private final class Bench {
    let network: VirtualNetwork
    let host: VirtualHost
    let thread: LoopThread<Hand>
    let index: Int32

    final class Hand {
        let keeper: AddressKeeper
        var watch: NetworkWatch?
        var reports: [AddressKeeper.Report] = []

        init(_ loop: PollLoop) throws {
            keeper = try AddressKeeper(loop: loop)
            watch = try NetworkWatch(loop: loop) { [weak self] in self?.keeper.observed($0) }
            keeper.report = { [weak self] in self?.reports.append($0) }
        }
    }

    /// - Parameter commands: of `ip`, before anything is looked at.
    init(_ commands: [String] = []) throws {
        network = try VirtualNetwork()
        let hub = try network.addSwitch("hub")
        host = try network.addHost("node")
        try network.connect(host, to: hub, addresses: ["10.77.0.1/24", "fd77::1/64"])
        for command in commands { try host.ip(command) }
        thread = try LoopThread(in: host.namespace) { try Hand($0) }
        index = try inNamespace(host.namespace) {
            try NetworkInterface.readAll().first { $0.name == "eth0" }?.index ?? 0
        }
        #expect(index > 1)
    }

    deinit {
        thread.stop()
        network.tearDown()
    }

    var four: InterfaceAddress {
        AddressPlan.virtual(
            SocketAddress(ipv4: 0x0A4D_0009, port: 0), prefixLength: 24, on: index)
    }

    var six: InterfaceAddress {
        AddressPlan.virtual(
            SocketAddress(ipv6High: 0xFD77 << 48, low: 9, port: 0), prefixLength: 64, on: index)
    }

    func present() throws -> [InterfaceAddress] {
        try inNamespace(host.namespace) { try InterfaceAddress.readAll(NetlinkSocket(), of: index) }
    }

    func holds(_ address: InterfaceAddress) throws -> Bool {
        try present().contains { $0.address == address.address }
    }
}

@Suite("Address keeper", .serialized) struct AddressKeeperTests {
    @Test("addresses are put on with prefix, flags and mark, and taken off again")
    func hold() throws {
        let bench = try Bench()
        let (four, six) = (bench.four, bench.six)

        bench.thread.sync {
            $0.keeper.govern([four, six])
            $0.keeper.start()
            $0.keeper.hold([four, six])
        }

        let there = try bench.present()
        let gotFour = try #require(there.first { $0.address == four.address })
        let gotSix = try #require(there.first { $0.address == six.address })
        #expect(gotFour.prefixLength == 24 && gotFour.flags.contains(.secondary))
        #expect(gotSix.prefixLength == 64)
        #expect(gotSix.flags.isSuperset(of: [.deprecated, .noDuplicateDetection]))
        #expect(!gotSix.flags.contains(.tentative))
        #expect(gotFour.origin == AddressPlan.mark && gotSix.origin == AddressPlan.mark)
        let shown = try bench.host.tool("ip", ["-6", "address", "show", "dev", "eth0"]).output
        #expect(shown.contains("preferred_lft 0sec"))

        bench.thread.sync { $0.keeper.release([four, six]) }

        #expect(try !bench.holds(four) && !bench.holds(six))
        let figures = bench.thread.sync { $0.keeper.figures }
        #expect(figures.added == 2 && figures.removed == 2 && figures.failures == 0)
    }

    @Test("what a crash left behind is gone after the start, also on another interface")
    func leftBehind() throws {
        let bench = try Bench(["link add dummy0 type bridge", "link set dummy0 up"])
        let (four, six) = (bench.four, bench.six)
        try inNamespace(bench.host.namespace) {
            let socket = try NetlinkSocket()
            try four.add(socket)
            try six.add(socket)
            let other = try NetworkInterface.readAll().first { $0.name == "dummy0" }
            try AddressPlan.virtual(
                SocketAddress(ipv4: 0x0A09_0909, port: 0), prefixLength: 32,
                on: try #require(other?.index)
            ).add(socket)
        }
        #expect(try bench.host.holds("10.9.9.9"))

        // A configuration that has neither of the marked ones but 10.77.0.9.
        bench.thread.sync {
            $0.keeper.govern([four])
            $0.keeper.start()
        }

        #expect(try !bench.holds(four) && !bench.holds(six))
        #expect(try !bench.host.holds("10.9.9.9"))
        #expect(try bench.host.holds("10.77.0.1") && bench.host.holds("fd77::1"))
        let reports = bench.thread.sync { $0.reports }
        #expect(reports.count == 3)
        #expect(bench.thread.sync { $0.keeper.figures.leftBehind } == 3)
    }

    @Test("an address removed by hand is back within milliseconds, IPv4 and IPv6")
    func restored() throws {
        let bench = try Bench()
        let (four, six) = (bench.four, bench.six)
        bench.thread.sync {
            $0.keeper.govern([four, six])
            $0.keeper.start()
            $0.keeper.hold([four, six])
        }
        for address in [four, six] {
            let before = bench.thread.sync { $0.keeper.figures.restored }
            try inNamespace(bench.host.namespace) {
                let socket = try NetlinkSocket()
                let start = ContinuousClock.now
                #expect(try address.remove(socket))
                #expect(try eventually { try bench.holds(address) })
                #expect(ContinuousClock.now - start < .milliseconds(50))
            }
            #expect(bench.thread.sync { $0.keeper.figures.restored } == before + 1)
        }
        // Everything at once, and the first address of its subnet with it.
        try bench.host.ip("address flush dev eth0 scope global")

        #expect(try eventually { try bench.holds(four) && bench.holds(six) })
    }

    @Test("an address of ours that somebody puts on while we do not hold it is taken off")
    func intruder() throws {
        let bench = try Bench()
        let four = bench.four
        bench.thread.sync {
            $0.keeper.govern([four])
            $0.keeper.start()
        }

        try bench.host.ip("address add 10.77.0.9/24 dev eth0")

        #expect(try eventually { try !bench.holds(four) })
        #expect(try bench.host.holds("10.77.0.1"))
    }

    @Test("what is not governed any more is taken off")
    func ungoverned() throws {
        let bench = try Bench()
        let (four, six) = (bench.four, bench.six)
        bench.thread.sync {
            $0.keeper.govern([four, six])
            $0.keeper.start()
            $0.keeper.hold([four, six])
            $0.keeper.govern([four])
        }

        #expect(try bench.holds(four) && !bench.holds(six))
        #expect(!bench.thread.sync { $0.keeper.isWanted(six) })
    }

    @Test("IPv6 addresses that the kernel dropped with the link are back when it is up")
    func linkDown() throws {
        let bench = try Bench()
        let (four, six) = (bench.four, bench.six)
        bench.thread.sync {
            $0.keeper.govern([four, six])
            $0.keeper.start()
            $0.keeper.hold([four, six])
        }

        try bench.host.ip("link set eth0 down")
        try bench.host.ip("link set eth0 up")

        #expect(try eventually { try bench.holds(four) && bench.holds(six) })
    }

    @Test(
        "one that is refused at first is put on as soon as it may be, and was not removed by hand")
    func later() throws {
        let bench = try Bench()
        let six = bench.six
        try bench.host.setSystemValue("net/ipv6/conf/eth0/disable_ipv6", "1")
        bench.thread.sync {
            $0.keeper.govern([six])
            $0.keeper.start()
            $0.keeper.hold([six])
        }
        #expect(bench.thread.sync { $0.keeper.figures.failures } > 0)
        #expect(eventually { bench.thread.sync { $0.keeper.refusals[six, default: 0] } > 1 })

        try bench.host.setSystemValue("net/ipv6/conf/eth0/disable_ipv6", "0")

        #expect(try eventually(within: .seconds(6)) { try bench.holds(six) })
        let figures = bench.thread.sync { $0.keeper.figures }
        #expect(figures.restored == 0 && figures.added == 1)
        #expect(bench.thread.sync { $0.keeper.refusals.isEmpty })
    }

    @Test("what somebody has put on with another prefix length goes with ours")
    func otherPrefix() throws {
        let bench = try Bench()
        let four = bench.four
        bench.thread.sync {
            $0.keeper.govern([four])
            $0.keeper.start()
            $0.keeper.hold([four])
        }
        try bench.host.ip("address add 10.77.0.9/32 dev eth0")
        usleep(50_000)
        #expect(try bench.present().filter { $0.address == four.address }.count == 2)

        bench.thread.sync { $0.keeper.release([four]) }

        #expect(try eventually { try !bench.holds(four) })
    }

    @Test("an interface's own address stays as it is, lifetimes and all, and is put on if missing")
    func owned() throws {
        let bench = try Bench([
            "address add 10.77.0.9/24 dev eth0 valid_lft 1000 preferred_lft 900 noprefixroute"
        ])
        let own = InterfaceAddress(
            index: bench.index, address: bench.four.address, prefixLength: 24)

        bench.thread.sync {
            $0.keeper.start()
            $0.keeper.hold([own])
        }

        let before = try #require(bench.present().first { $0.address == own.address })
        #expect(before.flags.contains(.noPrefixRoute))
        let shown = try bench.host.tool("ip", ["address", "show", "to", "10.77.0.9"]).output
        #expect(!shown.contains("forever"))
        #expect(
            bench.thread.sync { $0.keeper.figures.failures == 0 && $0.keeper.figures.added == 0 })
        try bench.host.ip("address delete 10.77.0.9/24 dev eth0")
        #expect(try eventually { try bench.holds(own) })
        #expect(bench.thread.sync { $0.keeper.figures.added } == 1)
    }

    @Test("what the kernel refuses is counted, told and tried again")
    func refused() throws {
        let bench = try Bench()
        let loopback = InterfaceAddress(
            index: bench.index, address: SocketAddress(ipv4: 0x7F00_0009, port: 0),
            prefixLength: 33)

        bench.thread.sync {
            $0.keeper.start()
            $0.keeper.hold([loopback])
        }

        #expect(eventually { bench.thread.sync { $0.keeper.figures.failures } >= 2 })
        let failure = bench.thread.sync { $0.keeper.figures.lastFailure }
        #expect(failure?.call == "RTM_NEWADDR" && failure?.code == EINVAL)
    }
}
