internal import EdgeControl
internal import EdgeControlAPI
internal import EdgePair

/// What a node says to the pair of a plan it has made: stricter and plainer than what it says to
/// its administrator. Pure.
struct PairPlan {
    /// Of a configuration that was prepared for a plan, beside the one in use.
    struct Facts: Equatable {
        /// Its bytes are others, if only a comment's.
        var isOther = false
        /// The link would be begun anew, and nobody would hear of the reload's end.
        var movesLink = false

        init(isOther: Bool = false, movesLink: Bool = false) {
            self.isOther = isOther
            self.movesLink = movesLink
        }

        init(from old: Preparation, to new: Preparation) {
            isOther = old.fingerprint != new.fingerprint || old.byteCount != new.byteCount
            movesLink = old.configuration.pair != new.configuration.pair
        }
    }

    let result: Result<ReloadPlanReply, OrderRefusal>
    let facts: Facts
    /// What is in use goes back unless it is confirmed.
    let isOnTrial: Bool

    var answer: (outcome: PairOrderResult.Outcome, lines: [String]) {
        // Else a reload on trial that is asked for again has nothing to do, and goes back.
        guard !isOnTrial else {
            return (
                .failed,
                [
                    "the reload before waits for its confirmation: edgectl confirm, or wait until "
                        + "it is taken back"
                ]
            )
        }
        switch result {
        case .failure(let refusal): return (.failed, [refusal.reason])
        case .success(let plan):
            if plan.outcome == .refused { return (.refused, plan.diagnostics) }
            if facts.movesLink {
                return (
                    .refused, ["`pair` changes, and with it the link: reload each node by itself"]
                )
            }
            // A difference that means nothing is one all the same as long as it lasts.
            let isSame = plan.outcome == .unchanged && !facts.isOther
            return (isSame ? .unchanged : .done, [])
        }
    }
}
