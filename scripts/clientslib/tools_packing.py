"""Archives and rsync."""

from __future__ import annotations

from clientslib.tool import Tool

ARCHIVES = [
    Tool(
        "tar",
        "tar",
        "tar x, tar c",
        r"""
        mkdir tree
        tar cf - --format=posix -C $SAMPLE . | tar xf - -C tree
        """,
        r"""
        same_stat
        tar cf - --format=posix -C tree . | tar df - -C $SAMPLE
        """,
    ),
    Tool(
        "tar",
        "tar",
        "tar z inside, --append, --sparse",
        r"""
        bring
        tar czf a.tgz -C tree store
        tar cf b.tar -C tree files
        tar rf b.tar -C tree store
        truncate -s 50M hole
        tar cSf c.tar --hole-detection=raw hole
        """,
        r"""
        mkdir $OUT/x
        tar xf b.tar -C $OUT/x
        diff -r $OUT/x $SAMPLE
        tar tzf a.tgz >/dev/null
        test $(stat -c %s c.tar) -lt 100000
        """,
        (".",),
    ),
    Tool(
        "zip",
        "zip",
        "zip and unzip",
        r"""
        (cd $SAMPLE
        zip -qr - .) >a.zip
        mkdir tree
        unzip -q a.zip -d tree
        zip -qr b.zip tree
        zip -qd b.zip 'tree/store/*'
        """,
        r"""
        same
        unzip -tq b.zip >/dev/null
        unzip -l b.zip | grep -q script.sh
        ! unzip -l b.zip | grep -q native
        """,
        (".",),
    ),
    Tool(
        "gzip",
        "gzip",
        "gzip, gunzip, xz in place",
        r"""
        bring
        gzip -n tree/files/odd
        gzip -n tree/files/page
        gunzip tree/files/odd.gz
        xz -k tree/files/one
        """,
        r"""
        cmp tree/files/odd $SAMPLE/files/odd
        gzip -dc tree/files/page.gz | cmp - $SAMPLE/files/page
        xz -t tree/files/one.xz
        """,
    ),
    Tool(
        "cpio",
        "cpio",
        "cpio",
        r"""
        mkdir tree
        (cd $SAMPLE
        find . -depth -print0 | cpio -0o --quiet) | (cd tree
        cpio -idmu --quiet)
        """,
        r"""
        same
        """,
    ),
]

RSYNC = [
    Tool(
        "rsync",
        "rsync",
        "rsync -a, the second copies nothing",
        r"""
        rsync -a $SAMPLE/ tree/
        none_to_send
        """,
        r"""
        same_stat
        none_to_send
        rsync -a tree/ $OUT/back
        diff -r $SAMPLE $OUT/back
        """,
    ),
    Tool(
        "rsync",
        "rsync",
        "rsync --inplace, --append-verify, --delete",
        r"""
        bring
        head -c 50000 $SAMPLE/files/odd >tree/files/odd
        printf x | dd of=$CHUNK conv=notrunc status=none
        touch tree/extra
        rsync -a --append-verify $SAMPLE/files/odd tree/files/odd
        rsync -a --inplace --no-whole-file --delete $SAMPLE/ tree/
        """,
        r"""
        same_stat
        none_to_send
        """,
    ),
    Tool(
        "rsync",
        "rsync",
        "rsync --checksum, --partial-dir, -H",
        r"""
        bring
        touch tree/files/odd tree/store/native/c/0/0
        ln tree/files/one tree/files/uno
        rm tree/files/uno
        rsync -aH --checksum --partial-dir=.part --delay-updates $SAMPLE/ tree/
        """,
        r"""
        same
        none_to_send --checksum
        """,
    ),
]
