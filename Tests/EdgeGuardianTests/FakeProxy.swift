/// A proxy in Python that speaks the guardian's protocol at descriptor 3 and nothing of ours: it
/// answers each connection with its process number. `argv[1]` says how it misbehaves; the file
/// `argv[2]` lets it do so only the first time.
let fakeProxyScript = #"""
    import mmap, os, select, socket, struct, sys, time
    mode, marker = sys.argv[1], sys.argv[2]
    first = not os.path.exists(marker)
    open(marker, "a").close()
    channel = socket.socket(fileno=3)
    channel.setblocking(True)
    leaked = [fd for fd in range(4, 64) if os.path.exists("/proc/self/fd/%d" % fd)
              and not os.readlink("/proc/self/fd/%d" % fd).startswith("/proc")]
    def send(kind, *fields):
        fields = list(fields) + [0] * (7 - len(fields))
        channel.send(struct.pack("<HHI7Q", 1, kind, 0, *fields))
    def receive():
        data, fds, _, _ = socket.recv_fds(channel, 64, 16)
        if not data: os._exit(0)
        message = struct.unpack("<HHI7Q", data)
        return message[1], message[3:], list(fds)
    if mode == "fail": os._exit(78)
    if mode == "mute" and not first: time.sleep(60)
    if leaked or os.environ.get("NOTIFY_SOCKET"): os._exit(99)
    board, workers, listeners, admin, bank, groups = None, 0, [], None, 0, {}
    def beat(busy):
        if board is None: return
        for thread in range(workers + 1):
            value = time.monotonic_ns() & ~1 | busy
            struct.pack_into(
                "<QQ", board, (64 + 1024 * ((workers + 1) * bank + thread)) * 8, value, os.getpid())
    def step():
        global board, workers, admin, bank
        kind, fields, fds = receive()
        if kind == 1:
            workers, bank = fields[0], fields[4]
            board = mmap.mmap(fds[1], os.fstat(fds[1]).st_size)
            if fields[3] & 1: admin = fds[3]
            if fields[3] & 16:
                given = os.fstat(fds[-1])
                open(marker + ".limits", "a").write("%d:%d " % (given.st_ino, given.st_size))
                os.close(fds.pop())
            if fields[3] & 8: open(marker + ".dismiss", "a").write("1")
        elif kind == 2:
            sockets = [socket.socket(fileno=fd) for fd in fds]
            for given in sockets: given.setblocking(False)
            listeners.extend(sockets)
            groups.setdefault(fields[4], []).extend(sockets)
        elif kind == 13:
            for left in groups.pop(fields[0]):
                listeners.remove(left)
                left.close()
            send(73, fields[0])
        elif kind == 3: beat(0); send(65)
        elif kind == 4:
            beat(0); send(66)
            if mode == "garbage" and first:
                for _ in range(40): channel.send(b"garbage")
            if mode == "ask": send(70, 5)
        elif kind == 5:
            if mode == "refuse": send(68, fields[0], 3)
            else: send(67, fields[0])
        elif kind == 6: send(69, fields[0])
        elif kind == 8:
            text = os.pread(fds[0], 4096, 0).decode() if fds else ""
            open(marker, "a").write("outcome %d %s" % (fields[1], text))
        elif kind == 14:
            open(marker + ".news", "w").write(os.pread(fds[0], 1 << 20, 0).decode())
            os.close(fds[0])
        elif kind == 15: open(marker + ".dismiss", "a").write("%d" % fields[0])
        elif kind == 9:
            if mode == "stubborn": return
            if mode == "slow" and fields[1]:
                time.sleep(fields[0] / 2000)
            send(71); send(72); os._exit(0)
        elif kind == 10: os._exit(0)
    connections = 0
    while True:
        ready, _, _ = select.select([channel] + listeners, [], [], 0.05)
        if os.path.exists(marker + ".say"):
            words = open(marker + ".say").read().split()
            os.unlink(marker + ".say")
            words = [int(word) for word in words]
            # A fourth number: so often, with the second one and 0 in turns.
            for turn in range(words[3] if len(words) > 3 else 1):
                send(words[0], words[1] * (1 - turn % 2), *words[2:3])
        if channel in ready: step()
        for listener in listeners:
            try: connection, _ = listener.accept()
            except OSError: continue
            connection.setblocking(True)
            connection.send(str(os.getpid()).encode())
            connection.close()
            connections += 1
        if mode == "hang" and first and connections:
            beat(1)
            time.sleep(60)
        beat(0)
    """#
