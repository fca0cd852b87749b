extension Configuration.Limits {
    static func decode(_ section: Section) -> Self {
        let memory = section.sizeOrUnlimited("memory")
        return Self(
            connections: section.integer("connections"),
            requestHeadBytes: section.size("request_head"),
            responseHeadBytes: section.size("response_head"),
            headerFields: section.integer("header_fields") ?? 0,
            uploadMin: section.size("min_upload_rate"),
            downloadMin: section.size("min_download_rate"),
            memory: section.has("memory") ? memory ?? 0 : nil)
    }
}
