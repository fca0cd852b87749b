// swift-tools-version: 6.2
import PackageDescription

// The dependency table of ARCHITECTURE.md, section "Targets": a target imports what its row
// lists and nothing else. Tests/TidyTests compares the two.

let common: [SwiftSetting] =
    [
        .swiftLanguageMode(.v6),
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("InternalImportsByDefault"),
    ]
    // `make test` builds so; a compiler that knows new warnings still builds a release.
    + (Context.environment["EDGED_STRICT"] == nil ? [] : [.treatAllWarnings(as: .error)])

/// Targets that only ever see bytes through spans: the compiler proves their memory safety.
let pure = common + [.strictMemorySafety()]

/// Targets whose classes hold state touched per completion. Exclusivity is checked in debug
/// builds, where all tests run; ARCHITECTURE.md, "Compiler settings", has the measurement.
let hot =
    common + [
        .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release))
    ]

/// The suite of one library: it sees that library, the foundation, the test kit and `more`.
func unitTests(_ target: String, _ more: String...) -> Target {
    let names = [target] + ["EdgeCore", "EdgeTesting"].filter { $0 != target } + more
    return .testTarget(
        name: target + "Tests",
        dependencies: names.map { .target(name: $0) }, swiftSettings: common)
}

let package = Package(
    name: "edged",
    products: [
        .executable(name: "edged", targets: ["edged"]),
        .executable(name: "edgectl", targets: ["edgectl"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2")
    ],
    targets: [
        // C
        .target(
            name: "CEdge",
            linkerSettings: [
                .linkedLibrary("uring"), .linkedLibrary("ssl"), .linkedLibrary("crypto"),
                .linkedLibrary("nghttp2"), .linkedLibrary("cares"), .linkedLibrary("yaml"),
            ]),
        // foundation
        .target(name: "EdgeCore", swiftSettings: common),
        // system
        .target(name: "EdgeSystem", dependencies: ["EdgeCore", "CEdge"], swiftSettings: common),
        .target(name: "EdgeRing", dependencies: ["EdgeCore", "CEdge"], swiftSettings: hot),
        // protocol (sans-IO)
        .target(name: "EdgeHTTP", dependencies: ["EdgeCore"], swiftSettings: pure),
        .target(name: "EdgeHTTP1", dependencies: ["EdgeCore", "EdgeHTTP"], swiftSettings: pure),
        .target(
            name: "EdgeHTTP2", dependencies: ["EdgeCore", "EdgeHTTP", "CEdge"], swiftSettings: hot),
        .target(name: "EdgeX509", swiftSettings: pure),
        .target(
            name: "EdgeTLS", dependencies: ["EdgeCore", "EdgeX509", "CEdge"], swiftSettings: hot),
        .target(
            name: "EdgePreface", dependencies: ["EdgeCore"],
            // Spans are returned.
            swiftSettings: pure + [.enableExperimentalFeature("Lifetimes")]),
        // policy (pure)
        .target(name: "EdgeRouting", dependencies: ["EdgeCore"], swiftSettings: pure),
        .target(name: "EdgeUpstream", dependencies: ["EdgeCore"], swiftSettings: pure),
        .target(name: "EdgeLimits", dependencies: ["EdgeCore"], swiftSettings: pure),
        .target(name: "EdgeVRRP", dependencies: ["EdgeCore"], swiftSettings: pure),
        // assembly
        .target(
            name: "EdgeConfig",
            dependencies: [
                "EdgeCore", "EdgeRouting", "EdgeUpstream", "EdgeLimits", "EdgeVRRP", "CEdge",
            ],
            swiftSettings: common),
        .target(
            name: "EdgeDNS", dependencies: ["EdgeCore", "EdgeSystem", "CEdge"],
            swiftSettings: common),
        .target(
            name: "EdgeHealth",
            dependencies: [
                "EdgeCore", "EdgeSystem", "EdgePreface", "EdgeTLS", "EdgeHTTP", "EdgeHTTP1",
                "EdgeHTTP2", "EdgeUpstream", "CEdge",
            ],
            swiftSettings: common),
        .target(
            name: "EdgePair", dependencies: ["EdgeCore", "EdgeSystem", "EdgeTLS", "CEdge"],
            swiftSettings: common),
        .target(name: "EdgeControlAPI", dependencies: ["EdgeCore"], swiftSettings: common),
        .target(
            name: "EdgeControl",
            dependencies: ["EdgeCore", "EdgeSystem", "EdgeControlAPI"],
            swiftSettings: common),
        .target(
            name: "EdgeProxy",
            dependencies: [
                "EdgeCore", "EdgeSystem", "EdgeRing", "EdgePreface", "EdgeTLS", "EdgeHTTP",
                "EdgeHTTP1", "EdgeHTTP2", "EdgeRouting", "EdgeUpstream", "EdgeLimits", "CEdge",
            ],
            swiftSettings: hot),
        .target(
            name: "EdgeFailover", dependencies: ["EdgeCore", "EdgeSystem", "EdgeVRRP", "CEdge"],
            swiftSettings: common),
        .target(
            name: "EdgeGuardian",
            dependencies: [
                "EdgeCore", "EdgeSystem", "EdgeVRRP", "EdgeFailover", "EdgeConfig",
                "EdgeControlAPI", "CEdge",
            ],
            swiftSettings: common),
        .target(
            name: "EdgeDaemon",
            dependencies: [
                "EdgeCore", "EdgeSystem", "EdgeRing", "EdgeTLS", "EdgeHTTP", "EdgeHTTP1",
                "EdgeConfig", "EdgeDNS", "EdgeHealth", "EdgeLimits", "EdgePair",
                "EdgeRouting", "EdgeUpstream", "EdgeVRRP", "EdgeControlAPI", "EdgeControl",
                "EdgeProxy", "EdgeGuardian", "CEdge",
            ],
            swiftSettings: common),
        // executables
        .executableTarget(
            name: "edged", dependencies: ["EdgeDaemon"], swiftSettings: common),
        .executableTarget(
            name: "edgectl",
            dependencies: [
                "EdgeControlAPI",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: common),
        // budgets: what callgrind counts (bench/budgets.py)
        .executableTarget(
            name: "EdgeInstructions",
            dependencies: [
                "EdgeCore", "EdgeSystem", "EdgeRing", "EdgeTLS", "EdgeHTTP", "EdgeHTTP1",
                "EdgeHTTP2", "EdgeRouting", "EdgeUpstream", "EdgeLimits", "EdgeProxy", "CEdge",
            ],
            path: "bench/Instructions", swiftSettings: hot),
        // tests
        .target(
            name: "EdgeTesting",
            dependencies: ["EdgeCore", "EdgeSystem", "EdgeRing", "EdgeHTTP2", "CEdge"],
            path: "Tests/EdgeTesting", swiftSettings: common),
        .target(
            name: "EdgeNet", dependencies: ["EdgeCore", "EdgeSystem", "EdgeTesting", "CEdge"],
            path: "Tests/Net", swiftSettings: common),
        .target(
            name: "EdgeFuzz",
            dependencies: [
                "EdgeCore", "EdgeSystem", "EdgePreface", "EdgeTLS", "EdgeHTTP", "EdgeHTTP1",
                "EdgeHTTP2", "EdgeConfig", "EdgeDNS", "EdgePair", "EdgeVRRP", "EdgeTesting",
                "CEdge",
            ],
            path: "Tests/Fuzz", exclude: ["corpus", "run.sh"], swiftSettings: common),
        unitTests("EdgeCore"),
        unitTests("EdgeSystem", "CEdge"),
        unitTests("EdgeRing", "CEdge"),
        unitTests("EdgePreface", "CEdge"),
        unitTests("EdgeX509", "CEdge"),
        unitTests("EdgeTLS", "CEdge"),
        unitTests("EdgeHTTP1", "EdgeHTTP"),
        unitTests("EdgeHTTP2", "EdgeHTTP", "EdgeHTTP1", "CEdge"),
        unitTests("EdgeRouting", "EdgeHTTP"),
        unitTests("EdgeUpstream"),
        unitTests("EdgeLimits"),
        unitTests("EdgeVRRP"),
        unitTests("EdgeFailover", "EdgeNet", "EdgeSystem", "EdgeVRRP", "CEdge"),
        unitTests("EdgeDNS", "EdgeControlAPI", "EdgeNet", "EdgeSystem"),
        unitTests("EdgeHealth", "EdgeSystem", "EdgeTLS", "EdgeUpstream"),
        unitTests("EdgePair", "EdgeSystem", "EdgeTLS", "CEdge"),
        unitTests("EdgeConfig", "EdgeRouting", "EdgeUpstream", "EdgeLimits", "EdgeVRRP"),
        unitTests("EdgeControl", "EdgeControlAPI", "EdgeNet", "EdgeSystem"),
        unitTests(
            "EdgeDaemon", "EdgeConfig", "EdgeControlAPI", "EdgeDNS", "EdgeHTTP", "EdgeLimits",
            "EdgePair", "EdgeProxy", "EdgeRouting", "EdgeSystem", "EdgeTLS", "EdgeUpstream", "CEdge"
        ),
        unitTests(
            "EdgeGuardian", "EdgeConfig", "EdgeControlAPI", "EdgeFailover", "EdgeSystem",
            "EdgeVRRP",
            "CEdge"),
        unitTests(
            "EdgeProxy", "EdgeHTTP", "EdgeHTTP1", "EdgeHTTP2", "EdgeLimits", "EdgeRing",
            "EdgeRouting", "EdgeTLS", "EdgeUpstream", "EdgeSystem", "CEdge"),
        .testTarget(
            name: "ScenarioTests",
            dependencies: ["EdgeCore", "EdgeSystem", "EdgeTesting", "EdgeNet"],
            swiftSettings: common),
        .testTarget(
            name: "NetTests",
            dependencies: ["EdgeCore", "EdgeSystem", "EdgeTesting", "EdgeNet"],
            swiftSettings: common),
        .testTarget(name: "FuzzTests", dependencies: ["EdgeFuzz"], swiftSettings: common),
        .testTarget(name: "TidyTests", swiftSettings: common),
    ]
)
