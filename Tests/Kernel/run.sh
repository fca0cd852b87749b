#!/usr/bin/env bash
# Boots Debian's 6.1 kernel, the oldest that edged supports, in qemu and runs smoke.sh inside, on a
# system that lives in memory and holds nothing but the release build, busybox, curl, openssl,
# nginx and wrk. Passed only if the guest says so on its serial console.
#
#   run.sh FOLDER_WITH_edged SCRATCH_FOLDER [--suite DEBUG_FOLDER FILTER]
#
# --suite runs the tests of a debug build inside instead, those that match FILTER.
# EDGED_KERNEL=FILE boots that kernel; EDGED_KERNEL_ACCEL=kvm uses KVM;
# EDGED_KERNEL_SECONDS bounds the guest's life (600).
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
[ $# -ge 2 ] || { sed -n 2,11p "$0" >&2; exit 64; }
bin=$(cd "$1" && pwd)
mkdir -p "$2"
work=$(cd "$2" && pwd)
suite=
filter=
[ "${3:-}" != --suite ] || { suite=$(cd "$4" && pwd); filter=$5; }
# Taken apart, not installed: this machine goes on booting what it boots.
fetch() {
    package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/ { print $2; exit }')
    [ -n "$package" ] && apt-get download -q "$package" && dpkg-deb -x ./*.deb . && rm ./*.deb
}
kernel=${EDGED_KERNEL:-}
if [ -z "$kernel" ]; then
    mkdir -p "$work/kernel"
    if ! ls "$work"/kernel/boot/vmlinuz-* >/dev/null 2>&1; then
        # Package lists may be older than the mirror.
        (cd "$work/kernel" && { fetch || { apt-get update -q && fetch; }; })
    fi
    kernel=$(ls "$work"/kernel/boot/vmlinuz-* | tail -1)
fi

tree=$work/root
rm -rf "$tree"
mkdir -p "$tree"/{bin,sbin,etc,proc,sys,dev,run,tmp,root,usr/bin,usr/sbin,test/certs}
mkdir -p "$tree"/var/{log,lib}/nginx

# Copies a program and the libraries it is linked with to where they are here.
with_libraries() {
    install -D "$1" "$tree${2:-$1}"
    { ldd "$1" 2>/dev/null || true; } | grep -o '/[^ ]*' | while read -r library; do
        [ -e "$tree$library" ] || install -D "$library" "$tree$library"
    done
}
install "$(command -v busybox)" "$tree/bin/busybox"
with_libraries "$bin/edged" /usr/bin/edged
for tool in curl openssl nginx wrk setpriv ip; do
    path=$(command -v "$tool") || { echo "$tool is not installed"; exit 1; }
    with_libraries "$(readlink -f "$path")" "$path"
done
cat >"$tree/etc/passwd" <<'END'
root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/sh
END
printf 'root:x:0:\nnogroup:x:65534:\n' >"$tree/etc/group"
printf '127.0.0.1 localhost app.test secure.test\n' >"$tree/etc/hosts"
printf 'hosts: files\n' >"$tree/etc/nsswitch.conf"
: >"$tree/etc/resolv.conf"

"$root/certs-example/mint.sh" "$work/minted" \
    --server 'app.test,secure.test' --upstream 'secure.test'
cp "$work/minted/server.pem" "$tree/test/certs/"
cp "$work"/minted/{ca.pem,upstream.crt,upstream.key} "$tree/test/"
cp "$root"/Tests/Kernel/{smoke.sh,edged.yaml,nginx.conf} "$tree/test/"
install "$root/Tests/Kernel/init" "$tree/init"

if [ -n "$suite" ]; then
    for file in "$suite"/*.xctest; do with_libraries "$file" "/test/build/$(basename "$file")"; done
    for name in edged edgectl; do with_libraries "$suite/$name" "/test/build/$name"; done
    printf '%s\n' "$filter" >"$tree/test/suite"
fi

(cd "$tree" && find . | cpio --quiet -o -H newc -R 0:0 | gzip -1) >"$work/initrd"
echo "kernel $(basename "$kernel"), system of $(du -m "$work/initrd" | cut -f1) MB"

# Software emulation by default: it is the same everywhere, and a nested KVM may stand still for
# seconds or never start. The processor's bug list is an MSR that a nested KVM refuses to set. A
# busy host delays the emulated timer, which must not look like a missing one (no_timer_check).
memory=$(($(du -sm "$tree" | cut -f1) * 2 + 1024))
status=0
timeout -k 5 "${EDGED_KERNEL_SECONDS:-600}" qemu-system-x86_64 -M pc \
    -accel "${EDGED_KERNEL_ACCEL:-tcg}" -cpu max,-arch-capabilities -smp 2 -m "$memory" \
    -kernel "$kernel" -initrd "$work/initrd" \
    -append 'console=ttyS0 panic=-1 quiet no_timer_check random.trust_cpu=on' \
    -display none -monitor none -serial stdio -nic none -no-reboot \
    </dev/null 2>"$work/qemu.log" | sed -u 's,\r$,,' | tee "$work/console.log" || status=$?
grep -v TCG "$work/qemu.log" || true
if grep -q '^EDGED-KERNEL-TEST: PASSED' "$work/console.log"; then exit 0; fi
echo "no verdict from the guest (qemu ended with $status): $work/console.log has what it said"
exit 1
