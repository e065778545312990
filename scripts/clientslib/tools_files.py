"""What coreutils, findutils and flock do."""

from __future__ import annotations

from clientslib.tool import Tool

COREUTILS = [
    Tool(
        "cp",
        "coreutils",
        "cp -r in",
        r"""
        cp -r $SAMPLE tree
        """,
        r"""
        same
        """,
    ),
    Tool(
        "cp",
        "coreutils",
        "cp -a in, then out",
        r"""
        bring
        """,
        r"""
        same_stat
        cp -a tree $OUT/tree
        diff -r $SAMPLE $OUT/tree
        """,
    ),
    Tool(
        "cp",
        "coreutils",
        "cp within",
        r"""
        bring
        cp -a tree second
        """,
        r"""
        same
        diff -r tree second
        """,
    ),
    Tool(
        "cp",
        "coreutils",
        "cp over, -n, -u, -l, --backup",
        r"""
        bring
        cp -r $SAMPLE/. tree
        cp -nr $SAMPLE/. tree
        cp -ur $SAMPLE/. tree
        cp -l tree/files/odd hard
        cp --backup=numbered tree/files/one hard
        """,
        r"""
        same
        cmp hard $SAMPLE/files/one
        cmp hard.~1~ $SAMPLE/files/odd
        """,
    ),
    Tool(
        "mv",
        "coreutils",
        "mv of an array, a group, a chunk",
        r"""
        bring
        mv tree/store/native tree/store/other
        mv tree/store store2
        mv store2/other/c/0/0 chunk
        mv -n store2/packed tree/packed
        mkdir empty
        mv -T tree/packed empty
        """,
        r"""
        test ! -e tree/store
        cmp store2/other/c/1/2 $SAMPLE/store/native/c/1/2
        cmp chunk $SAMPLE/store/native/c/0/0
        test ! -e store2/other/c/0/0
        diff -r empty $SAMPLE/store/packed
        """,
    ),
    Tool(
        "mv",
        "coreutils",
        "mv from the disk",
        r"""
        cp -a $SAMPLE $OUT/tree
        mv $OUT/tree tree
        """,
        r"""
        same_stat
        """,
    ),
    Tool(
        "rm",
        "coreutils",
        "rm -r",
        r"""
        bring
        rm -r tree/store tree/files/a*
        rmdir tree/files/n*
        """,
        r"""
        test ! -e tree/store
        ls -A tree/files | tr '\n' ' ' | grep -qx 'empty large odd one page script.sh '
        """,
    ),
    Tool(
        "dd",
        "coreutils",
        "dd conv=notrunc in a chunk",
        r"""
        bring
        printf '\1\2\3\4' | dd of=$CHUNK bs=4 seek=100 conv=notrunc status=none
        printf '\5\6\7\10' | dd of=$CHUNK bs=4 seek=1199 conv=notrunc,fsync status=none
        """,
        r"""
        test $(stat -c %s $CHUNK) = 4800
        cp $SAMPLE/store/native/c/1/2 $OUT/c
        printf '\1\2\3\4' | dd of=$OUT/c bs=4 seek=100 conv=notrunc status=none
        printf '\5\6\7\10' | dd of=$OUT/c bs=4 seek=1199 conv=notrunc status=none
        cmp $OUT/c $CHUNK
        """,
    ),
    Tool(
        "dd",
        "coreutils",
        "dd with O_DIRECT and O_SYNC",
        r"""
        dd if=$SAMPLE/files/large of=direct bs=64k oflag=direct status=none
        dd if=$SAMPLE/files/odd of=sync bs=5000 oflag=sync,append conv=notrunc status=none
        """,
        r"""
        dd if=direct bs=64k iflag=direct status=none | cmp - $SAMPLE/files/large
        cmp sync $SAMPLE/files/odd
        """,
    ),
    Tool(
        "truncate",
        "coreutils",
        "truncate down and up, fallocate",
        r"""
        bring
        truncate -s 1000 tree/files/odd
        truncate -s +9000 tree/files/odd
        truncate -s 64M sparse
        truncate -s 400 $CHUNK
        truncate -s 4800 $CHUNK
        ! fallocate -l 1M reserved 2>/dev/null
        rm -f reserved
        """,
        r"""
        head -c 1000 $SAMPLE/files/odd >$OUT/e
        head -c 9000 /dev/zero >>$OUT/e
        cmp $OUT/e tree/files/odd
        test $(stat -c %s sparse) = 67108864
        test $(du -k sparse | cut -f1) -lt 1000
        cmp -n 400 $CHUNK $SAMPLE/store/native/c/1/2
        tail -c 4400 $CHUNK | cmp -n 4400 - /dev/zero
        """,
    ),
    Tool(
        "install",
        "coreutils",
        "install, touch, ln, tee -a, split, sort -o, shuf",
        r"""
        install -D -m 750 $SAMPLE/files/script.sh bin/s
        touch -d '2001-02-03 04:05:06.789' bin/s
        ln bin/s bin/t
        for n in 3 1 2
        do
         echo $n | tee -a lines >/dev/null
        done
        sort -o lines lines
        split -b 10000 $SAMPLE/files/odd part.
        shred -n 1 -z part.ab
        """,
        r"""
        test "$(stat -c '%a %Y' bin/s)" = '750 981173106'
        cmp bin/s bin/t
        test "$(tr -d '\n' <lines)" = 123
        cat part.a[a] part.a[c-z] | wc -c | grep -qx 90003
        cmp -n 10000 part.ab /dev/zero
        """,
        ("part.ab",),
    ),
    Tool(
        "find",
        "findutils",
        "find, du, grep -r, xargs",
        r"""
        bring
        find tree -type f -name '[0-9]' -size +2k -newermt 2000-01-01 | sort >found
        grep -rl 'line 999' tree >>found
        find tree/files -type f -empty -delete
        """,
        r"""
        wc -l <found | grep -qx 7
        test ! -e tree/files/empty
        find tree -type f -print0 | xargs -0 cat | wc -c | grep -qv '^0$'
        test $(du -s --apparent-size -B1 tree/files/odd | cut -f1) = 100003
        df . >/dev/null
        """,
    ),
    Tool(
        "flock",
        "util-linux",
        "flock between processes",
        r"""
        echo 0 >count
        for n in 1 2 3 4
        do
         (for k in 1 2 3 4 5 6 7 8 9 10
        do
         flock lock sh -c 'echo $(($(cat count) + 1)) >count'
        done) & done
        wait
        """,
        r"""
        grep -qx 40 count
        """,
    ),
]
