import EdgeCore

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
