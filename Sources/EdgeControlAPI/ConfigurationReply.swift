/// The answer to `GET /config?effective=yes`.
package struct ConfigurationReply: WireValue {
    /// Of the main file.
    package var path: String
    /// YAML with every default; where each value comes from stands behind it.
    package var text: String

    package init(path: String, text: String) {
        self.path = path
        self.text = text
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        path = try reader.string("path")
        text = try reader.string("text")
    }

    package var json: JSONValue {
        .object([.init("path", .string(path)), .init("text", .string(text))])
    }
}
