import EdgeCore
import Testing

@testable import EdgeFailover

@Suite("Announcement frames") struct AnnouncementFrameTests {
    private let mac: [UInt8] = [2, 0, 0, 0, 0, 7]

    @Test("IPv4 is announced as a request and as a reply, to everybody")
    func arp() throws {
        let address = try #require(SocketAddress(address: "192.0.2.13", port: 0))

        let frames = AnnouncementFrame.all(for: address, hardwareAddress: mac, isRouter: false)

        let head: [UInt8] = [
            255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 7, 8, 6, 0, 1, 8, 0, 6, 4,
        ]
        let ip: [UInt8] = [192, 0, 2, 13]
        try #require(frames.count == 2)
        #expect(
            frames[0].elementsEqual(head + [0, 1] + mac + ip + [0, 0, 0, 0, 0, 0] + ip))
        #expect(
            frames[1].elementsEqual(
                head + [0, 2] + mac + ip + [255, 255, 255, 255, 255, 255] + ip))
    }

    @Test("IPv6 is announced to all nodes: hop limit 255, override, its sum right")
    func neighbour() throws {
        let address = try #require(SocketAddress(address: "fd00::13", port: 0))

        for isRouter in [false, true] {
            let frames = AnnouncementFrame.all(
                for: address, hardwareAddress: mac, isRouter: isRouter)

            try #require(frames.count == 1)
            let frame = frames[0]
            #expect(frame.count == 14 + 40 + 32)
            #expect(frame[..<14].elementsEqual([0x33, 0x33, 0, 0, 0, 1] + mac + [0x86, 0xDD]))
            #expect(frame[14] == 0x60 && frame[19] == 32 && frame[20] == 58 && frame[21] == 255)
            let own: [UInt8] = [0xFD] + [UInt8](repeating: 0, count: 14) + [0x13]
            #expect(frame[22..<38].elementsEqual(own))
            #expect(frame[54] == 136 && frame[58] == (isRouter ? 0xA0 : 0x20))
            #expect(frame[62..<78].elementsEqual(own))
            #expect(frame[78...].elementsEqual([2, 1] + mac))
            // Pseudo-header, message and sum add up to all ones (RFC 1071).
            var sum: UInt32 = 32 + 58
            for index in stride(from: 22, to: frame.count, by: 2) {
                sum += UInt32(frame[index]) << 8 | UInt32(frame[index + 1])
            }
            while sum >> 16 != 0 { sum = sum & 0xFFFF + sum >> 16 }
            #expect(sum == 0xFFFF)
        }
    }

    @Test("where hardware addresses are not six bytes, nothing is announced")
    func none() throws {
        let address = try #require(SocketAddress(address: "192.0.2.13", port: 0))

        #expect(AnnouncementFrame.all(for: address, hardwareAddress: [], isRouter: false).isEmpty)
    }
}
