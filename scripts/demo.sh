#!/bin/sh
# Shows what arrayfs does, on real data, in less than a minute: sh scripts/demo.sh [FOLDER]
# Each command is printed before it runs. The container stays in FOLDER (demo-data by default); no mount does.
set -eu
cd "$(dirname "$0")/.."
sh scripts/setup.sh
PATH="$PWD/.venv/bin:$PATH"
folder=${1:-demo-data}
container=$folder/store/demo.af
mnt=$folder/mnt

say() { printf '\n# %s\n' "$*"; }

run() {
    printf '$'
    for word; do
        case $word in *" "*) printf ' "%s"' "$word" ;; *) printf ' %s' "$word" ;; esac
    done
    printf '\n'
    "$@"
}

# For what a plain argument list cannot say: pipes and redirections.
run_line() {
    printf '$ %s\n' "$1"
    sh -c "$1"
}

# Also takes away what a daemon that died left. Where nothing is mounted, nothing is said.
unmount_left() { arrayfs umount --lazy "$mnt" >/dev/null 2>&1 || :; }

# A run that was stopped may have left its mount; rmdir, so that nothing is ever removed through one.
unmount_left
trap unmount_left EXIT
trap 'exit 1' HUP INT TERM
rm -f "$folder"/store/demo.* "$folder/demo.log"
[ ! -d "$mnt" ] || rmdir "$mnt"
mkdir -p "$folder/store" "$mnt"

say "An empty container, shown as files"
run arrayfs mount --create --log "$folder/demo.log" "$container" "$mnt"

say "zarr-python writes a brain scan and a map of the globe into the folder, as into any other"
run python scripts/demo.py write "$mnt"

say "It is just files: documents in JSON, chunks of raw numbers"
run ls "$mnt" "$mnt/brain/c/0/0"
run_line "head -c 230 $mnt/brain/zarr.json; echo …"
run od -A d -t d2 -N 32 -j 6000 "$mnt/brain/c/1/1/1/0"
run_line "cp -r $mnt/land $folder/copy && diff -r $mnt/land $folder/copy && echo 'cp: no difference'; rm -r $folder/copy"
run arrayfs status "$mnt"

say "Unmounting writes one sidecar, compressed, and waits until it is safe on disk"
run arrayfs umount "$mnt"
run ls -l "$folder/store"
run arrayfs ls "$container"

say "Mounted again. du knows what compression saves; a row of the map is overwritten with dd, a value and an attribute with zarr-python"
run arrayfs mount "$container" "$mnt"
run du -sh --apparent-size "$mnt"
run du -sh "$mnt"
run_line "head -c 540 /dev/zero | tr '\\0' '\\011' | dd of=$mnt/land/c/0/0 bs=540 conv=notrunc status=none"
run python scripts/demo.py edit "$mnt"
run arrayfs commit "$mnt" -m "a row and a voxel corrected"
run_line "echo 'Corrected by hand, see version 2.' > $mnt/README"
run arrayfs umount "$mnt"

say "Only what changed was written; the earlier files are as they were"
run arrayfs info "$container"
run arrayfs verify "$container"

say "All of it read back, from a mount for reading"
run arrayfs mount --read-only "$container" "$mnt"
run cat "$mnt/README"
run python scripts/demo.py check "$mnt"
run arrayfs umount "$mnt"
rmdir "$mnt"

say "The container is $container with its sidecars. The Rust crate array-format 0.11 to 0.14 reads it as it is"
