extension Configuration.Certificates {
    static func decode(_ section: Section?) -> Located<Configuration.Certificates>? {
        guard let section else { return nil }
        let directory = section.path("directory")
        let fallback = section.text("default")
        let pairTimeout = section.duration("pair_timeout")
        // Without a folder an error has been reported, and the value is never used.
        return Located(
            value: Configuration.Certificates(
                directory: directory?.value ?? "", fallback: fallback?.value,
                pairTimeout: pairTimeout),
            location: section.location)
    }
}
