internal import EdgeCore
internal import EdgeSystem

/// What the kernel tells of interfaces and addresses.
extension FailoverDriver {
    func observed(_ event: NetworkEvent) {
        switch event {
        case .link(let link):
            links[link.interface.index] = link
            linksChanged()
        case .linkGone(let index):
            links[index] = nil
            keeper.forget(index: index)
            linksChanged()
        case .address(let address):
            guard let channel = channel(at: address.index) else { break }
            channel.added(address)
            addressesChanged(channel)
        case .addressGone(let address):
            guard let channel = channel(at: address.index) else { break }
            channel.removed(address)
            addressesChanged(channel)
        case .overflow: readAll()
        }
        keeper.observed(event)
    }

    func channel(at index: Int32) -> InterfaceChannel? {
        channels.values.first { $0.index == index }
    }

    /// Some events were lost.
    func readAll() {
        readLinks()
        linksChanged()
        for channel in channels.values {
            readAddresses(channel)
            tellInstances(channel)
        }
    }

    func readLinks() {
        do throws(SystemError) {
            let all = try NetworkLink.readAll(netlink)
            links = [:]
            for link in all { links[link.interface.index] = link }
        } catch {
            log(.error, "failover: interfaces cannot be read: \(error)")
            loop.schedule(after: .milliseconds(100)) { [weak self] in self?.readAll() }
        }
    }

    func readAddresses(_ channel: InterfaceChannel) {
        guard channel.index > 0 else { return }
        do throws(SystemError) {
            channel.replaceAddresses(try InterfaceAddress.readAll(netlink, of: channel.index))
            makeFilter(channel)
        } catch {
            log(.error, "failover: addresses of \(channel.name) cannot be read: \(error)")
            loop.schedule(after: .milliseconds(100)) { [weak self] in self?.readAll() }
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
                readAddresses(channel)
                govern()
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
