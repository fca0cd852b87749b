internal import EdgeCore
internal import EdgeSystem
internal import EdgeVRRP

/// How things stand.
extension FailoverDriver {
    /// Once for all that has changed in this turn.
    func changedStatus() {
        guard !isStatusDue else { return }
        isStatusDue = true
        loop.schedule(at: loop.now) { [weak self] in
            guard let self else { return }
            isStatusDue = false
            tell(.changed(status))
        }
    }

    var status: FailoverStatus {
        var figures = figures
        figures.addresses = keeper.figures
        figures.announcements = announcer.figures
        figures.clockJumps = channels.values.reduce(0) { $0 + $1.clockJumps }
        figures.floods = channels.values.reduce(0) { $0 + $1.floods }
        presence?.add(to: &figures)
        return FailoverStatus(
            nodeName: settings.nodeName, standing: worstStanding,
            instances: instances.filter { !$0.isLeaving }.map { instance in
                FailoverStatus.Instance(
                    interfaceName: instance.channel.name, link: instance.channel.state,
                    addresses: instance.settings.families.flatMap(\.addresses),
                    election: instance.status)
            },
            peers: presence?.peers ?? [], figures: figures, realTime: grant)
    }
}
