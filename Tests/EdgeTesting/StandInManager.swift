/// A service manager as small as can be: starts a program, keeps the sockets it is given
/// (sd_notify(3), FDSTORE) and gives them back at the next start (sd_listen_fds(3)).
///
/// Its standard output says what it was told: `stored NAME`, `removed NAME`, `dropped NAME` (shut
/// by its owner, as systemd notices it), `given COUNT`, `ended STATUS MILLISECONDS`. Its signals:
/// HUP restarts the program with TERM, USR1 kills it and starts it anew, TERM and INT are passed on
/// and end both.
package enum StandInManager {
    /// What to put before the program and its arguments.
    ///
    /// - Parameters:
    ///   - folder: for its socket.
    ///   - storeMax: how many descriptors it keeps, and says so by FDSTORE.
    ///   - forgedPort: given, it has descriptors that nobody ever stored, named as if they were a
    ///     listener's at this port of 127.0.0.1; it prints the port of one that listens.
    package static func wrapper(
        in folder: TemporaryDirectory, storeMax: Int = 64, forgedPort: UInt16 = 0
    ) throws -> [String] {
        let script = try folder.write("manager.py", self.script)
        return ["python3", script, folder.path, "\(storeMax)", "\(forgedPort)"]
    }

    static let script = #"""
        import array, ctypes, fcntl, os, select, signal, socket, sys, time
        folder, store_max, forged = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
        command = sys.argv[4:]
        path = folder + "/notify.sock"
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        notify.bind(path)
        libc = ctypes.CDLL(None)
        poller, store, wanted = select.poll(), [], []
        child, watch, begin, then = 0, -1, 0.0, None

        def say(*words): print(*words, flush=True)
        def inode(fd): return os.fstat(fd).st_ino

        def keep(name, fd):
            if len(store) >= store_max or any(inode(fd) == inode(other) for _, other in store):
                return os.close(fd)
            store.append((name, fd))
            poller.register(fd, 0)                  # hang-ups only
            say("stored", name)

        def drop(word, chosen):
            for name, fd in [entry for entry in store if chosen(*entry)]:
                store.remove((name, fd))
                poller.unregister(fd)
                os.close(fd)
                say(word, name)

        def receive():
            while True:
                try: data, fds, _, _ = socket.recv_fds(notify, 4096, 253)
                except BlockingIOError: return
                lines = data.decode().split("\n")
                name = next((l[7:] for l in lines if l.startswith("FDNAME=")), "stored")
                if "FDSTORE=1" in lines:
                    for fd in fds: keep(name, fd)
                else:
                    for fd in fds: os.close(fd)
                if "FDSTOREREMOVE=1" in lines: drop("removed", lambda n, _: n == name)

        def start():
            global child, watch
            child = os.fork()
            if child == 0:
                libc.prctl(1, signal.SIGKILL)
                signal.pthread_sigmask(signal.SIG_SETMASK, [])
                copies = [fcntl.fcntl(fd, fcntl.F_DUPFD, 300) for _, fd in store]
                for index, fd in enumerate(copies): os.dup2(fd, 3 + index)
                os.closerange(3 + len(copies), 1024)
                os.environ["NOTIFY_SOCKET"] = path
                if store_max: os.environ["FDSTORE"] = str(store_max)
                if copies:
                    os.environ["LISTEN_PID"] = str(os.getpid())
                    os.environ["LISTEN_FDS"] = str(len(copies))
                    os.environ["LISTEN_FDNAMES"] = ":".join(name for name, _ in store)
                os.execvp(command[0], command)
            say("given", len(store))
            watch = os.pidfd_open(child)
            poller.register(watch, select.POLLIN)

        def ended():
            receive()
            _, status = os.waitpid(child, 0)
            poller.unregister(watch)
            os.close(watch)
            say("ended", status, round((time.monotonic() - begin) * 1000))
            if then != "start": os._exit(os.waitstatus_to_exitcode(status) & 127)
            start()

        def forge():
            def tcp(address, shared):
                made = socket.socket()
                if shared: made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                made.bind((address, 0))
                made.listen()
                return made
            name = "tcp,127.0.0.1,%d" % forged
            datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            datagrams.bind(("127.0.0.1", forged))
            far = tcp("127.0.0.1", True)
            connected = socket.create_connection(far.getsockname())
            others = [("unshared", tcp("127.0.0.1", False)), ("elsewhere", tcp("127.0.0.1", True))]
            entries = [(name, datagrams), ("connected", connected)] + others
            for name, made in entries: keep(name, made.detach())
            keep("file", os.open("/dev/null", os.O_RDONLY))
            say("elsewhere listens at", socket.socket(fileno=os.dup(store[3][1])).getsockname()[1])
            global held
            held = far

        def end(number, next):
            global begin, then
            begin, then = time.monotonic(), next
            os.kill(child, number)

        wake, pipe_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(pipe_in)
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        poller.register(notify, select.POLLIN)
        poller.register(wake, select.POLLIN)
        if forged: forge()
        start()
        while True:
            # As systemd does it: what was sent comes before who died.
            events = dict(poller.poll())
            if notify.fileno() in events: receive()
            if wake in events:
                for number in os.read(wake, 64):
                    if number == signal.SIGHUP: end(signal.SIGTERM, "start")
                    elif number == signal.SIGUSR1: end(signal.SIGKILL, "start")
                    else: end(number, "exit")
            if watch in events: ended()
            gone = {fd for fd in events if events[fd] & (select.POLLHUP | select.POLLERR)}
            drop("dropped", lambda _, fd: fd in gone)
        """#
}
