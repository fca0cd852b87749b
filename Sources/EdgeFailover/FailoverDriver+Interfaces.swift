internal import EdgeCore
internal import EdgeSystem

/// What the kernel tells of interfaces and addresses.
extension FailoverDriver {
    func observed(_ event: NetworkEvent) {
        survey.observed(event)
        // Sockets that the next program inherits stay as they are; afterwards all is read anew.
        guard !isFrozen else { return }
        switch event {
        case .link(let link):
            links[link.interface.index] = link
            linksChanged()
            for instance in instances { instance.virtualLinkChanged(link) }
        case .linkGone(let index):
            links[index] = nil
            linkGone(index)
            linksChanged()
        case .address(let address):
            guard let channel = channel(at: address.index) else { break }
            channel.added(address)
            addressesChanged(channel)
        case .addressGone(let address):
            guard let channel = channel(at: address.index) else { break }
            channel.removed(address)
            addressesChanged(channel)
        case .overflow:
            hasLostEvents = true
            return survey.request()
        }
        keeper.observed(event)
    }

    private func linkGone(_ index: Int32) {
        keeper.forget(index: index)
        for instance in instances { instance.virtualLinkGone(index) }
    }

    func channel(at index: Int32) -> InterfaceChannel? {
        channels.values.first { $0.index == index }
    }

    /// Everything as it is, whatever was told or lost.
    func surveyed(_ result: Result<NetworkSurvey.Findings, SystemError>) {
        guard !isFrozen else { return }
        switch result {
        case .failure(let error):
            if error != surveyFailure {
                log(.error, "failover: interfaces cannot be read: \(error)")
            }
            surveyFailure = error
        case .success(let found):
            surveyFailure = nil
            let gone = links.keys.filter { found.links[$0] == nil }
            links = found.links
            for index in gone { linkGone(index) }
            linksChanged()
            for channel in channels.values {
                channel.replaceAddresses(found.addresses)
                makeFilter(channel)
                tellInstances(channel)
            }
            for link in found.links.values {
                for instance in instances { instance.virtualLinkChanged(link) }
            }
            if hasLostEvents { keeper.observed(.overflow) }
            hasLostEvents = false
        }
    }

    /// At the start only.
    func readLinks() {
        do throws(SystemError) {
            let all = try NetworkLink.readAll(netlink)
            links = [:]
            for link in all { links[link.interface.index] = link }
        } catch {
            log(.error, "failover: interfaces cannot be read: \(error)")
            survey.request()
        }
    }

    /// At the start only.
    func readAddresses(_ channel: InterfaceChannel) {
        guard channel.index > 0 else { return }
        do throws(SystemError) {
            channel.replaceAddresses(try InterfaceAddress.readAll(netlink, of: channel.index))
            makeFilter(channel)
        } catch {
            log(.error, "failover: addresses of \(channel.name) cannot be read: \(error)")
            survey.request()
        }
    }

    func linksChanged() {
        var hasChanged = false
        for channel in channels.values {
            let link = links.values.first { $0.interface.name == channel.name }
            guard link != channel.link else { continue }
            hasChanged = true
            let before = channel.state
            let isOther = channel.update(link)
            if channel.state != before {
                log(.notice, "failover: \(channel.name) is \(channel.state.text)")
            }
            if isOther {
                makeFilter(channel)
                govern()
                // One that is new tells of each of its addresses, one with another name does not.
                survey.request()
            }
            tellInstances(channel)
        }
        guard hasChanged else { return }
        // Virtual interfaces may have been made.
        govern()
        restand()
    }

    /// What is ours to put on and take off; an owner's are not.
    func govern() {
        keeper.govern(
            instances.filter { !$0.settings.isOwner }.flatMap(\.virtualAddresses))
    }

    func addressesChanged(_ channel: InterfaceChannel) {
        makeFilter(channel)
        tellInstances(channel)
        changedStatus()
    }

    func tellInstances(_ channel: InterfaceChannel) {
        guard !isFrozen else { return }
        for instance in instances where instance.channel === channel { instance.observe() }
    }

    func removeLeftovers() {
        let inUse = Set(
            instances.flatMap { $0.virtualInterfaces.values.map(\.name) })
        for link in links.values
        where VirtualInterface.isOurs(link) && !inUse.contains(link.interface.name) {
            try? VirtualInterface.remove(link, netlink)
        }
    }
}
