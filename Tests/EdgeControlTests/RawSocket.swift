import EdgeCore
import Glibc

@testable import EdgeControlAPI

typealias RawSocket = ControlSocket

func rawSocket(_ path: String, within span: Duration = .seconds(5)) throws -> RawSocket {
    try ControlSocket(path: path, deadline: .now().advanced(by: span))
}

func drain(_ socket: RawSocket) throws -> String {
    var received: [UInt8] = []
    while true {
        let bytes = try socket.receive()
        if bytes.isEmpty { return String(decoding: received, as: UTF8.self) }
        received += bytes
    }
}

/// Waits, without reading, until the server has closed its end; false after 10 s.
func waitForHangUp(_ socket: RawSocket) -> Bool {
    var item = pollfd(fd: socket.descriptor, events: 0, revents: 0)
    return poll(&item, 1, 10_000) == 1 && item.revents & Int16(POLLHUP) != 0
}
