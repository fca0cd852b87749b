import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeUpstream

@Suite("Balancer: random lives") struct BalancerWalkTests {
    /// What the balancer has to agree with.
    private struct Model {
        var seats: [RankedMember?] = []
        var loads = [Int](repeating: 0, count: 70)
        var underWay: [Int] = []

        func usable(_ rank: MemberRank, _ isUsable: (Int) -> Bool) -> Set<Int> {
            Set(seats.indices.filter { seats[$0]?.rank == rank && isUsable($0) })
        }
    }

    @Test(
        "Whatever happens, the choice is a usable member of the best rank there is",
        arguments: BalancerRankTests.policies, [UInt64(1), 2, 3])
    func walk(policy: BalancePolicy, seed: UInt64) {
        seeded(seed) { random in
            let balancer = TestBalancer(
                policy, weights: [], turn: Int(seed), slowStart: .seconds(5), sticky: true)
            var model = Model()
            for _ in 0..<4000 {
                switch Int.random(in: 0..<100, using: &random) {
                case 0..<2: changeMembers(balancer, &model, &random)
                case 2..<35: end(balancer, &model, &random)
                case 35..<45:
                    balancer.advance(.milliseconds(Int.random(in: 0...2000, using: &random)))
                default: choose(balancer, &model, &random)
                }
                for index in model.seats.indices where balancer.load(index) != model.loads[index] {
                    #expect(Bool(false), "load of \(index), \(random)")
                }
            }
        }
    }

    private func changeMembers(
        _ balancer: TestBalancer, _ model: inout Model, _ random: inout SeededRandom
    ) {
        let count = random.chance(1, of: 5) ? 70 : Int.random(in: 0...9, using: &random)
        model.seats = (0..<count).map { index in
            guard random.chance(5, of: 6) else { return nil }
            return TestBalancer.member(
                random.chance(1, of: 4) ? index + 100 : index,
                weight: random.chance(1, of: 2) ? 1 : Int.random(in: 1...256, using: &random),
                rank: MemberRank.allRanks[Int.random(in: 0..<4, using: &random)],
                rampedFrom: random.chance(1, of: 3) ? balancer.now : Instant(nanoseconds: 0))
        }
        balancer.update(model.seats)
    }

    private func end(
        _ balancer: TestBalancer, _ model: inout Model, _ random: inout SeededRandom
    ) {
        guard !model.underWay.isEmpty else { return }
        let at = Int.random(in: 0..<model.underWay.count, using: &random)
        let member = model.underWay.takeOut(at)
        if random.chance(2, of: 3) {
            balancer.answered(
                member, after: .microseconds(Int.random(in: 0...5000, using: &random)))
        }
        balancer.ended(member)
        model.loads[member] -= 1
    }

    private func choose(
        _ balancer: TestBalancer, _ model: inout Model, _ random: inout SeededRandom
    ) {
        let out = random.next() & random.next()
        let isUsable = { (index: Int) in out >> UInt64(index % 64) & 1 == 0 }
        let bound = random.chance(1, of: 4) ? Int.random(in: 0..<80, using: &random) : -1

        let choice = balancer.next(key: random.next() % 20, bound: bound, isUsable: isUsable)

        var allowed = model.usable(.preferred, isUsable)
        if allowed.isEmpty { allowed = model.usable(.fallback, isUsable) }
        let takesBound =
            bound >= 0 && bound < model.seats.count && isUsable(bound)
            && (model.seats[bound]?.rank ?? .never) < .never
        if takesBound { allowed = [bound] }
        guard let choice else {
            #expect(allowed.isEmpty, "\(random)")
            return
        }
        #expect(allowed.contains(choice), "\(random)")
        #expect(balancer.member(forToken: balancer.stickyToken(choice)) != nil, "\(random)")
        balancer.began(choice)
        model.loads[choice] += 1
        model.underWay.append(choice)
    }
}

extension MemberRank {
    fileprivate static let allRanks: [MemberRank] = [.preferred, .fallback, .boundOnly, .never]
}
