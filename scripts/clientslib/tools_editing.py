"""Editors, and what developers do: git, SQLite, make."""

from __future__ import annotations

from clientslib.tool import Tool

EDITORS = [
    Tool(
        "sed",
        "sed",
        "sed -i",
        r"""
        bring
        sed -i 's/line 5/LINE 5/' tree/files/a*/*/text.txt
        sed -i.bak 's/mm/cm/' tree/store/native/zarr.json
        """,
        r"""
        grep -c LINE tree/files/a*/*/text.txt | grep -qx 111
        grep -q cm tree/store/native/zarr.json
        cmp tree/store/native/zarr.json.bak $SAMPLE/store/native/zarr.json
        """,
    ),
    Tool(
        "perl",
        "perl",
        "perl -i",
        r"""
        bring
        perl -i -pe 's/mm/km/' tree/store/packed/zarr.json
        """,
        r"""
        grep -q km tree/store/packed/zarr.json
        """,
    ),
    Tool(
        "vim",
        "vim",
        "vim",
        r"""
        bring
        vim -u NONE -N -es -c 'set backup writebackup swapfile' -c '%s/mm/inch/' \
            -c wq tree/store/native/zarr.json </dev/null
        vim -u NONE -N -es -c 'set backupcopy=yes' -c '%s/line 7 *$/seven/' -c wq tree/files/a*/*/text.txt </dev/null
        """,
        r"""
        grep -q inch tree/store/native/zarr.json
        grep -qx seven tree/files/a*/*/text.txt
        test ! -e tree/store/native/.zarr.json.swp
        test ! -e tree/store/native/4913
        """,
    ),
    Tool(
        "emacs",
        "emacs-nox",
        "emacs",
        r"""
        bring
        emacs -Q --batch --eval '(progn (find-file "tree/store/native/zarr.json")
            (while (search-forward "mm" nil t) (replace-match "ell")) (save-buffer))' 2>/dev/null
        """,
        r"""
        grep -q ell tree/store/native/zarr.json
        test -e tree/store/native/zarr.json~
        """,
    ),
    Tool(
        "nano",
        "nano",
        "nano",
        r"""
        bring
        export TERM=xterm
        expect -c 'spawn nano -B -I tree/files/script.sh; sleep 1
            send "# top\r"; send "\x0f"; sleep 1; send "\r"; sleep 1; send "\x18"; expect eof' >/dev/null
        """,
        r"""
        head -1 tree/files/script.sh | grep -qx '# top'
        cmp tree/files/script.sh~ $SAMPLE/files/script.sh
        test -x tree/files/script.sh
        """,
    ),
    Tool(
        "patch",
        "patch",
        "patch",
        r"""
        bring
        printf -- '--- a\n+++ b\n@@ -1,2 +1,2 @@\n #!/bin/sh\n-echo hello\n+echo patched\n' |
            patch -s tree/files/script.sh
        """,
        r"""
        test "$(tree/files/script.sh)" = patched
        """,
    ),
]

DEVELOPERS = [
    Tool(
        "git",
        "git",
        "git: init, add, commit, gc, clone",
        r"""
        export HOME=$OUT GIT_CONFIG_NOSYSTEM=1
        git config --global user.email a@b
        git config --global user.name a
        git config --global init.defaultBranch main
        git config --global --add safe.directory '*'
        cp -r $SAMPLE work
        cd work
        git init -q
        git add -A
        git commit -qm one
        sed -i 's/hello/there/' files/script.sh
        git commit -qam two
        git checkout -q -b side HEAD~1
        git mv files/odd files/even
        git commit -qm three
        git merge -q --no-edit main
        git gc -q
        git stash list
        git worktree add -q ../tree side~1
        cd ..
        git clone -q work clone
        """,
        r"""
        export HOME=$OUT GIT_OPTIONAL_LOCKS=0
        git config --global --add safe.directory '*'
        for d in work clone
        do
         git -C $d fsck --strict --full 2>/dev/null
        test -z "$(git -C $d status --porcelain)"
        done
        test $(git -C clone rev-list --count HEAD) = 4
        cmp work/files/even $SAMPLE/files/odd
        """,
        (".",),
    ),
    Tool(
        "sqlite3",
        "sqlite3",
        "sqlite3, rollback journal",
        r"""
        sqlite3 d.db 'create table t(a integer primary key, b)'
        for n in 1 2 3
        do
         (for k in 1 2 3 4 5 6 7 8
        do
         sqlite3 -cmd '.timeout 60000' d.db "insert into t(b) values(hex(randomblob(500)))"
        done) & done
        wait
        sqlite3 d.db 'begin; delete from t; rollback; pragma journal_mode=truncate;' >/dev/null
        sqlite3 d.db 'pragma journal_mode=persist; insert into t(b) values(1); vacuum' >/dev/null
        """,
        r"""
        test "$(sqlite3 -readonly d.db 'pragma integrity_check; select count(*) from t' | tr '\n' ' ')" = 'ok 25 '
        """,
        (".",),
    ),
    Tool(
        "sqlite3",
        "sqlite3",
        "sqlite3, write-ahead log",
        r"""
        sqlite3 d.db 'pragma journal_mode=wal; create table t(a integer primary key, b)' | grep -qx wal
        for n in 1 2 3
        do
         (for k in 1 2 3 4 5 6 7 8
        do
         sqlite3 -cmd '.timeout 60000' d.db "insert into t(b) values(hex(randomblob(500)))"
        done) & done
        wait
        sqlite3 d.db 'pragma wal_checkpoint(truncate)' >/dev/null
        """,
        r"""
        cp d.db $OUT/d.db
        test "$(sqlite3 $OUT/d.db 'pragma integrity_check; select count(*) from t' | tr '\n' ' ')" = 'ok 24 '
        """,
        (".",),
    ),
    Tool(
        "make",
        "make",
        "make and gcc, the program run",
        r"""
        printf 'int f(void);int main(void){return f();}' >m.c
        printf 'int f(void){return 7;}' >f.c
        printf 'p: m.o f.o\n\tgcc -o p m.o f.o\n' >Makefile
        make -s
        make -q
        touch f.c
        ! make -q
        make -s
        make -q
        """,
        r"""
        make -q
        ./p || test $? = 7
        """,
        (".",),
    ),
    Tool(
        "python3",
        "python3",
        "python3: a package compiled and run",
        r"""
        mkdir p
        echo 'x = 5' >p/__init__.py
        echo 'from p import x; print(x)' >p/__main__.py
        python3 -m compileall -q p
        python3 -m p | grep -qx 5
        """,
        r"""
        PYTHONDONTWRITEBYTECODE=1 python3 -m p | grep -qx 5
        test -d p/__pycache__
        """,
        (".",),
    ),
]
